//! Requests about S/MIME issuers and accounts.

use conclave_api::{
    account, certificate,
    change::{Change as Changed, List},
    csr, path,
    path::with_name,
    smime,
    user::Session,
};
use reqwest::Method;

use super::Nothing;
use crate::{Change, Client, Failure};

impl Client {
    /// Reads what issues the S/MIME certificates of a domain.
    pub async fn smime_issuer(&self, name: &str) -> Result<smime::Issuer, Failure> {
        self.read(&with_name(path::SMIME, name)).await
    }

    /// Imports the certificate of an S/MIME issuer.
    pub async fn import_smime_issuer(
        &self,
        name: &str,
        import: &smime::Import,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::SMIME, name), import, change).await
    }

    /// Removes the S/MIME issuer of a domain.
    pub async fn remove_smime_issuer(
        &self,
        name: &str,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::SMIME, name), &Nothing {}, change).await
    }

    /// Makes a self-signed S/MIME issuer.
    pub async fn self_sign_smime_issuer(
        &self,
        name: &str,
        subject: &smime::Subject,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::SMIME_SELF_SIGN, name), subject, change).await
    }

    /// Renews the self-signed certificate of an S/MIME issuer.
    pub async fn refresh_smime_issuer(
        &self,
        name: &str,
        refresh: &certificate::Refresh,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::SMIME_REFRESH, name), refresh, change).await
    }

    /// Makes a signing request for an S/MIME issuer, and its key if there is none.
    pub async fn create_smime_csr(
        &self,
        name: &str,
        subject: &smime::Subject,
    ) -> Result<csr::Csr, Failure> {
        let path = with_name(path::SMIME_CSR, name);
        self.change(Method::POST, &path, subject, &Change::default()).await
    }

    /// Sets the certificates above that of an S/MIME issuer.
    pub async fn set_smime_chain(
        &self,
        name: &str,
        chain: &smime::Chain,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::SMIME_CHAIN, name), chain, change).await
    }

    /// Reads the revocation list of a domain's S/MIME issuer.
    pub async fn smime_crl(&self, name: &str) -> Result<smime::Crl, Failure> {
        self.read(&with_name(path::SMIME_CRL, name)).await
    }

    /// Reads a page of the accounts of a domain, those after `after`.
    pub async fn accounts(
        &self,
        name: &str,
        after: Option<String>,
    ) -> Result<List<account::Account>, Failure> {
        let mut query = self.query();
        query.extend(after.map(|after| (path::AFTER_PARAMETER, after)));
        self.read_with(&with_name(path::DOMAIN_ACCOUNTS, name), query).await
    }

    /// Reads an account.
    pub async fn account(&self, address: &str) -> Result<account::Account, Failure> {
        self.read(&with_name(path::ACCOUNT, address)).await
    }

    /// Creates an account.
    pub async fn create_account(
        &self,
        create: &account::Create,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, path::ACCOUNTS, create, change).await
    }

    /// Removes an account.
    pub async fn delete_account(&self, address: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::ACCOUNT, address), &Nothing {}, change).await
    }

    /// Generates a key for an account.
    pub async fn generate_account_key(
        &self,
        address: &str,
        generate: &account::Generate,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::ACCOUNT_KEY, address), generate, change).await
    }

    /// Imports a key of an account from a PKCS#12 file.
    pub async fn import_account_key(
        &self,
        address: &str,
        import: &account::Import,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::ACCOUNT_KEY, address), import, change).await
    }

    /// Exports the current key of an account as a PKCS#12 file.
    pub async fn export_account_key(
        &self,
        address: &str,
        export: &account::Export,
    ) -> Result<account::Exported, Failure> {
        let path = with_name(path::ACCOUNT_KEY_EXPORT, address);
        self.change(Method::POST, &path, export, &Change::default()).await
    }

    /// Changes what a domain does for its accounts.
    pub async fn set_smime(
        &self,
        name: &str,
        set: &smime::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PATCH, &with_name(path::SMIME, name), set, change).await
    }

    /// Sets the recovery key of a domain's accounts.
    pub async fn set_recovery_key(
        &self,
        name: &str,
        set: &smime::SetRecoveryKey,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::SMIME_RECOVERY_KEY, name), set, change).await
    }

    /// Removes the recovery key of a domain's accounts.
    pub async fn remove_recovery_key(
        &self,
        name: &str,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let path = with_name(path::SMIME_RECOVERY_KEY, name);
        self.change(Method::DELETE, &path, &Nothing {}, change).await
    }

    /// Invites the owner of an account.
    pub async fn invite_owner(
        &self,
        address: &str,
        invite: &account::Invite,
        change: &Change,
    ) -> Result<account::Invitation, Failure> {
        self.change(Method::POST, &with_name(path::ACCOUNT_INVITATION, address), invite, change)
            .await
    }

    /// Withdraws the invitation of an account's owner.
    pub async fn withdraw_invitation(
        &self,
        address: &str,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let path = with_name(path::ACCOUNT_INVITATION, address);
        self.change(Method::DELETE, &path, &Nothing {}, change).await
    }

    /// Logs the owner of an account in, with the passphrase or an invitation.
    pub async fn account_login(
        &self,
        address: &str,
        login: &account::Login,
    ) -> Result<Session, Failure> {
        let path = with_name(path::ACCOUNT_LOGIN, address);
        self.change(Method::POST, &path, login, &Change::default()).await
    }

    /// Reads the copy of a key that only the holder of a recovery key can open.
    pub async fn recover_account_key(
        &self,
        address: &str,
        recover: &account::Recover,
    ) -> Result<account::SealedCopy, Failure> {
        let path = with_name(path::ACCOUNT_KEY_RECOVERY, address);
        self.change(Method::POST, &path, recover, &Change::default()).await
    }

    /// Locks all keys of an account under another passphrase.
    pub async fn set_account_passphrase(
        &self,
        address: &str,
        passphrase: &account::Passphrase,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let path = with_name(path::ACCOUNT_PASSPHRASE, address);
        self.change(Method::PUT, &path, passphrase, change).await
    }

    /// Reads the latest certificate of an account.
    pub async fn account_certificate(&self, address: &str) -> Result<account::Issued, Failure> {
        self.read(&with_name(path::ACCOUNT_CERTIFICATE, address)).await
    }

    /// Issues a certificate for the current key of an account.
    pub async fn issue_account_certificate(
        &self,
        address: &str,
        issue: &account::Issue,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let path = with_name(path::ACCOUNT_CERTIFICATE, address);
        self.change(Method::POST, &path, issue, change).await
    }

    /// Revokes a certificate of an account.
    pub async fn revoke_account_certificate(
        &self,
        address: &str,
        revoke: &account::Revoke,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let path = with_name(path::ACCOUNT_CERTIFICATE_REVOKE, address);
        self.change(Method::POST, &path, revoke, change).await
    }
}
