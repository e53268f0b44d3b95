//! The cluster as it is, for comparison with a document, and for export.

use std::collections::BTreeMap;

use conclave_api::{
    domain::{Domain, Scope},
    listener::Listener,
    tls::Settings,
    trust::Trusted,
};
use conclave_client::{Client, Failure};
use futures::{StreamExt, TryStreamExt};

/// Most requests at one time: enough that changes are committed in groups, and few enough for one
/// connection each.
pub(in super::super) const REQUESTS_MAX: usize = 64;

/// A domain is known by its scope and its name.
pub(in super::super) type DomainKey = (bool, String);

/// Returns the key of a domain. Names are in their normal form: nodes send it, and the document has
/// it since it was read.
pub(in super::super) fn key(scope: Scope, name: &str) -> DomainKey {
    (scope == Scope::Local, name.to_owned())
}

pub(in super::super) fn scope_word(scope: Scope) -> String {
    match scope {
        Scope::Shared => "shared",
        Scope::Local => "local",
    }
    .to_owned()
}

pub(in super::super) struct Present {
    /// Client of the answering node alone, for what belongs to it.
    pub(in super::super) here: Client,
    /// Name of the answering node.
    pub(in super::super) node: String,
    pub(in super::super) tls: Settings,
    pub(in super::super) cluster: Vec<Trusted>,
    pub(in super::super) server: Vec<Trusted>,
    pub(in super::super) domains: BTreeMap<DomainKey, Domain>,
    /// The sets of the domains that have one.
    pub(in super::super) trusted: BTreeMap<DomainKey, Vec<Trusted>>,
    pub(in super::super) listeners: Vec<Listener>,
}

impl Present {
    pub(in super::super) async fn read(client: &Client) -> Result<Present, Failure> {
        let client = client.with_scope(None);
        let tls = client.tls().await?;
        // Local domains and the set `server` differ from node to node.
        let client = client.pinned();
        let domains = client.domains().await?.items;
        let with_set = domains.iter().filter(|one| one.trusted > 0);
        let reads = with_set.map(|one| {
            let client = client.with_scope(Some(scope_word(one.scope)));
            let (key, set) = (key(one.scope, &one.name), format!("domain:{}", one.name));
            async move { client.own_trusted(&set).await.map(|list| (key, list.items)) }
        });
        let trusted = futures::stream::iter(reads).buffered(REQUESTS_MAX).try_collect().await?;
        Ok(Present {
            node: tls.node.name.clone(),
            tls,
            cluster: client.own_trusted("cluster").await?.items,
            server: client.own_trusted("server").await?.items,
            domains: domains.into_iter().map(|one| (key(one.scope, &one.name), one)).collect(),
            trusted,
            listeners: client.listeners().await?.items,
            here: client,
        })
    }
}
