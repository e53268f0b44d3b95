//! The TLS settings of the cluster, translated for rustls.

use std::sync::Arc;

use conclave_store::record::{TlsLogLevel, TlsSettings, TlsVersion};
use conclave_tls::{cipher_name, group_name, provider};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{NoClientAuth, NoServerSessionStorage, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::CertifiedKeys;

/// Local restrictions on top of the cluster's settings.
#[derive(Debug, Clone)]
pub struct NodeLimits {
    /// Oldest version accepted by this node.
    pub version_min: TlsVersion,
    /// Allowed cipher suites, by their IANA names. If empty, the cluster's settings alone decide.
    pub cipher_suites: Vec<String>,
}

/// TLS policy, the same for all domains.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) settings: TlsSettings,
    limits: NodeLimits,
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// Template for connections: copying it is cheap, building it allocates some kilobytes.
    config: Result<ServerConfig, rustls::Error>,
}

impl Policy {
    /// Returns a policy with default settings.
    pub(crate) fn new(limits: NodeLimits) -> Policy {
        Policy::make(limits, TlsSettings::default())
    }

    /// Returns the policy of the same node under other settings.
    pub(crate) fn with(&self, settings: TlsSettings) -> Policy {
        Policy::make(self.limits.clone(), settings)
    }

    /// Returns the policy of the same settings under other rules of the node.
    pub(crate) fn limited(&self, limits: NodeLimits) -> Policy {
        Policy::make(limits, self.settings.clone())
    }

    /// Returns the rules of the node.
    pub(crate) fn limits(&self) -> &NodeLimits {
        &self.limits
    }

    fn make(limits: NodeLimits, settings: TlsSettings) -> Policy {
        let oldest = settings.version_min.max(limits.version_min);
        let versions = match oldest {
            TlsVersion::V1_2 => vec![&TLS13, &TLS12],
            TlsVersion::V1_3 => vec![&TLS13],
        };
        let provider = provider();
        let is_free = settings.cipher_suites.is_empty()
            && settings.groups.is_empty()
            && limits.cipher_suites.is_empty();
        let provider = match is_free {
            true => provider,
            false => Arc::new(restricted(&provider, &settings, &limits)),
        };
        let config = base(&provider, &versions, Arc::new(NoClientAuth));
        Policy { settings, limits, provider, versions, config }
    }

    /// Returns settings for connections, with a client-certificate verifier if one is given.
    /// [`super::config`] sets everything else that differs.
    pub(super) fn config(
        &self,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig, rustls::Error> {
        match verifier {
            Some(verifier) => base(&self.provider, &self.versions, verifier),
            None => self.config.clone(),
        }
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    pub(crate) fn versions(&self) -> &[&'static SupportedProtocolVersion] {
        &self.versions
    }

    /// Returns whether TLS 1.2, and with it DTLS 1.2, is allowed.
    pub(crate) fn allows_version_1_2(&self) -> bool {
        self.versions.contains(&&TLS12)
    }

    /// Returns the IANA names of the cipher suites, most preferred first.
    pub(crate) fn cipher_suites(&self) -> Vec<String> {
        self.provider.cipher_suites.iter().map(|suite| cipher_name(suite.suite())).collect()
    }

    /// Returns the IANA names of the groups, most preferred first.
    pub(crate) fn groups(&self) -> Vec<String> {
        self.provider.kx_groups.iter().map(|group| group_name(group.name())).collect()
    }

    /// Returns whether the cluster's TLS log level includes `level`.
    pub(crate) fn logs(&self, level: TlsLogLevel) -> bool {
        self.settings.log_level >= level
    }
}

/// Builds base settings. Sessions resume by tickets only, never from memory. Early data is off,
/// because it can be replayed (RFC 8446 §8).
fn base(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(versions)?.with_client_cert_verifier(verifier);
    let mut config = builder.with_cert_resolver(CertifiedKeys::new(Vec::new()));
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// Restricts the provider to the named algorithms, in their order. A list with only unknown names
/// leaves nothing, and handshakes fail. Falling back to other algorithms would be weaker than the
/// settings.
fn restricted(
    provider: &CryptoProvider,
    settings: &TlsSettings,
    limits: &NodeLimits,
) -> CryptoProvider {
    let mut restricted = provider.clone();
    if !settings.cipher_suites.is_empty() {
        let find = |name: &String| {
            let mut all = provider.cipher_suites.iter();
            all.find(|suite| cipher_name(suite.suite()) == *name).copied()
        };
        restricted.cipher_suites = settings.cipher_suites.iter().filter_map(find).collect();
    }
    if !limits.cipher_suites.is_empty() {
        let is_allowed = |name: String| limits.cipher_suites.contains(&name);
        restricted.cipher_suites.retain(|suite| is_allowed(cipher_name(suite.suite())));
    }
    if !settings.groups.is_empty() {
        let find = |name: &String| {
            let mut all = provider.kx_groups.iter();
            all.find(|group| group_name(group.name()).eq_ignore_ascii_case(name)).copied()
        };
        restricted.kx_groups = settings.groups.iter().filter_map(find).collect();
    }
    restricted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(version_min: TlsVersion) -> NodeLimits {
        NodeLimits { version_min, cipher_suites: Vec::new() }
    }

    #[test]
    fn names_choose_suites_and_groups_in_their_order() {
        let suites = ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256", "TLS_NULL"];
        let groups = ["secp256r1", "X25519MLKEM768"];
        let policy = Policy::new(node(TlsVersion::V1_2)).with(TlsSettings {
            cipher_suites: suites.map(str::to_owned).to_vec(),
            groups: groups.map(str::to_owned).to_vec(),
            ..TlsSettings::default()
        });
        let found: Vec<_> =
            policy.provider.cipher_suites.iter().map(|one| cipher_name(one.suite())).collect();
        assert_eq!(found, suites[..2]);
        let found: Vec<_> =
            policy.provider.kx_groups.iter().map(|one| group_name(one.name())).collect();
        assert_eq!(found, groups);
    }

    #[test]
    fn a_node_may_be_stricter_than_its_cluster_but_not_weaker() {
        let check = |own, cluster, expected: usize| {
            let settings = TlsSettings { version_min: cluster, ..TlsSettings::default() };
            assert_eq!(Policy::new(node(own)).with(settings).versions.len(), expected);
        };
        check(TlsVersion::V1_2, TlsVersion::V1_2, 2);
        check(TlsVersion::V1_3, TlsVersion::V1_2, 1);
        check(TlsVersion::V1_2, TlsVersion::V1_3, 1);
        let suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"].map(str::to_owned);
        let own = NodeLimits { cipher_suites: suites[..1].to_vec(), ..node(TlsVersion::V1_2) };
        let settings = TlsSettings { cipher_suites: suites.to_vec(), ..TlsSettings::default() };
        let policy = Policy::new(own).with(settings);
        assert_eq!(policy.provider.cipher_suites.len(), 1, "what both allow");
    }
}
