//! Arguments of the changes of S/MIME issuers and accounts, from level 5 on.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Action;
use crate::{
    id::{AccountId, DomainName, EmailAddress, Fingerprint, SerialNumber},
    record::{
        AccountCertificate, AccountKey, Certificate, DomainKey, Invitation, RecoveryKey,
        RevocationReason, Sealed,
    },
};

/// A change of an S/MIME issuer or an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountAction {
    /// Sets the S/MIME issuer of a domain.
    SetSmimeIssuer(Box<SetSmimeIssuer>),
    /// Removes the S/MIME issuer of a domain.
    RemoveSmimeIssuer(DomainName),
    /// Adds an account without a key.
    CreateAccount(CreateAccount),
    /// Removes an account with its keys, and revokes its certificates.
    DeleteAccount(AccountOf),
    /// Gives an account a new key; the present one becomes an earlier one.
    SetAccountKey(Box<SetAccountKey>),
    /// Replaces the secrets of all keys of an account by the same keys under another passphrase.
    RelockAccount(Box<RelockAccount>),
    /// Adds a certificate to the current key of an account.
    SetAccountCertificate(Box<SetAccountCertificate>),
    /// Revokes certificates that the account's domain has issued.
    RevokeAccountCertificate(RevokeAccountCertificate),
    /// Sets the URL of the revocation list that new certificates of a domain's accounts name; `None`:
    /// they name none.
    SetCrlUrl(DomainName, Option<String>),
    /// Sets the recovery key of a domain's accounts; `None`: no more copies are made.
    SetRecoveryKey(DomainName, Option<RecoveryKey>),
    /// Invites the owner of an account, or withdraws the invitation.
    InviteOwner(InviteOwner),
    /// Uses an invitation: the account gets a new key under a new passphrase.
    EnterAccount(Box<EnterAccount>),
}

impl From<AccountAction> for Action {
    fn from(action: AccountAction) -> Action {
        Action::Account(action)
    }
}

impl AccountAction {
    /// Returns the domain concerned by this action.
    pub fn domain(&self) -> &DomainName {
        match self {
            AccountAction::SetSmimeIssuer(set) => &set.domain,
            AccountAction::RemoveSmimeIssuer(name)
            | AccountAction::SetCrlUrl(name, _)
            | AccountAction::SetRecoveryKey(name, _) => name,
            AccountAction::CreateAccount(CreateAccount { of, .. })
            | AccountAction::DeleteAccount(of)
            | AccountAction::RevokeAccountCertificate(RevokeAccountCertificate { of, .. })
            | AccountAction::InviteOwner(InviteOwner { of, .. }) => &of.domain,
            AccountAction::SetAccountKey(set) => &set.of.domain,
            AccountAction::RelockAccount(relock) => &relock.of.domain,
            AccountAction::SetAccountCertificate(set) => &set.of.domain,
            AccountAction::EnterAccount(enter) => &enter.of.domain,
        }
    }

    /// Returns the account concerned by this action; none if it is about the whole domain.
    pub fn account(&self) -> Option<&AccountOf> {
        match self {
            AccountAction::SetSmimeIssuer(_)
            | AccountAction::RemoveSmimeIssuer(_)
            | AccountAction::SetCrlUrl(..)
            | AccountAction::SetRecoveryKey(..) => None,
            AccountAction::CreateAccount(CreateAccount { of, .. })
            | AccountAction::DeleteAccount(of)
            | AccountAction::RevokeAccountCertificate(RevokeAccountCertificate { of, .. })
            | AccountAction::InviteOwner(InviteOwner { of, .. }) => Some(of),
            AccountAction::SetAccountKey(set) => Some(&set.of),
            AccountAction::RelockAccount(relock) => Some(&relock.of),
            AccountAction::SetAccountCertificate(set) => Some(&set.of),
            AccountAction::EnterAccount(enter) => Some(&enter.of),
        }
    }

    /// Returns whether this action decides who may open keys of accounts.
    pub(super) fn is_of_trust(&self) -> bool {
        matches!(
            self,
            AccountAction::SetRecoveryKey(..)
                | AccountAction::InviteOwner(_)
                | AccountAction::EnterAccount(_)
        )
    }

    /// Returns every sealed secret in this action.
    pub(super) fn sealed(&self) -> Vec<&Sealed> {
        match self {
            AccountAction::SetSmimeIssuer(set) => vec![&set.key.sealed],
            AccountAction::SetAccountKey(set) => vec![&set.key.sealed],
            AccountAction::EnterAccount(enter) => vec![&enter.key.sealed],
            AccountAction::InviteOwner(invite) => {
                invite.invitation.iter().map(|one| &one.sealed).collect()
            }
            AccountAction::RelockAccount(relock) => {
                relock.keys.iter().map(|(_, one)| one).collect()
            }
            AccountAction::SetRecoveryKey(_, key) => key.iter().map(|key| &key.sealed).collect(),
            _ => Vec::new(),
        }
    }
}

/// See [`AccountAction::SetSmimeIssuer`].
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

/// See [`AccountAction::CreateAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateAccount {
    /// The account.
    pub of: AccountOf,
    /// Random id.
    pub id: AccountId,
    /// Name of the person; empty: none.
    pub name: String,
}

/// See [`AccountAction::SetAccountKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAccountKey {
    /// The account.
    pub of: AccountOf,
    /// The new key.
    pub key: AccountKey,
}

/// See [`AccountAction::InviteOwner`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteOwner {
    /// The account.
    pub of: AccountOf,
    /// The invitation, in the place of an earlier one; none: it is withdrawn.
    pub invitation: Option<Invitation>,
}

/// See [`AccountAction::EnterAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnterAccount {
    /// The account.
    pub of: AccountOf,
    /// A new key under the passphrase that the owner has chosen.
    pub key: AccountKey,
}

/// See [`AccountAction::RelockAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelockAccount {
    /// The account.
    pub of: AccountOf,
    /// Public key of each key that the present passphrase opens, with its new secret: the earlier
    /// ones by number, then the current one.
    pub keys: Vec<(Fingerprint, Sealed)>,
}

/// See [`AccountAction::SetAccountCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAccountCertificate {
    /// The account.
    pub of: AccountOf,
    /// The certificate, of the account's current key.
    pub certificate: AccountCertificate,
}

/// See [`AccountAction::RevokeAccountCertificate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeAccountCertificate {
    /// The account.
    pub of: AccountOf,
    /// Serial numbers of the certificates, at most [`crate::limits::KEY_CERTIFICATES_MAX`].
    pub serials: Vec<SerialNumber>,
    /// The reason.
    pub reason: RevocationReason,
}
