//! CA chains, each stored once under its hash.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::id::Fingerprint;

/// Certificates sent after the domain's own, its issuer first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// DER certificates in sending order; 1 to [`crate::limits::CHAIN_CERTIFICATES_MAX`].
    pub certificates: Vec<ByteBuf>,
    /// Number of domain versions with this chain; the row is removed at 0.
    pub uses: u64,
}

impl Chain {
    /// Returns the id of a chain: the hash over its certificates, each preceded by its length.
    pub fn fingerprint(certificates: &[ByteBuf]) -> Fingerprint {
        let mut all = Vec::new();
        for certificate in certificates {
            let bytes = u64::try_from(certificate.len()).unwrap_or(u64::MAX);
            all.extend_from_slice(&bytes.to_be_bytes());
            all.extend_from_slice(certificate);
        }
        Fingerprint::of(&all)
    }
}
