//! Trusted certificates.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{id::DomainId, time::UnixMillis};

/// A set of trusted certificates that somebody filled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TrustSet {
    /// That of the scope itself: cluster-wide in the shared State, server-wide in a local one.
    System,
    /// That of one domain; bound to its id, so that a later domain of the name starts empty.
    Domain(DomainId),
}

/// A certificate that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The certificate, DER.
    pub der: ByteBuf,
}

/// A certificate revocation list of an authority (RFC 5280 §5); a newer one takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crl {
    /// The list, DER.
    pub der: ByteBuf,
    /// When it was issued.
    pub this_update: UnixMillis,
}
