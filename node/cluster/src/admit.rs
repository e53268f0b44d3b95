//! Admission: turns a request into a command. Parses, checks, seals secrets and sets the time.
//!
//! All nondeterminism ends here, so that applying a command depends on State only. A command
//! carries the rows from which it was derived. If one of them has changed when the command is
//! applied, it is rejected and derived again.

mod account;
mod audit;
mod authority;
mod backup;
mod canary;
mod certificate;
mod chain;
mod client_auth;
mod csr;
mod domain;
mod grant;
mod join_token;
mod key;
mod keyring;
mod level;
mod listener;
mod member;
mod pending_key;
mod problem;
mod smime;
mod tls;
mod token;
mod trust;
mod user;

use std::fmt::Display;

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Purpose, SealError, Secret};
use conclave_store::{
    command::{Action, Expectation},
    id::{DomainName, Version},
    outcome::Rejection,
    record::{Credential, Domain, KeyFamily, Principal, RowKey, Sealed, Stamp},
    scope::Scope,
    state::State,
    time::UnixMillis,
};

use crate::{node::Node, rights::Access};

pub use account::{
    LockedKey, RelockedKey, create_account, delete_account, email_address, invite_owner,
    issue_account_certificate, relock_account, revoke_account_certificate, set_account_key,
    withdraw_invitation,
};
pub(crate) use account::{domain_of, enter_account, is_invitation, key_purpose};
pub use audit::keep_audit;
pub use authority::{forget_authority, rotate_authority};
pub use backup::{note_backup, recipients};
pub use canary::end_canary;
pub(crate) use canary::is_probed;
pub use certificate::{
    common_names, import_certificate, read_import, record_of, refresh_certificate,
    remove_certificate, self_sign,
};
pub(crate) use certificate::{for_addresses_only, is_for_an_address, not_covered, warnings};
pub use chain::{in_order, remove_chain, set_chain};
pub(crate) use client_auth::Issuer;
pub use client_auth::{clear_client_auth, issuer, set_client_auth};
pub use csr::create_csr;
pub use domain::{create_domain, delete_domain, rename_domain, rollback_domain, set_domain};
pub use join_token::{authority_fingerprint, create_join_token, expires};
pub(crate) use key::generate_account_key;
pub use key::{NewKey, generate_key, import_key, key_record, remove_key, set_key};
pub use keyring::rotate_keyring;
pub(crate) use keyring::{NextGeneration, PROOFS_LEVEL};
pub use level::finalize;
pub use listener::{
    add_listener, known_listener, listener_settings, normal_listen_address, normal_network,
    normal_upstream, remove_listener, set_listener, ways_around,
};
pub use member::{member, remove_member, set_member};
pub use pending_key::{remove_pending_key, set_pending_key};
pub use problem::rejection_problem;
pub use smime::{
    ImportedIssuer, generate_issuer_key, import_issuer, issuer_csr, list_number, read_issuer,
    refresh_issuer, remove_issuer, remove_recovery_key, revocation_list, self_sign_issuer,
    set_crl_url, set_issuer_chain, set_issuer_key, set_recovery_key,
};
pub(crate) use smime::{Issuing, issuing, recovery_key};
pub use tls::{LEGACY, flush_sessions, set_tls};
pub use token::{create_token, end_join_token, made_by_token, revoke_token};
pub(crate) use trust::trust_rows;
pub use trust::{TrustScope, add_trusted, remove_trusted};
pub use user::{NewUser, SetUser, create_user, delete_user, set_user, user_name};
pub(crate) use user::{login, session_end};

/// The input of admission besides the request.
pub struct View<'a> {
    /// The node that admits.
    pub node: &'a Node,
    /// The scope of the change.
    pub scope: Scope,
    /// State of the scope, as the decision saw it.
    pub state: &'a State,
    /// Time of the change.
    pub now: UnixMillis,
    /// Expected version of the object, if the caller gave one.
    pub if_version: Option<u64>,
    /// Selected key family, if the caller gave one.
    pub family: Option<KeyFamily>,
    /// Whether adding what exists already is no error.
    pub is_if_missing: bool,
    /// Whether removing what does not exist is no error.
    pub is_if_exists: bool,
    /// What the caller may do: nobody gives others more.
    pub access: &'a Access,
    /// Author of the change.
    pub principal: &'a Principal,
    /// The author's reason.
    pub reason: Option<&'a str>,
}

/// An action with the rows from which it was derived.
pub struct Admitted {
    /// None if State already is as the caller wants it.
    pub(crate) action: Option<Action>,
    /// Actions that are ordered before it, each by itself, and mean nothing without it.
    pub(crate) parts: Vec<Action>,
    /// The object's rows, if there is nothing to change.
    pub(crate) rows: Vec<RowKey>,
    pub(crate) expects: Vec<Expectation>,
    /// Name of the changed object, for the answer.
    pub(crate) object: String,
    pub(crate) warnings: Vec<String>,
}

impl Admitted {
    fn new(action: impl Into<Action>, object: impl ToString) -> Admitted {
        Admitted { action: Some(action.into()), ..Admitted::nothing(object, Vec::new()) }
    }

    /// Says that there is nothing to change: these rows are as the caller wants them.
    fn nothing(object: impl ToString, rows: Vec<RowKey>) -> Admitted {
        let (expects, warnings) = (Vec::new(), Vec::new());
        let (action, parts) = (None, Vec::new());
        Admitted { action, parts, rows, expects, object: object.to_string(), warnings }
    }

    /// Says that a domain is as the caller wants it.
    fn same_domain(name: DomainName) -> Admitted {
        let object = name.to_string();
        Admitted::nothing(object, vec![RowKey::Domain(name)])
    }

    fn expecting(mut self, expectation: Expectation) -> Admitted {
        self.expects.push(expectation);
        self
    }

    fn warning(mut self, warnings: Vec<String>) -> Admitted {
        self.warnings = warnings;
        self
    }
}

impl View<'_> {
    /// Returns a domain. Fails if it does not have the version that the caller expects.
    fn domain(&self, name: &DomainName) -> Result<(&Domain, Expectation), Problem> {
        let domain = self.known_domain(name)?;
        let seen = (domain.version, Some(&domain.changed));
        self.check_version(name, seen, || format!("conclave domain show {name}"))?;
        Ok((domain, self.state.expectation(RowKey::Domain(name.clone()))))
    }

    /// Returns a domain in whatever version, for changes of what has versions of its own.
    fn known_domain(&self, name: &DomainName) -> Result<&Domain, Problem> {
        self.state.domain(name).ok_or_else(|| problem::domain_unknown(name))
    }

    /// Fails if an object does not have the version that the caller expects. The hint shows it.
    fn check_version(
        &self,
        object: impl Display,
        (version, changed): (Version, Option<&Stamp>),
        hint: impl FnOnce() -> String,
    ) -> Result<(), Problem> {
        let Some(expected) = self.if_version.filter(|expected| *expected != version.0) else {
            return Ok(());
        };
        let title = format!("the version of {object} is {version}, not {expected}");
        let problem = Problem::new(Code::VersionConflict, title).hint(hint());
        Err(match changed {
            Some(stamp) => problem.detail(format!("changed by {}", stamp.principal)),
            None => problem,
        })
    }

    /// Seals a secret. In the shared scope a sealed node asks an unsealed member to do it.
    fn seal(&self, purpose: Purpose, secret: &Secret) -> Result<Sealed, Problem> {
        match self.node.keyring().seal(self.scope, purpose, secret.expose()) {
            Ok(sealed) => Ok(sealed),
            Err(SealError::Sealed) if self.scope == Scope::Shared => {
                self.seal_elsewhere(purpose, secret)
            }
            Err(error) => Err(self.sealed_problem(&error)),
        }
    }

    fn seal_elsewhere(&self, purpose: Purpose, secret: &Secret) -> Result<Sealed, Problem> {
        let replica = self.node.replica()?;
        // Admission runs on a blocking thread, so this wait blocks no other task.
        let sealed =
            tokio::runtime::Handle::current().block_on(replica.seal_elsewhere(purpose, secret));
        sealed.ok_or_else(|| self.sealed_problem(&SealError::Sealed))
    }

    fn sealed_problem(&self, error: &SealError) -> Problem {
        sealed_problem(self.node, error)
    }
}

/// Says that a node cannot open a secret.
fn sealed_problem(node: &Node, error: &SealError) -> Problem {
    let name = &node.config().name;
    let problem =
        Problem::new(Code::Sealed, format!("{name} is sealed: it cannot use private keys"))
            .detail(error.to_string());
    match node.keyring().sealed_reason() {
        Some(reason) => {
            problem.why(reason).hint(format!("{}    or ask another node", node.how_to_unseal()))
        }
        None => problem,
    }
}

/// Returns the credential of the given family. Without a family the domain must have exactly one.
pub fn credential(domain: &Domain, family: Option<KeyFamily>) -> Result<&Credential, Problem> {
    let name = &domain.name;
    let missing = || rejection_problem(&Rejection::KeyMissing(name.clone()));
    match (family, domain.credentials.as_slice()) {
        (None, []) => Err(missing()),
        (None, [only]) => Ok(only),
        (None, _) => {
            let title = format!("{name} has an EC and an RSA key: which one is meant?");
            Err(Problem::new(Code::Malformed, title).hint("add --family ec or --family rsa"))
        }
        (Some(family), _) => domain.credential(family).ok_or_else(|| {
            let title = format!("{name} has no {family} key");
            Problem { title, ..missing() }
        }),
    }
}

/// Parses a domain name in a request.
pub fn domain_name(text: &str) -> Result<DomainName, Problem> {
    DomainName::parse(text)
        .map_err(|error| Problem::new(Code::InvalidDomainName, error.to_string()))
}
