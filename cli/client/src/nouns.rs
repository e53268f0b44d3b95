//! The requests, noun by noun.

use conclave_api::{
    certificate, chain,
    change::{Change as Changed, List},
    client_auth, cluster, csr, domain, join_token, key, keyring, listener, node, path,
    path::with_name,
    status, tls, token, trust,
};
use reqwest::Method;

use crate::{Change, Client, Failure};

/// No body.
#[derive(serde::Serialize)]
struct Nothing {}

impl Client {
    /// How the cluster is.
    pub async fn status(&self) -> Result<status::Status, Failure> {
        self.read(path::STATUS).await
    }

    /// Members.
    pub async fn nodes(&self) -> Result<List<node::Node>, Failure> {
        self.read(path::NODES).await
    }

    /// How far a node's drain is.
    pub async fn drained(&self, name: &str) -> Result<node::Drained, Failure> {
        self.read(&with_name(path::NODE_DRAIN, name)).await
    }

    /// Has a node take no new connections.
    pub async fn drain(&self, name: &str, drain: &node::Drain) -> Result<node::Drained, Failure> {
        let path = with_name(path::NODE_DRAIN, name);
        self.change(Method::POST, &path, drain, &Change::default()).await
    }

    /// Has a node serve again.
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

    /// Makes a join token.
    pub async fn create_join_token(
        &self,
        create: &join_token::Create,
        change: &Change,
    ) -> Result<join_token::JoinToken, Failure> {
        self.change(Method::POST, path::JOIN_TOKENS, create, change).await
    }

    /// Makes an access token.
    pub async fn create_token(
        &self,
        create: &token::Create,
        change: &Change,
    ) -> Result<token::NewToken, Failure> {
        self.change(Method::POST, path::TOKENS, create, change).await
    }

    /// Access tokens.
    pub async fn tokens(&self) -> Result<List<token::Token>, Failure> {
        self.read(path::TOKENS).await
    }

    /// Ends an access token.
    pub async fn revoke_token(&self, id: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::TOKEN, id), &Nothing {}, change).await
    }

    /// The keyring.
    pub async fn keyring(&self) -> Result<keyring::Keyring, Failure> {
        self.read(path::KEYRING).await
    }

    /// A new generation of the keyring.
    pub async fn rotate_keyring(&self, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::POST, path::KEYRING_ROTATE, &Nothing {}, change).await
    }

    /// Domains, all pages.
    pub async fn domains(&self) -> Result<List<domain::Domain>, Failure> {
        let mut all: List<domain::Domain> = self.read(path::DOMAINS).await?;
        while let Some(after) = all.next.take() {
            let page: List<domain::Domain> = self.read_after(path::DOMAINS, &after).await?;
            all.items.extend(page.items);
            all.next = page.next;
        }
        Ok(all)
    }

    /// A domain.
    pub async fn domain(&self, name: &str) -> Result<domain::Domain, Failure> {
        self.read(&with_name(path::DOMAIN, name)).await
    }

    /// Makes a domain.
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

    /// What may be known of a domain's key.
    pub async fn key(&self, name: &str) -> Result<key::Key, Failure> {
        self.read(&with_name(path::KEY, name)).await
    }

    /// Makes a key.
    pub async fn generate_key(
        &self,
        name: &str,
        generate: &key::Generate,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::KEY_GENERATE, name), generate, change).await
    }

    /// Brings a key.
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

    /// A domain's certificate.
    pub async fn certificate(&self, name: &str) -> Result<certificate::Certificate, Failure> {
        self.read(&with_name(path::CERTIFICATE, name)).await
    }

    /// Brings a certificate.
    pub async fn import_certificate(
        &self,
        name: &str,
        import: &certificate::Import,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::CERTIFICATE, name), import, change).await
    }

    /// Makes a self-signed certificate.
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

    /// A domain's CA chain.
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

    /// Listeners.
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

    /// Removes a listener.
    pub async fn remove_listener(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::LISTENER, name), &Nothing {}, change).await
    }

    /// Whether clients of a domain are asked for a certificate.
    pub async fn client_auth(&self, name: &str) -> Result<client_auth::Shown, Failure> {
        self.read(&with_name(path::CLIENT_AUTH, name)).await
    }

    /// Asks clients of a domain for a certificate.
    pub async fn set_client_auth(
        &self,
        name: &str,
        set: &client_auth::Set,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::PUT, &with_name(path::CLIENT_AUTH, name), set, change).await
    }

    /// Asks clients of a domain for no certificate any more.
    pub async fn clear_client_auth(&self, name: &str, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::DELETE, &with_name(path::CLIENT_AUTH, name), &Nothing {}, change).await
    }

    /// TLS settings of the cluster.
    pub async fn tls(&self) -> Result<tls::Settings, Failure> {
        self.read(path::TLS).await
    }

    /// Changes TLS settings.
    pub async fn set_tls(&self, set: &tls::Set, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::PATCH, path::TLS, set, change).await
    }

    /// Which domain a client of this name at this address is served.
    pub async fn tls_served(
        &self,
        name: Option<&str>,
        ip: std::net::IpAddr,
    ) -> Result<tls::Served, Failure> {
        let path = path::TLS_SERVED.replace("{name}", name.unwrap_or("-"));
        self.read(&path.replace("{ip}", &ip.to_string())).await
    }

    /// What is known of sessions.
    pub async fn tls_sessions(&self) -> Result<tls::Sessions, Failure> {
        self.read(path::TLS_SESSIONS).await
    }

    /// Ends all sessions.
    pub async fn flush_sessions(&self, change: &Change) -> Result<Changed, Failure> {
        self.change(Method::POST, path::TLS_FLUSH, &Nothing {}, change).await
    }

    /// Trusted certificates of a set, inherited ones too: `builtin`, `server`, `cluster` or
    /// `domain:NAME`.
    pub async fn trusted(&self, set: &str) -> Result<List<trust::Trusted>, Failure> {
        self.read(&with_name(path::TRUST, set)).await
    }

    /// Adds certificates to a set.
    pub async fn add_trusted(
        &self,
        set: &str,
        add: &trust::Add,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::TRUST, set), add, change).await
    }

    /// Removes certificates from a set.
    pub async fn remove_trusted(
        &self,
        set: &str,
        remove: &trust::Remove,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::TRUST_REMOVE, set), remove, change).await
    }

    /// Tests the domain's key on every node.
    pub async fn test_key(&self, name: &str) -> Result<List<key::Test>, Failure> {
        self.read(&with_name(path::KEY_TEST, name)).await
    }

    /// Names that a domain can have as common name.
    pub async fn common_names(&self, name: &str) -> Result<csr::Choices, Failure> {
        self.read(&with_name(path::CSR, name)).await
    }

    /// Makes a signing request.
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

    /// Gives a domain another name.
    pub async fn rename_domain(
        &self,
        name: &str,
        rename: &domain::Rename,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::DOMAIN_RENAME, name), rename, change).await
    }

    /// Versions of a domain, the present one first.
    pub async fn domain_history(&self, name: &str) -> Result<List<domain::DomainVersion>, Failure> {
        self.read(&with_name(path::DOMAIN_HISTORY, name)).await
    }

    /// Makes an earlier version of a domain the present one.
    pub async fn rollback_domain(
        &self,
        name: &str,
        rollback: &domain::Rollback,
        change: &Change,
    ) -> Result<Changed, Failure> {
        self.change(Method::POST, &with_name(path::DOMAIN_HISTORY, name), rollback, change).await
    }
}
