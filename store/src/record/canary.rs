//! Canaries: certificates that one node serves before all others do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Domain;
use crate::{id::NodeId, time::UnixMillis};

/// A domain with a new certificate, as one member alone serves it for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The member that serves it.
    pub node: NodeId,
    /// The domain as it would be. Its version is the one that it was made from, and its stamp names
    /// the author of the import.
    pub domain: Arc<Domain>,
    /// Time of the import.
    pub since: UnixMillis,
    /// Time from which on every member may serve it.
    pub until: UnixMillis,
}
