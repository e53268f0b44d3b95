//! From what a caller asks to a command: parsed, checked, sealed, timed.
//!
//! Everything uncertain ends here. A command carries the rows that it was derived from; if one
//! of them has changed when it is applied, it is rejected and derived afresh.

mod certificate;
mod chain;
mod client_auth;
mod csr;
mod domain;
mod join_token;
mod key;
mod keyring;
mod listener;
mod problem;
mod tls;
mod token;
mod trust;

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Purpose, SealError, Secret};
use conclave_store::{
    command::{Action, Expectation},
    id::DomainName,
    outcome::Rejection,
    record::{Credential, Domain, KeyFamily, RowKey, Sealed},
    scope::Scope,
    state::State,
    time::UnixMillis,
};

use crate::node::Node;

pub(crate) use certificate::{
    common_names, import_certificate, read_import, refresh_certificate, remove_certificate,
    self_sign, warnings,
};
pub(crate) use chain::{remove_chain, set_chain};
pub(crate) use client_auth::{Issuer, clear_client_auth, issuer, set_client_auth};
pub(crate) use csr::create_csr;
pub(crate) use domain::{create_domain, delete_domain, rename_domain, rollback_domain, set_domain};
pub(crate) use join_token::{authority_fingerprint, create_join_token, expires};
pub(crate) use key::{generate_key, import_key, remove_key, set_key};
pub(crate) use keyring::rotate_keyring;
pub(crate) use listener::{add_listener, remove_listener};
pub(crate) use problem::rejection_problem;
pub(crate) use tls::{LEGACY, flush_sessions, set_tls};
pub(crate) use token::{create_token, revoke_token};
pub(crate) use trust::{TrustScope, add_trusted, remove_trusted};
#[cfg(feature = "testing")]
pub(crate) use {certificate::record_of, key::key_record};

/// What admission looks at.
pub(crate) struct View<'a> {
    pub(crate) node: &'a Node,
    pub(crate) scope: Scope,
    pub(crate) state: &'a State,
    pub(crate) now: UnixMillis,
    /// Version that the caller expects of the domain.
    pub(crate) if_version: Option<u64>,
    /// Family of the key that the caller means.
    pub(crate) family: Option<KeyFamily>,
}

/// An action, and what it was derived from.
pub(crate) struct Admitted {
    pub(crate) action: Action,
    pub(crate) expects: Vec<Expectation>,
    /// What the change is about, in the answer.
    pub(crate) object: String,
    pub(crate) warnings: Vec<String>,
}

impl Admitted {
    fn new(action: Action, object: impl ToString) -> Admitted {
        Admitted { action, expects: Vec::new(), object: object.to_string(), warnings: Vec::new() }
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
    /// A domain as it stands, at the version that the caller expects.
    fn domain(&self, name: &DomainName) -> Result<(&Domain, Expectation), Problem> {
        let domain = self.state.domain(name).ok_or_else(|| problem::domain_unknown(name))?;
        if let Some(expected) = self.if_version
            && expected != domain.version.0
        {
            let title = format!("{name} is at version {}, not at {expected}", domain.version);
            return Err(Problem::new(Code::V002, title)
                .detail(format!("changed by {}", domain.changed.principal))
                .hint(format!("conclave domain show {name}")));
        }
        Ok((domain, self.state.expectation(RowKey::Domain(name.clone()))))
    }

    /// Seals a secret; a node that is sealed itself has another one do it.
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
        // Admission runs on a blocking thread, so waiting here holds nobody up.
        let sealed =
            tokio::runtime::Handle::current().block_on(replica.seal_elsewhere(purpose, secret));
        sealed.ok_or_else(|| self.sealed_problem(&SealError::Sealed))
    }

    fn sealed_problem(&self, error: &SealError) -> Problem {
        let name = &self.node.config().name;
        let problem =
            Problem::new(Code::S001, format!("{name} is sealed: it cannot use private keys"))
                .detail(error.to_string());
        match self.node.keyring().sealed_reason() {
            Some(reason) => problem
                .why(reason)
                .hint("put the unlock key back and restart the node, or ask another node"),
            None => problem,
        }
    }
}

/// The credential that a caller means: that of the family it named, else the only one.
pub(crate) fn credential(
    domain: &Domain,
    family: Option<KeyFamily>,
) -> Result<&Credential, Problem> {
    let name = &domain.name;
    let missing = || rejection_problem(&Rejection::KeyMissing(name.clone()));
    match (family, domain.credentials.as_slice()) {
        (None, []) => Err(missing()),
        (None, [only]) => Ok(only),
        (None, _) => {
            let title = format!("{name} has an EC and an RSA key: which one is meant?");
            Err(Problem::new(Code::X004, title).hint("add --family ec or --family rsa"))
        }
        (Some(family), _) => domain.credential(family).ok_or_else(|| {
            let title = format!("{name} has no {family} key");
            Problem { title, ..missing() }
        }),
    }
}

/// A domain's name as the caller wrote it.
pub(crate) fn domain_name(text: &str) -> Result<DomainName, Problem> {
    DomainName::parse(text).map_err(|error| Problem::new(Code::D001, error.to_string()))
}
