//! The cluster itself.

use serde::{Deserialize, Serialize};

use super::Sealed;
use crate::{
    id::{ClusterId, ClusterName, Generation, NodeId},
    time::UnixMillis,
};

/// What holds for the whole cluster; made once, by the founding command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Random id.
    pub id: ClusterId,
    /// Name that people gave.
    pub name: ClusterName,
    /// Certificate of the cluster's authority, DER. Names the cluster; peers are pinned by key.
    #[serde(with = "serde_bytes")]
    pub authority_der: Vec<u8>,
    /// Private key of the authority, sealed.
    pub authority_key: Sealed,
    /// Generation under which every new secret is sealed.
    pub generation: Generation,
    /// Highest node number ever given.
    pub node_last: NodeId,
    /// When the cluster was founded.
    pub founded: UnixMillis,
}
