//! Whether clients of a domain are asked for a certificate.

use serde::{Deserialize, Serialize};

use crate::id::Fingerprint;

/// Client certificates of a domain (E1, E2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// Trusted certificate of the domain that must have issued them, directly or through others.
    pub issuer: Fingerprint,
    /// Nobody connects without one.
    pub is_required: bool,
}
