//! Arguments of the changes of S/MIME issuers and accounts, from level 5 on.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    id::{AccountId, DomainName, EmailAddress, Fingerprint, SerialNumber},
    record::{
        AccountCertificate, AccountKey, Certificate, DomainKey, Invitation, RevocationReason,
        Sealed,
    },
};

/// See [`super::Action::SetSmimeIssuer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSmimeIssuer {
    /// The domain.
    pub domain: DomainName,
    /// The key.
    pub key: DomainKey,
    /// Certificate of the key.
    pub certificate: Option<Certificate>,
    /// Certificates above it, DER.
    pub chain: Vec<ByteBuf>,
}

/// An account, with the domain to which it belongs. The rules check that it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOf {
    /// Name of the domain.
    pub domain: DomainName,
    /// Address of the account.
    pub address: EmailAddress,
}

/// See [`super::Action::CreateAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateAccount {
    /// The account.
    pub of: AccountOf,
    /// Random id.
    pub id: AccountId,
    /// Name of the person; empty: none.
    pub name: String,
}

/// See [`super::Action::SetAccountKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAccountKey {
    /// The account.
    pub of: AccountOf,
    /// The new key.
    pub key: AccountKey,
}

/// See [`super::Action::InviteOwner`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteOwner {
    /// The account.
    pub of: AccountOf,
    /// The invitation, in the place of an earlier one; none: it is withdrawn.
    pub invitation: Option<Invitation>,
}

/// See [`super::Action::EnterAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterAccount {
    /// The account.
    pub of: AccountOf,
    /// SHA-256 of the secret of the invitation.
    pub invitation: Fingerprint,
    /// A new key under the passphrase that the owner has chosen.
    pub key: AccountKey,
}

/// See [`super::Action::RelockAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelockAccount {
    /// The account.
    pub of: AccountOf,
    /// Public key of each key that the present passphrase opens, with its new secret: the earlier
    /// ones by number, then the current one.
    pub keys: Vec<(Fingerprint, Sealed)>,
}

/// See [`super::Action::SetAccountCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAccountCertificate {
    /// The account.
    pub of: AccountOf,
    /// The certificate, of the account's current key.
    pub certificate: AccountCertificate,
}

/// See [`super::Action::RevokeAccountCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeAccountCertificate {
    /// The account.
    pub of: AccountOf,
    /// Serial numbers of the certificates, at most [`crate::limits::KEY_CERTIFICATES_MAX`].
    pub serials: Vec<SerialNumber>,
    /// The reason.
    pub reason: RevocationReason,
}
