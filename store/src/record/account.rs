//! Accounts: e-mail addresses of a domain with private keys and certificates for S/MIME.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Certificate, Principal, Sealed, Stamp};
use crate::{
    id::{AccountId, Fingerprint, SerialNumber, Version},
    time::UnixMillis,
};

/// An account. It belongs to the domain that has the name after the `@`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Random id. An account that is made again under an old address has another one.
    pub id: AccountId,
    /// Name of the person; empty: none.
    pub name: String,
    /// The current key.
    pub key: Option<AccountKey>,
    /// Number of earlier keys, each in a row of its own, numbered from 1.
    pub earlier_keys: u32,
    /// Number of the present passphrase, counted from 1; 0: there is none yet.
    pub passphrase: u32,
    /// The invitation that its owner may use.
    pub invitation: Option<Invitation>,
    /// Number of changes, the first included.
    pub version: Version,
    /// The last change.
    pub changed: Stamp,
}

/// An invitation: who has its secret may set the passphrase of the account, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// SHA-256 of the secret, sealed: so it can only come from a member that holds the keyring, and
    /// holds on when the keyring turns.
    pub sealed: Sealed,
    /// Last moment at which it can be used.
    pub expires: UnixMillis,
    /// Who made it. It ends with that token or user.
    pub by: Principal,
}

/// Purpose of an account's key (RFC 8550 §4.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyPurpose {
    /// One key for both.
    SignAndEncrypt,
    /// Signing only.
    Sign,
    /// Receiving encrypted messages only.
    Encrypt,
}

/// A private key of an account, with its certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountKey {
    /// Algorithm and size in words, as `EC P-256`.
    pub algorithm: String,
    /// Public key (SubjectPublicKeyInfo), DER.
    #[serde(with = "serde_bytes")]
    pub public_key_der: Vec<u8>,
    /// SHA-256 of `public_key_der`.
    pub public_key: Fingerprint,
    /// Purpose.
    pub purpose: KeyPurpose,
    /// The key, locked under a passphrase of the account, then sealed.
    pub sealed: Sealed,
    /// Number of that passphrase: [`Account::passphrase`], or less if it was given up.
    pub passphrase: u32,
    /// A second copy, sealed to the recovery key that the domain had.
    pub recovery: Option<RecoveryCopy>,
    /// Time at which the account got it.
    pub assigned: UnixMillis,
    /// Certificates of the key, the latest first. Messages name an earlier one too.
    pub certificates: Vec<AccountCertificate>,
}

/// A copy of a private key, sealed to the recovery key of its domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCopy {
    /// SHA-256 of the recovery key (SubjectPublicKeyInfo, DER).
    pub recovery_key: Fingerprint,
    /// The copy, which only the holder of that key can open.
    #[serde(with = "serde_bytes")]
    pub sealed_key: Vec<u8>,
}

/// A certificate of an account's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Serial number, if the account's domain issued it.
    pub serial: Option<SerialNumber>,
    /// Certificates above one that others issued, its issuer first, DER.
    pub chain: Vec<ByteBuf>,
}
