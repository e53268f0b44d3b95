//! What a node knows of its own membership before State tells it.

use std::{io, path::Path};

use conclave_raft::NodeId;
use conclave_store::state::State;
use serde::{Deserialize, Serialize};

use crate::files;

const FILE: &str = "membership.json";
const FORMAT: u32 = 1;

/// A member as the cluster introduced it when this node joined.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Introduced {
    pub(crate) id: u64,
    pub(crate) identity_der: Vec<u8>,
    pub(crate) address: String,
}

/// This node's membership; written once, when it founds or joins.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Membership {
    format: u32,
    pub(crate) cluster: [u8; 16],
    pub(crate) cluster_name: String,
    pub(crate) node: u64,
    /// Random number of this data directory's log.
    pub(crate) incarnation: u64,
    pub(crate) authority_der: Vec<u8>,
    pub(crate) certificate_der: Vec<u8>,
    pub(crate) introduced: Vec<Introduced>,
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
        let incarnation = u64::from_be_bytes(crate::entropy::array());
        Membership {
            format: FORMAT,
            cluster,
            cluster_name,
            node,
            incarnation,
            authority_der,
            certificate_der,
            introduced,
        }
    }

    /// Reads the membership; none: the node belongs to no cluster, and what lies of a log or
    /// State is left of a founding that never ended.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Membership>, MembershipError> {
        let path = data_dir.join(FILE);
        let shown = || path.display().to_string();
        match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Membership>(&bytes) {
                Ok(membership) if membership.format == FORMAT => Ok(Some(membership)),
                _ => Err(MembershipError::Damaged { path: shown() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MembershipError::File { path: shown(), source }),
        }
    }

    /// Makes the membership durable.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let path = data_dir.join(FILE);
        let written = serde_json::to_vec_pretty(self)
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
