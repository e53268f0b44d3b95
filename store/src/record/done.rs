//! Results of operations, as they are remembered.

use serde::{Deserialize, Serialize};

use crate::id::{DomainName, Generation, NodeId, Version};

/// Result of a finished operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// The domain has this version now. For a deleted domain it is the last one.
    Domain {
        /// The domain.
        name: DomainName,
        /// Its version.
        version: Version,
    },
    /// A member was added, or already existed with the same key.
    Member {
        /// Its number.
        id: NodeId,
    },
    /// The keyring has a new generation.
    Generation(Generation),
    /// The TLS settings have this version now.
    TlsSettings(Version),
    /// The change has no further result.
    Changed,
}
