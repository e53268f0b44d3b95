//! Client certificate policy of a domain.

use serde::{Deserialize, Serialize};

use crate::id::Fingerprint;

/// Policy for client certificates of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// Trusted certificate of the domain from which a client certificate must be issued, directly
    /// or through others.
    pub issuer: Fingerprint,
    /// Whether a client certificate is required; without one the handshake fails.
    pub is_required: bool,
}
