//! Requests and answers about accounts: e-mail addresses with keys and certificates for S/MIME.
//! The private key of an account is locked under its passphrase, which no answer contains.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;

/// Request to create an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountCreate")]
pub struct Create {
    /// E-mail address. The part behind the `@` is a name of a domain of the cluster.
    pub address: String,
    /// Name of the person, at most 64 bytes.
    #[serde(default)]
    pub name: String,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// E-mail address.
    pub address: String,
    /// Name of the domain to which it belongs.
    pub domain: String,
    /// Name of the person; empty: none.
    pub name: String,
    /// The current key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// SHA-256 of the certificate of that key to which messages are encrypted now; absent if none is
    /// valid, not revoked and for encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receives: Option<String>,
    /// Earlier keys, the oldest first. Only in answers about one account.
    #[serde(default)]
    pub earlier: Vec<Key>,
    /// Number of earlier keys.
    pub earlier_keys: u32,
    /// Time until which its owner may use an invitation, if one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_until: Option<String>,
    /// Number of changes.
    pub version: u64,
    /// Time of the last change.
    pub changed: String,
    /// Author of the last change.
    pub changed_by: String,
}

/// Purpose of a key (RFC 8550 §4.4.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "AccountKeyPurpose")]
pub enum Purpose {
    /// One key for both.
    #[default]
    SignAndEncrypt,
    /// Signing only.
    Sign,
    /// Receiving encrypted messages only.
    Encrypt,
}

/// Public facts about a key of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccountKey")]
pub struct Key {
    /// Algorithm and size, as `EC P-256`.
    pub algorithm: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub sha256: String,
    /// Purpose.
    pub purpose: Purpose,
    /// Keyring generation of the sealed key.
    pub generation: u64,
    /// Number of the account's passphrase under which it is locked, counted from 1.
    #[serde(default)]
    pub passphrase: u32,
    /// Whether that is one before the present one, which was given up: only that one opens it.
    #[serde(default)]
    pub earlier_passphrase: bool,
    /// SHA-256 of the recovery key (SubjectPublicKeyInfo, DER) whose holder can open a copy of it; none
    /// if there is no copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<String>,
    /// Time at which the account got it.
    pub assigned: String,
    /// Certificates, the latest first.
    pub certificates: Vec<Issued>,
}

/// A certificate of an account's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccountCertificate")]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// Whether the account's domain issued it.
    pub own: bool,
    /// Time of its revocation, if it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// Certificates above it, its issuer first. Only in answers about one certificate.
    #[serde(default)]
    pub chain: Vec<Certificate>,
}

/// Request to invite the owner of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AccountInvite")]
pub struct Invite {
    /// Seconds until the invitation ends: 60 to 2,592,000 (30 days), 7 days if not given.
    pub expires_in: Option<u64>,
}

/// An invitation. Its secret is shown only in this answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccountInvitation")]
pub struct Invitation {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `AccountInvitation`.
    pub kind: String,
    /// Address of the account.
    pub address: String,
    /// The secret: who has it may set the passphrase of the account, once.
    pub invitation: String,
    /// The page where its owner uses it, if the node that answers knows where owners reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Time at which it ends.
    pub expires: String,
    /// Result of the change.
    pub change: crate::change::Change,
}

/// Request of an owner to log in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountLogin")]
pub struct Login {
    /// Passphrase of the account; with an invitation a new one of at least 12 characters.
    pub passphrase: String,
    /// An invitation: the account gets a new key under the passphrase, and a certificate if its domain
    /// can issue one. Earlier keys stay under the passphrase that they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
    /// Type of the new key: `p256` (default), `p384`, `rsa2048`, `rsa3072`, `rsa4096`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
}

/// Request for the copy of a key that is sealed to a recovery key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AccountKeyRecover")]
pub struct Recover {
    /// SHA-256 of the public key, for an earlier key; the current one if not given.
    pub key: Option<String>,
}

/// The copy of a key that only the holder of a recovery key can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AccountKeyCopy")]
pub struct SealedCopy {
    /// Address of the account, to which the copy is bound.
    pub address: String,
    /// SHA-256 of the public key.
    pub key: String,
    /// SHA-256 of the recovery key.
    pub recovery_key: String,
    /// The copy, base64.
    pub sealed_key: String,
    /// Certificate of the key and the certificates above it, PEM; empty if it has none.
    pub certificates: String,
}

/// Request to generate a key for an account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountKeyGenerate")]
pub struct Generate {
    /// `p256` (default), `p384`, `ed25519` (only signs), `x25519` (only receives), `rsa2048`,
    /// `rsa3072`, `rsa4096`.
    #[serde(default, rename = "type")]
    pub algorithm: Option<String>,
    /// Purpose.
    #[serde(default)]
    pub purpose: Purpose,
    /// Passphrase of the account: that of the present key if there is one, otherwise a new one of at
    /// least 12 characters.
    pub passphrase: String,
}

/// Request to import a key with its certificates from a PKCS#12 file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountKeyImport")]
pub struct Import {
    /// The file, base64.
    pub pkcs12: String,
    /// Passphrase of the file.
    pub pkcs12_passphrase: String,
    /// Purpose.
    #[serde(default)]
    pub purpose: Purpose,
    /// Passphrase of the account, as in [`Generate`].
    pub passphrase: String,
}

/// Request to lock the keys of an account under another passphrase.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountPassphrase")]
pub struct Passphrase {
    /// The passphrase that opens them now.
    pub old: String,
    /// The new one, at least 12 characters.
    pub new: String,
}

/// Request to export a key with its certificate as a PKCS#12 file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountKeyExport")]
pub struct Export {
    /// Passphrase of the account.
    pub passphrase: String,
    /// Passphrase of the new file.
    pub export_passphrase: String,
    /// SHA-256 of the public key, for an earlier key; the current one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Use the weak algorithms of programs that know no others.
    #[serde(default)]
    pub legacy: bool,
}

/// A PKCS#12 file (RFC 7292).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exported {
    /// The file, base64.
    pub pkcs12: String,
}

/// Request to issue a certificate for the current key of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AccountCertificateIssue")]
pub struct Issue {
    /// Days of validity, 365 if not given; at most until the issuer's certificate ends.
    pub days: Option<u32>,
    /// Issue another one even if the key has a certificate that is valid.
    pub renew: bool,
    /// Whether TLS servers may take it as a client's certificate too.
    pub client: bool,
    /// URL of the revocation list, for the certificate: that of the domain's settings if not given;
    /// empty: none.
    pub crl_url: Option<String>,
}

/// Reason of a revocation (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "RevocationReason")]
pub enum Reason {
    /// None is given.
    #[default]
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

/// Request to revoke certificates that the account's domain has issued.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AccountCertificateRevoke")]
pub struct Revoke {
    /// Serial number, hex; if not given, all valid certificates of the current key are revoked.
    pub serial: Option<String>,
    /// The reason.
    pub reason: Reason,
}
