//! Single requests that a plan is made of.

use conclave_api::{
    certificate,
    change::Change as Changed,
    client_auth,
    domain::{Create, Scope, Set},
    key, listener, tls, trust,
};
use conclave_client::{Change, Client, Failure};

use super::domain;
use crate::commands::document::present::scope_word;

/// A request for one object.
pub(super) enum Request {
    CreateDomain(Create),
    SetDomain(Target, Set),
    DeleteDomain(Target),
    /// Key, or key and certificate; with the family if the key is known already.
    ImportCertificate(Target, Option<String>, Box<certificate::Import>),
    ImportKey(Target, key::Import),
    RemoveKey(Target, String),
    SetClientAuth(Target, client_auth::Set),
    ClearClientAuth(Target),
    AddTrusted(TrustSet, trust::Add),
    RemoveTrusted(TrustSet, trust::Remove),
    AddListener(Box<listener::Add>),
    SetListener(String, Box<listener::Set>),
    RemoveListener(String),
    SetTls(Box<tls::Set>),
}

/// A domain of one scope.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) scope: Scope,
}

/// A trust set; the scope is that of its domain.
#[derive(Clone)]
pub(super) struct TrustSet {
    pub(super) name: String,
    pub(super) scope: Option<Scope>,
}

impl Request {
    /// Returns the names of what the request removes from an object that stays.
    pub(super) fn removed(&self) -> Option<String> {
        match self {
            Request::RemoveKey(target, family) => {
                let domain = domain::object(target.scope, &target.name);
                Some(format!("the {family} key of {domain}"))
            }
            Request::RemoveTrusted(set, remove) => {
                let count = remove.fingerprints.len();
                Some(format!("{count} trusted certificates or revocation lists of {}", set.name))
            }
            _ => None,
        }
    }

    /// Returns whether the request is about one node alone.
    fn is_local(&self) -> bool {
        match self {
            Request::CreateDomain(create) => create.scope == Some(Scope::Local),
            Request::SetDomain(target, _)
            | Request::DeleteDomain(target)
            | Request::ImportCertificate(target, ..)
            | Request::ImportKey(target, _)
            | Request::RemoveKey(target, _)
            | Request::SetClientAuth(target, _)
            | Request::ClearClientAuth(target) => target.scope == Scope::Local,
            Request::AddTrusted(set, _) | Request::RemoveTrusted(set, _) => {
                set.scope == Some(Scope::Local) || set.name == "server"
            }
            Request::AddListener(_)
            | Request::SetListener(..)
            | Request::RemoveListener(_)
            | Request::SetTls(_) => false,
        }
    }

    /// Sends the request, to `here` if it is about that node alone. What is removed may be gone,
    /// and what is created may be there.
    pub(super) async fn send(
        &self,
        client: &Client,
        here: &Client,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let client = if self.is_local() { here } else { client };
        let change = Change { is_if_exists: true, is_if_missing: true, ..change.clone() };
        let of = |target: &Target| client.with_scope(Some(scope_word(target.scope)));
        match self {
            Request::CreateDomain(create) => {
                client.with_scope(None).create_domain(create, &change).await
            }
            Request::SetDomain(target, set) => {
                of(target).set_domain(&target.name, set, &change).await
            }
            Request::DeleteDomain(target) => of(target).delete_domain(&target.name, &change).await,
            Request::ImportCertificate(target, family, import) => {
                let client = of(target).with_family(family.clone());
                client.import_certificate(&target.name, import, &change).await
            }
            Request::ImportKey(target, import) => {
                // The document names another key than the domain has, which is a conflict.
                let change = Change { is_if_missing: false, ..change };
                of(target).import_key(&target.name, import, &change).await
            }
            Request::RemoveKey(target, family) => {
                let client = of(target).with_family(Some(family.clone()));
                client.remove_key(&target.name, &change).await
            }
            Request::SetClientAuth(target, set) => {
                of(target).set_client_auth(&target.name, set, &change).await
            }
            Request::ClearClientAuth(target) => {
                of(target).clear_client_auth(&target.name, &change).await
            }
            Request::AddTrusted(set, add) => {
                client
                    .with_scope(set.scope.map(scope_word))
                    .add_trusted(&set.name, add, &change)
                    .await
            }
            Request::RemoveTrusted(set, remove) => {
                let client = client.with_scope(set.scope.map(scope_word));
                client.remove_trusted(&set.name, remove, &change).await
            }
            Request::AddListener(add) => {
                // One with other settings is no listener that exists already.
                let change = Change { is_if_missing: false, ..change };
                client.add_listener(add, &change).await
            }
            Request::SetListener(name, set) => client.set_listener(name, set, &change).await,
            Request::RemoveListener(name) => client.remove_listener(name, &change).await,
            Request::SetTls(set) => client.set_tls(set, &change).await,
        }
    }
}
