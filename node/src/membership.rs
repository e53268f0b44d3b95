//! What a node knows of its own membership before State tells it.

use std::{io, path::Path};

use conclave_raft::NodeId;
use conclave_store::state::State;
use conclave_system::files;
use serde::{Deserialize, Serialize};

const FILE: &str = "membership.json";
/// What this version writes. Version 0.1.0 wrote 1, and refuses what it does not know: it must not
/// start on storage that was rewritten. Since 3 there is a checksum.
const FORMAT: u32 = 3;
const CHECKED_FORMAT: u32 = 3;
/// What this version reads.
const FORMATS: std::ops::RangeInclusive<u32> = 1..=FORMAT;

/// A member as the cluster introduced it when this node joined.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Introduced {
    pub(crate) id: u64,
    pub(crate) identity_der: Vec<u8>,
    pub(crate) address: String,
}

/// This node's membership; written when it founds or joins, before anything else of it exists.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Membership {
    pub(super) format: u32,
    pub(crate) cluster: [u8; 16],
    pub(crate) cluster_name: String,
    pub(crate) node: u64,
    /// Random number of this data directory's log.
    pub(crate) incarnation: u64,
    pub(crate) authority_der: Vec<u8>,
    pub(crate) certificate_der: Vec<u8>,
    pub(crate) introduced: Vec<Introduced>,
    /// The cluster is not founded yet: nothing of it was acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) founding: bool,
    /// In the file only: SHA-256 of everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Vec<u8>>,
}

/// Why the membership cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MembershipError {
    /// The file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Damaged, or of an unknown format.
    #[error("{path} is damaged, or of a format that this program does not know")]
    Damaged {
        /// Which file.
        path: String,
    },
}

impl Membership {
    pub(crate) fn new(
        cluster: [u8; 16],
        cluster_name: String,
        node: u64,
        authority_der: Vec<u8>,
        certificate_der: Vec<u8>,
        introduced: Vec<Introduced>,
    ) -> Membership {
        let incarnation = u64::from_be_bytes(conclave_system::entropy::array());
        Membership {
            format: FORMAT,
            cluster,
            cluster_name,
            node,
            incarnation,
            authority_der,
            certificate_der,
            introduced,
            founding: false,
            checksum: None,
        }
    }

    /// With its checksum, if its format has one.
    fn checked(self) -> Result<Membership, serde_json::Error> {
        let has_one = self.format >= CHECKED_FORMAT;
        let bare = Membership { checksum: None, ..self };
        let checksum = has_one.then(|| files::checksum(&bare)).transpose()?;
        Ok(Membership { checksum, ..bare })
    }

    /// What the bytes of the file say; none: damaged, or of an unknown format.
    fn parse(bytes: &[u8]) -> Option<Membership> {
        let read: Membership = serde_json::from_slice(bytes).ok()?;
        let expected = read.clone().checked().ok()?.checksum;
        let is_whole = read.checksum == expected && FORMATS.contains(&read.format);
        is_whole.then_some(Membership { checksum: None, ..read })
    }

    /// Reads the membership; none: the node belongs to no cluster.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Membership>, MembershipError> {
        let path = data_dir.join(FILE);
        let shown = || path.display().to_string();
        match std::fs::read(&path) {
            Ok(bytes) => match Membership::parse(&bytes) {
                Some(membership) => Ok(Some(membership)),
                None => Err(MembershipError::Damaged { path: shown() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MembershipError::File { path: shown(), source }),
        }
    }

    /// Rewrites a membership of version 0.1.0, if there is one, so that this version refuses to
    /// start there from now on.
    pub(crate) fn upgrade(data_dir: &Path) -> Result<(), MembershipError> {
        match Membership::read(data_dir)? {
            Some(membership) if membership.format != FORMAT => {
                Membership { format: FORMAT, ..membership }.write(data_dir)
            }
            _ => Ok(()),
        }
    }

    /// Forgets a founding that did not succeed.
    pub(crate) fn remove(data_dir: &Path) -> Result<(), MembershipError> {
        let path = data_dir.join(FILE);
        files::remove(&path)
            .map_err(|source| MembershipError::File { path: path.display().to_string(), source })
    }

    /// Makes the membership durable.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let path = data_dir.join(FILE);
        let checked = self.clone().checked();
        let written = checked
            .and_then(|checked| serde_json::to_vec_pretty(&checked))
            .map_err(io::Error::other)
            .and_then(|bytes| files::write_private(&path, &bytes));
        written.map_err(|source| MembershipError::File { path: path.display().to_string(), source })
    }

    /// The member with this identity key: by State, or by introduction until State is here.
    pub(crate) fn identify(&self, state: &State, public_key_der: &[u8]) -> Option<NodeId> {
        if state.cluster().is_some() {
            let found = state.members().find(|(_, member)| member.identity_der == public_key_der);
            return found.map(|(id, _)| NodeId(id.0));
        }
        let mut introduced = self.introduced.iter();
        let found = introduced.find(|member| member.identity_der == public_key_der);
        found.map(|member| NodeId(member.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_of_the_first_release_is_read_and_rewritten_before_storage_is() {
        let dir = tempfile::tempdir().unwrap();
        let membership =
            Membership::new([1; 16], "prod".to_owned(), 2, Vec::new(), Vec::new(), Vec::new());
        membership.write(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        let mut old: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        old["format"] = 1.into();
        old.as_object_mut().unwrap().remove("checksum");
        std::fs::write(&path, old.to_string()).unwrap();
        let read = Membership::read(dir.path()).unwrap().unwrap();
        assert!(!read.founding && read.node == 2);
        Membership::upgrade(dir.path()).unwrap();
        let upgraded = Membership::read(dir.path()).unwrap().unwrap();
        assert_eq!((upgraded.format, upgraded.incarnation), (FORMAT, membership.incarnation));
        std::fs::write(&path, old.to_string().replace("\"format\":1", "\"format\":4")).unwrap();
        assert!(Membership::read(dir.path()).is_err(), "a later version wrote it");
    }

    #[test]
    fn no_flipped_bit_is_taken_for_the_truth() {
        let dir = tempfile::tempdir().unwrap();
        let mut membership =
            Membership::new([1; 16], "prod".to_owned(), 2, vec![3; 9], vec![4; 9], Vec::new());
        membership.founding = true;
        membership.write(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        let told = serde_json::to_string(&membership).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(read) = Membership::parse(&flipped) {
                assert_eq!(serde_json::to_string(&read).unwrap(), told, "bit {bit}");
            }
        }
    }
}
