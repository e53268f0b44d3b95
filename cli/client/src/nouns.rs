//! Requests of the admin API, noun by noun.

mod access;
mod mail;

use conclave_api::{
    backup, canary, certificate, chain,
    change::{Change as Changed, List},
    client_auth, cluster, csr, domain, key, keyring, listener, load, node, path,
    path::with_name,
    status, tls, trust,
};
use reqwest::Method;

pub use access::AuditFilter;

use crate::{Change, Client, Failure};

/// Which domains a list has, and in which order.
#[derive(Debug, Clone, Default)]
pub struct DomainFilter {
    /// Part of a name or an alias.
    pub search: Option<String>,
    /// How they are.
    pub state: Option<domain::DomainState>,
    /// By name if not given.
    pub order: Option<domain::DomainOrder>,
}

/// An empty body.
#[derive(serde::Serialize)]
struct Nothing {}

impl Client {
    /// Reads the health of the cluster.
    pub async fn status(&self) -> Result<status::Status, Failure> {
        self.read(path::STATUS).await
    }

    /// Lists the members.
    pub async fn nodes(&self) -> Result<List<node::Node>, Failure> {
        self.read(path::NODES).await
    }

    /// Lists the members with what they have counted.
    pub async fn load(&self) -> Result<List<load::NodeLoad>, Failure> {
        self.read(path::LOAD).await
    }

    /// Changes role or zone of a member.
    pub async fn set_node(
        &self,
        name: &str,
        set: &node::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PATCH, &with_name(path::NODE, name), set, change).await
    }

    /// Removes a member.
    pub async fn remove_node(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::NODE, name), &Nothing {}, change).await
    }

    /// Lists the private keys that a member could open, also after it has left.
    pub async fn exposed(&self, name: &str) -> Result<List<node::Exposed>, Failure> {
        self.read(&with_name(path::NODE_EXPOSED, name)).await
    }

    /// Reads the progress of a node's drain.
    pub async fn drained(&self, name: &str) -> Result<node::Drained, Failure> {
        self.read(&with_name(path::NODE_DRAIN, name)).await
    }

    /// Makes a node take no new connections.
    pub async fn drain(&self, name: &str, drain: &node::Drain) -> Result<node::Drained, Failure> {
        let path = with_name(path::NODE_DRAIN, name);
        self.change(Method::POST, &path, drain, &Change::default()).await
    }

    /// Makes a node serve again.
    pub async fn resume(&self, name: &str) -> Result<node::Drained, Failure> {
        let path = with_name(path::NODE_DRAIN, name);
        self.change(Method::DELETE, &path, &Nothing {}, &Change::default()).await
    }

    /// Founds a cluster.
    pub async fn init(
        &self,
        init: &cluster::Init,
        change: &Change,
    ) -> Result<cluster::Membership, Failure> {
        self.change(Method::POST, path::CLUSTER, init, change).await
    }

    /// Joins a cluster.
    pub async fn join(
        &self,
        join: &cluster::Join,
        change: &Change,
    ) -> Result<cluster::Membership, Failure> {
        self.change(Method::POST, path::CLUSTER_JOIN, join, change).await
    }

    /// Makes the leader hand over to another voter.
    pub async fn transfer_leader(
        &self,
        transfer: &cluster::TransferLeader,
        change: &Change,
    ) -> Result<cluster::LeaderTransfer, Failure> {
        self.change(Method::POST, path::CLUSTER_TRANSFER_LEADER, transfer, change).await
    }

    /// Reads how far a rolling upgrade is.
    pub async fn upgrade(&self) -> Result<cluster::Upgrade, Failure> {
        self.read(path::CLUSTER_UPGRADE).await
    }

    /// Ends a rolling upgrade.
    pub async fn finalize(&self, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::POST, path::CLUSTER_FINALIZE, &Nothing {}, change).await
    }

    /// Replaces the authority of the cluster.
    pub async fn rotate_authority(&self, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::POST, path::CLUSTER_ROTATE_AUTHORITY, &Nothing {}, change).await
    }

    /// Ends the trust in the authority before the present one.
    pub async fn forget_authority(&self, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::POST, path::CLUSTER_FORGET_AUTHORITY, &Nothing {}, change).await
    }

    /// Tells the cluster about a complete backup.
    pub async fn note_backup(&self, last: &backup::LastBackup) -> Result<Changed, Failure> {
        let change = Change { is_committed_enough: true, ..Change::default() };
        self.change(Method::PUT, path::BACKUP_LAST, last, &change).await
    }

    /// Founds a cluster for a backup, or goes on with its restore.
    pub async fn begin_restore(
        &self,
        restore: &backup::Restore,
    ) -> Result<cluster::Membership, Failure> {
        self.change(Method::POST, path::RESTORE, restore, &Change::default()).await
    }

    /// Ends a restore.
    pub async fn finish_restore(&self) -> Result<backup::Restored, Failure> {
        self.change(Method::POST, path::RESTORE_FINISH, &Nothing {}, &Change::default()).await
    }

    /// Reads the state of the keyring.
    pub async fn keyring(&self) -> Result<keyring::Keyring, Failure> {
        self.read(path::KEYRING).await
    }

    /// Starts a new generation of the keyring.
    pub async fn rotate_keyring(&self, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::POST, path::KEYRING_ROTATE, &Nothing {}, change).await
    }

    /// Reads how the addressed node unlocks.
    pub async fn unlocking(&self) -> Result<keyring::Unlocking, Failure> {
        self.for_one_node()?;
        self.read(path::KEYRING_UNLOCKING).await
    }

    /// Makes the addressed node forget all private keys.
    pub async fn seal(&self) -> Result<keyring::Unlocking, Failure> {
        self.for_one_node()?;
        self.change(Method::POST, path::KEYRING_SEAL, &Nothing {}, &Change::default()).await
    }

    /// Opens the keyring on the addressed node.
    pub async fn unseal(&self, unseal: &keyring::Unseal) -> Result<keyring::Unlocking, Failure> {
        self.for_one_node()?;
        self.change(Method::POST, path::KEYRING_UNSEAL, unseal, &Change::default()).await
    }

    /// Changes how the addressed node unlocks.
    pub async fn rekey(&self, rekey: &keyring::Rekey) -> Result<keyring::Rekeyed, Failure> {
        self.for_one_node()?;
        self.change(Method::POST, path::KEYRING_REKEY, rekey, &Change::default()).await
    }

    /// Lists the domains, all pages.
    pub async fn domains(&self) -> Result<List<domain::Domain>, Failure> {
        self.chosen_domains(&DomainFilter::default()).await
    }

    /// Lists the domains that a filter takes, in its order.
    pub async fn chosen_domains(
        &self,
        filter: &DomainFilter,
    ) -> Result<List<domain::Domain>, Failure> {
        let mut all: List<domain::Domain> = List::new(Vec::new());
        let mut after = None;
        loop {
            let mut query = self.query();
            query.extend(filter.search.iter().map(|text| ("search", text.clone())));
            query.extend(filter.state.iter().map(|state| ("state", state.to_string())));
            query.extend(filter.order.iter().map(|order| ("sort", order.to_string())));
            query.extend(after.map(|after| (path::AFTER_PARAMETER, after)));
            let page: List<domain::Domain> = self.read_with(path::DOMAINS, query).await?;
            all.items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Reads a domain.
    pub async fn domain(&self, name: &str) -> Result<domain::Domain, Failure> {
        self.read(&with_name(path::DOMAIN, name)).await
    }

    /// Creates a domain.
    pub async fn create_domain(
        &self,
        create: &domain::Create,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, path::DOMAINS, create, change).await
    }

    /// Changes a domain.
    pub async fn set_domain(
        &self,
        name: &str,
        set: &domain::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PATCH, &with_name(path::DOMAIN, name), set, change).await
    }

    /// Removes a domain.
    pub async fn delete_domain(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::DOMAIN, name), &Nothing {}, change).await
    }

    /// Reads the public facts about a domain's key.
    pub async fn key(&self, name: &str) -> Result<key::Key, Failure> {
        self.read(&with_name(path::KEY, name)).await
    }

    /// Generates a key.
    pub async fn generate_key(
        &self,
        name: &str,
        generate: &key::Generate,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::KEY_GENERATE, name), generate, change).await
    }

    /// Makes a key that waits for its certificate, beside the key in use.
    pub async fn set_pending_key(
        &self,
        name: &str,
        generate: &key::Generate,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::KEY_PENDING, name), generate, change).await
    }

    /// Removes a key that waits for its certificate.
    pub async fn remove_pending_key(
        &self,
        name: &str,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::KEY_PENDING, name), &Nothing {}, change).await
    }

    /// Imports a key.
    pub async fn import_key(
        &self,
        name: &str,
        import: &key::Import,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::KEY, name), import, change).await
    }

    /// Removes a key and its certificate.
    pub async fn remove_key(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::KEY, name), &Nothing {}, change).await
    }

    /// Reads a domain's certificate.
    pub async fn certificate(&self, name: &str) -> Result<certificate::Certificate, Failure> {
        self.read(&with_name(path::CERTIFICATE, name)).await
    }

    /// Imports a certificate.
    pub async fn import_certificate(
        &self,
        name: &str,
        import: &certificate::Import,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::CERTIFICATE, name), import, change).await
    }

    /// Ends the canary of a domain.
    pub async fn end_canary(
        &self,
        name: &str,
        end: &canary::End,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::CANARY, name), end, change).await
    }

    /// Creates a self-signed certificate.
    pub async fn self_sign(
        &self,
        name: &str,
        self_sign: &certificate::SelfSign,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let path = with_name(path::CERTIFICATE_SELF_SIGN, name);
        self.change(Method::POST, &path, self_sign, change).await
    }

    /// Removes a certificate.
    pub async fn remove_certificate(
        &self,
        name: &str,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::CERTIFICATE, name), &Nothing {}, change).await
    }

    /// Reads a domain's CA chain.
    pub async fn chain(&self, name: &str) -> Result<chain::Chain, Failure> {
        self.read(&with_name(path::CHAIN, name)).await
    }

    /// Sets a CA chain.
    pub async fn set_chain(
        &self,
        name: &str,
        set: &chain::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::CHAIN, name), set, change).await
    }

    /// Removes a CA chain.
    pub async fn remove_chain(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::CHAIN, name), &Nothing {}, change).await
    }

    /// Lists the listeners.
    pub async fn listeners(&self) -> Result<List<listener::Listener>, Failure> {
        self.read(path::LISTENERS).await
    }

    /// Adds a listener.
    pub async fn add_listener(
        &self,
        add: &listener::Add,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, path::LISTENERS, add, change).await
    }

    /// Reads a listener.
    pub async fn listener(&self, name: &str) -> Result<listener::Listener, Failure> {
        self.read(&with_name(path::LISTENER, name)).await
    }

    /// Changes a listener.
    pub async fn set_listener(
        &self,
        name: &str,
        set: &listener::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PATCH, &with_name(path::LISTENER, name), set, change).await
    }

    /// Removes a listener.
    pub async fn remove_listener(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::LISTENER, name), &Nothing {}, change).await
    }

    /// Reads the client certificate policy of a domain.
    pub async fn client_auth(&self, name: &str) -> Result<client_auth::Shown, Failure> {
        self.read(&with_name(path::CLIENT_AUTH, name)).await
    }

    /// Sets the client certificate policy of a domain.
    pub async fn set_client_auth(
        &self,
        name: &str,
        set: &client_auth::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::CLIENT_AUTH, name), set, change).await
    }

    /// Stops asking clients of a domain for a certificate.
    pub async fn clear_client_auth(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::CLIENT_AUTH, name), &Nothing {}, change).await
    }

    /// Reads the TLS settings of the cluster.
    pub async fn tls(&self) -> Result<tls::Settings, Failure> {
        self.read(path::TLS).await
    }

    /// Changes TLS settings.
    pub async fn set_tls(&self, set: &tls::Set, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::PATCH, path::TLS, set, change).await
    }

    /// Reads the domain served to a client that asks for this name at this address.
    pub async fn tls_served(
        &self,
        name: Option<&str>,
        ip: std::net::IpAddr,
    ) -> Result<tls::Served, Failure> {
        let path = path::TLS_SERVED.replace("{name}", name.unwrap_or("-"));
        self.read(&path.replace("{ip}", &ip.to_string())).await
    }

    /// Reads the state of sessions and session keys.
    pub async fn tls_sessions(&self) -> Result<tls::Sessions, Failure> {
        self.read(path::TLS_SESSIONS).await
    }

    /// Ends all sessions.
    pub async fn flush_sessions(&self, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::POST, path::TLS_FLUSH, &Nothing {}, change).await
    }

    /// Lists the trusted certificates of a set, inherited ones included: `builtin`, `server`,
    /// `cluster` or `domain:NAME`.
    pub async fn trusted(&self, set: &str) -> Result<List<trust::Trusted>, Failure> {
        self.read(&with_name(path::TRUST, set)).await
    }

    /// Lists the trusted certificates of a set, without inherited ones.
    pub async fn own_trusted(&self, set: &str) -> Result<List<trust::Trusted>, Failure> {
        self.read_own(&with_name(path::TRUST, set)).await
    }

    /// Adds certificates to a set.
    pub async fn add_trusted(
        &self,
        set: &str,
        add: &trust::Add,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.for_set(set)?.change(Method::POST, &with_name(path::TRUST, set), add, change).await
    }

    /// Removes certificates from a set.
    pub async fn remove_trusted(
        &self,
        set: &str,
        remove: &trust::Remove,
        change: &Change,
    ) -> Result<Changed, Failure> {
        let path = with_name(path::TRUST_REMOVE, set);
        self.for_set(set)?.change(Method::POST, &path, remove, change).await
    }

    /// Refuses several addresses for a change of the set that each node has for itself.
    fn for_set(&self, set: &str) -> Result<&Client, Failure> {
        if set == "server" { self.for_one_node() } else { Ok(self) }
    }

    /// Tests the domain's key on every node.
    pub async fn test_key(&self, name: &str) -> Result<List<key::Test>, Failure> {
        self.read(&with_name(path::KEY_TEST, name)).await
    }

    /// Lists the possible common names of a domain.
    pub async fn common_names(&self, name: &str) -> Result<csr::Choices, Failure> {
        self.read(&with_name(path::CSR, name)).await
    }

    /// Creates a signing request.
    pub async fn create_csr(
        &self,
        name: &str,
        fields: &certificate::SelfSign,
    ) -> Result<csr::Csr, Failure> {
        self.change(Method::POST, &with_name(path::CSR, name), fields, &Change::default()).await
    }

    /// Refreshes a self-signed certificate.
    pub async fn refresh_certificate(
        &self,
        name: &str,
        refresh: &certificate::Refresh,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::CERTIFICATE_REFRESH, name), refresh, change)
            .await
    }

    /// Renames a domain.
    pub async fn rename_domain(
        &self,
        name: &str,
        rename: &domain::Rename,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::DOMAIN_RENAME, name), rename, change).await
    }

    /// Lists the versions of a domain, the current one first.
    pub async fn domain_history(&self, name: &str) -> Result<List<domain::DomainVersion>, Failure> {
        self.read(&with_name(path::DOMAIN_HISTORY, name)).await
    }

    /// Restores an earlier version of a domain.
    pub async fn rollback_domain(
        &self,
        name: &str,
        rollback: &domain::Rollback,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::DOMAIN_HISTORY, name), rollback, change).await
    }
}
