//! The membership file: the facts that a node needs to rejoin its cluster before it has read State.

use std::{io, path::Path};

use conclave_raft::NodeId;
use conclave_store::state::State;
use conclave_system::files;
use serde::{Deserialize, Serialize};

const FILE: &str = "membership.json";
/// Current file format. Version 0.1.0 wrote format 1 and refuses others, so it does not start on
/// migrated storage. Format 3 added the checksum.
const FORMAT: u32 = 3;
const CHECKED_FORMAT: u32 = 3;
/// Readable file formats.
const FORMATS: std::ops::RangeInclusive<u32> = 1..=FORMAT;

/// A member as the cluster announced it when this node joined.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Introduced {
    pub(crate) id: u64,
    pub(crate) identity_der: Vec<u8>,
    pub(crate) address: String,
}

/// The membership of this node. It is written when the node founds or joins a cluster, before any
/// other data of the cluster.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    pub(super) format: u32,
    pub(crate) cluster: [u8; 16],
    /// Name of the cluster.
    pub cluster_name: String,
    pub(crate) node: u64,
    /// Random number of the log in this data directory.
    pub(crate) incarnation: u64,
    /// The authority's certificate, DER.
    pub authority_der: Vec<u8>,
    /// The node's certificate by that authority, DER.
    pub certificate_der: Vec<u8>,
    pub(crate) introduced: Vec<Introduced>,
    /// Whether the founding is unfinished, so that nothing in the cluster was acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub founding: bool,
    /// SHA-256 of all other fields. Set only in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Vec<u8>>,
}

/// Errors of the membership file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Path of the file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged or has an unknown format.
    #[error("{path} is damaged, or of a format that this program does not know")]
    Damaged {
        /// Path of the file.
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

    /// Adds the checksum, if the format has one.
    fn checked(self) -> Result<Membership, serde_json::Error> {
        let has_one = self.format >= CHECKED_FORMAT;
        let bare = Membership { checksum: None, ..self };
        let checksum = has_one.then(|| files::checksum(&bare)).transpose()?;
        Ok(Membership { checksum, ..bare })
    }

    /// Parses the file. Returns `None` if it is damaged or has an unknown format.
    fn parse(bytes: &[u8]) -> Option<Membership> {
        // The checksum covers the values, not the bytes: the file is indented for people.
        let read: Membership = serde_json::from_slice(bytes).ok()?;
        let expected = read.clone().checked().ok()?.checksum;
        let is_whole = read.checksum == expected && FORMATS.contains(&read.format);
        is_whole.then_some(Membership { checksum: None, ..read })
    }

    /// Reads the membership. Returns `None` if the node belongs to no cluster.
    pub fn read(data_dir: &Path) -> Result<Option<Membership>, MembershipError> {
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

    /// Rewrites a membership of an older format, if there is one. From then on version 0.1.0
    /// refuses to start in this data directory.
    pub(crate) fn upgrade(data_dir: &Path) -> Result<(), MembershipError> {
        match Membership::read(data_dir)? {
            Some(membership) if membership.format != FORMAT => {
                Membership { format: FORMAT, ..membership }.write(data_dir)
            }
            _ => Ok(()),
        }
    }

    /// Notes new certificates in the file, and leaves everything else in it as it is. Does nothing
    /// while a founding is unfinished, which writes the file itself.
    pub(crate) fn note_certificates(
        data_dir: &Path,
        certificate_der: &[u8],
        authority_der: &[u8],
    ) -> Result<(), MembershipError> {
        match Membership::read(data_dir)? {
            Some(membership) if !membership.founding => {
                let (certificate_der, authority_der) =
                    (certificate_der.to_vec(), authority_der.to_vec());
                Membership { certificate_der, authority_der, ..membership }.write(data_dir)
            }
            _ => Ok(()),
        }
    }

    /// Removes the membership file after a failed founding.
    pub(crate) fn remove(data_dir: &Path) -> Result<(), MembershipError> {
        let path = data_dir.join(FILE);
        files::remove(&path)
            .map_err(|source| MembershipError::File { path: path.display().to_string(), source })
    }

    /// Writes the membership durably.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let path = data_dir.join(FILE);
        let checked = self.clone().checked();
        let written = checked
            .and_then(|checked| serde_json::to_vec_pretty(&checked))
            .map_err(io::Error::other)
            .and_then(|bytes| files::write_private(&path, &bytes));
        written.map_err(|source| MembershipError::File { path: path.display().to_string(), source })
    }

    /// Finds the member with this identity key: in State, or in `introduced` as long as State has
    /// no cluster.
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
    fn new_certificates_change_nothing_else_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let made = Membership::new([1; 16], "prod".to_owned(), 2, vec![3], vec![4], Vec::new());
        Membership { founding: true, ..made.clone() }.write(dir.path()).unwrap();
        Membership::note_certificates(dir.path(), &[5], &[6]).unwrap();
        let read = || Membership::read(dir.path()).unwrap().unwrap();
        assert!(read().founding, "the founding writes it itself");
        assert_eq!(read().certificate_der, made.certificate_der);
        made.write(dir.path()).unwrap();
        Membership::note_certificates(dir.path(), &[5], &[6]).unwrap();
        assert_eq!((read().certificate_der, read().authority_der), (vec![5], vec![6]));
        assert_eq!((read().founding, read().incarnation), (false, made.incarnation));
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
