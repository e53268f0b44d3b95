//! Requests about who may do what, and what was done.

use conclave_api::{
    audit,
    change::{Change as Changed, List},
    grant, join_token, path,
    path::with_name,
    token, user,
};
use reqwest::Method;

use super::Nothing;
use crate::{Change, Client, Failure};

/// Which entries of the audit trail are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only by this principal.
    pub who: Option<String>,
    /// Only this event, or those that begin with it if it ends with a dot.
    pub event: Option<String>,
    /// Only about this object.
    pub object: Option<String>,
    /// Only those that ended so: `done`, `denied` or `failed`.
    pub result: Option<String>,
}

impl AuditFilter {
    fn query(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("who", &self.who),
            ("event", &self.event),
            ("object", &self.object),
            ("result", &self.result),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

impl Client {
    /// Creates a join token.
    pub async fn create_join_token(
        &self,
        create: &join_token::Create,
        change: &Change,
    ) -> Result<join_token::JoinToken, Failure> {
        self.change(Method::POST, path::JOIN_TOKENS, create, change).await
    }

    /// Lists the join tokens.
    pub async fn join_tokens(&self) -> Result<List<join_token::Known>, Failure> {
        self.read(path::JOIN_TOKENS).await
    }

    /// Ends a join token.
    pub async fn revoke_join_token(&self, id: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::JOIN_TOKEN, id), &Nothing {}, change).await
    }

    /// Creates an access token.
    pub async fn create_token(
        &self,
        create: &token::Create,
        change: &Change,
    ) -> Result<token::NewToken, Failure> {
        self.change(Method::POST, path::TOKENS, create, change).await
    }

    /// Lists the access tokens.
    pub async fn tokens(&self) -> Result<List<token::Token>, Failure> {
        self.read(path::TOKENS).await
    }

    /// Revokes an access token, and the tokens that were made with it.
    pub async fn revoke_token(&self, id: &str, change: &Change) -> Result<token::Revoked, Failure> {
        self.change(Method::DELETE, &with_name(path::TOKEN, id), &Nothing {}, change).await
    }

    /// Reads who the caller is and what it may do.
    pub async fn who_am_i(&self) -> Result<grant::WhoAmI, Failure> {
        self.read(path::WHO_AM_I).await
    }

    /// Lists the roles with their rights.
    pub async fn roles(&self) -> Result<List<grant::RoleRights>, Failure> {
        self.read(path::ROLES).await
    }

    /// Logs a user in.
    pub async fn log_in(&self, login: &user::Login) -> Result<user::Session, Failure> {
        self.change(Method::POST, path::LOGIN, login, &Change::default()).await
    }

    /// Ends the session whose token this client has.
    pub async fn log_out(&self) -> Result<Changed, Failure> {
        self.change(Method::DELETE, path::LOGIN, &Nothing {}, &Change::default()).await
    }

    /// Lists the users.
    pub async fn users(&self) -> Result<List<user::User>, Failure> {
        self.read(path::USERS).await
    }

    /// Reads a user.
    pub async fn user(&self, name: &str) -> Result<user::User, Failure> {
        self.read(&with_name(path::USER, name)).await
    }

    /// Creates a user.
    pub async fn create_user(
        &self,
        create: &user::Create,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, path::USERS, create, change).await
    }

    /// Changes a user.
    pub async fn set_user(
        &self,
        name: &str,
        set: &user::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PATCH, &with_name(path::USER, name), set, change).await
    }

    /// Deletes a user.
    pub async fn delete_user(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::USER, name), &Nothing {}, change).await
    }

    /// Makes a secret for the one-time codes of a user.
    pub async fn make_code(&self, name: &str, change: &Change) -> Result<user::NewCode, Failure> {
        self.change(Method::POST, &with_name(path::USER_CODE, name), &Nothing {}, change).await
    }

    /// Asks a user for no code any longer.
    pub async fn remove_code(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::USER_CODE, name), &Nothing {}, change).await
    }

    /// Reads entries of the audit trail before the one with the number `after`, the last one first.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<List<audit::Entry>, Failure> {
        let mut query = self.query();
        query.extend(filter.query());
        query.push((path::LIMIT_PARAMETER, limit.to_string()));
        query.extend(after.map(|after| (path::AFTER_PARAMETER, after.to_string())));
        self.read_with(path::AUDIT, query).await
    }

    /// Checks the audit trail of the asked node.
    pub async fn verify_audit(&self) -> Result<audit::Verified, Failure> {
        self.read(path::AUDIT_VERIFY).await
    }

    /// Keeps another number of entries of the audit trail.
    pub async fn keep_audit(
        &self,
        keep: &audit::Keep,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, path::AUDIT_KEEP, keep, change).await
    }
}
