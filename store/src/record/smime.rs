//! The issuer of a domain's S/MIME certificates, and what it has issued.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Certificate, DomainKey, Sealed, Stamp};
use crate::{
    id::{EmailAddress, Fingerprint, Version},
    time::UnixMillis,
};

/// Key and certificate with which a domain certifies its accounts. Without this row the domain's
/// own certificate does it, if it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmimeIssuer {
    /// Private key, sealed.
    pub key: DomainKey,
    /// Certificate of the key; `None` while a signing request waits for one.
    pub certificate: Option<Certificate>,
    /// Certificates above it, its issuer first, DER; at most
    /// [`crate::limits::CHAIN_CERTIFICATES_MAX`].
    pub chain: Vec<ByteBuf>,
    /// Number of changes, the first included.
    pub version: Version,
    /// The last change.
    pub changed: Stamp,
}

/// What a domain does for its accounts, besides issuing certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettings {
    /// URL of the revocation list, named by new certificates; at most
    /// [`crate::limits::CRL_URL_BYTES_MAX`].
    pub crl_url: Option<String>,
    /// Key to which a copy of each new key of an account is sealed; `None`: no copies are made.
    pub recovery_key: Option<RecoveryKey>,
    /// Number of changes, the first included.
    pub version: Version,
}

/// The public key of one who may open copies of the keys of a domain's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryKey {
    /// SHA-256 of the public key.
    pub public_key: Fingerprint,
    /// The public key (SubjectPublicKeyInfo, DER; EC P-256), sealed. It is no secret: sealed it can
    /// only come from a member that holds the keyring.
    pub sealed: Sealed,
}

/// A certificate that a domain has issued for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// Address of the account.
    pub address: EmailAddress,
    /// Last moment of validity.
    pub not_after: UnixMillis,
}

/// Reason of a revocation (RFC 5280 §5.3.1), as far as it is for accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RevocationReason {
    /// None is given.
    Unspecified,
    /// The private key is known to others, or may be.
    KeyCompromise,
    /// The name is no longer right.
    AffiliationChanged,
    /// Another certificate replaces it.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
}

/// Revocation of an issued certificate. A row of its own, so that a list is made without looking at
/// all issued certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Time of the revocation.
    pub time: UnixMillis,
    /// The reason.
    pub reason: RevocationReason,
    /// Last moment of the certificate's validity.
    pub not_after: UnixMillis,
}

/// State of a domain's revocation list. The list itself is signed when it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationList {
    /// Number of changes; part of the number of the list.
    pub changes: u32,
    /// Number of revocations kept, at most [`crate::limits::REVOCATIONS_MAX`].
    pub count: u32,
    /// Time of the last change.
    pub changed: UnixMillis,
}
