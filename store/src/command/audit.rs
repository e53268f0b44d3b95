//! Arguments of the changes of the audit trail.

use serde::{Deserialize, Serialize};

use crate::{id::Fingerprint, record::Proof};

/// See [`super::Action::CutAudit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutAudit {
    /// Number of the first entry to keep.
    pub first: u64,
    /// Hash of the entry before it.
    pub previous: Fingerprint,
    /// Proof of the cut.
    pub proof: Proof,
}
