//! Trusted certificates and revocation lists.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    id::{DomainId, Fingerprint},
    time::UnixMillis,
};

/// Identity of a set of trusted certificates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TrustSet {
    /// The set of the scope itself: cluster-wide in the shared State, server-wide in a local one.
    System,
    /// The set of one domain. Bound to the domain's id, so that a later domain of the same name
    /// starts with an empty set.
    Domain(DomainId),
}

/// A trusted certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The certificate, DER.
    pub der: ByteBuf,
}

/// A certificate revocation list of an authority (RFC 5280 §5); a newer one replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crl {
    /// The list, DER.
    pub der: ByteBuf,
    /// Time of issue.
    pub this_update: UnixMillis,
}

/// A revocation list that is too long for one row. Its parts are rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongCrl {
    /// Hash of the whole list, which names its parts.
    pub list: Fingerprint,
    /// Number of parts, counted from 0.
    pub parts: u32,
    /// Time of issue.
    pub this_update: UnixMillis,
}
