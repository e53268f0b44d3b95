//! A CA chain, stored once by its hash.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::id::Fingerprint;

/// The certificates that a server sends after its own, issuer of the domain certificate first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// DER certificates in sending order; 1 to [`crate::limits::CHAIN_CERTIFICATES_MAX`].
    pub certificates: Vec<ByteBuf>,
    /// Versions of domains that refer to this chain; at 0 the row goes.
    pub uses: u64,
}

impl Chain {
    /// Name of a chain: the hash over its certificates, each with its length before it.
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
