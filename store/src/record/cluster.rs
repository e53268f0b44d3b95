//! The cluster itself.

use serde::{Deserialize, Serialize};

use super::Sealed;
use crate::{
    id::{ClusterId, ClusterName, Generation, NodeId},
    time::UnixMillis,
};

/// Facts about the whole cluster; one row, created by the founding command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Random id.
    pub id: ClusterId,
    /// Name chosen by the operator.
    pub name: ClusterName,
    /// Certificate of the cluster's authority, DER. It identifies the cluster; peers are
    /// authenticated by their pinned keys.
    #[serde(with = "serde_bytes")]
    pub authority_der: Vec<u8>,
    /// Private key of the authority, sealed.
    pub authority_key: Sealed,
    /// Current keyring generation, for every new secret.
    pub generation: Generation,
    /// Highest node number ever assigned.
    pub node_last: NodeId,
    /// Time of founding.
    pub founded: UnixMillis,
}
