//! TLS as this node speaks it.

use std::sync::{Arc, OnceLock};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

/// ring's algorithms; one instance for the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// Cipher suites of [`provider`] by their IANA names, in its order.
pub(crate) const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Key exchange groups by their IANA names, in the order in which they are wanted.
pub(crate) const GROUPS: [&str; 4] = ["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"];

/// What a domain can show: a certificate for each family of keys that it has, the one that is
/// wanted first.
#[derive(Debug)]
pub(crate) struct CertifiedKeys(Vec<Arc<CertifiedKey>>);

impl CertifiedKeys {
    pub(crate) fn new(keys: Vec<Arc<CertifiedKey>>) -> Arc<CertifiedKeys> {
        Arc::new(CertifiedKeys(keys))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        self.0.iter()
    }
}

impl ResolvesServerCert for CertifiedKeys {
    /// The first whose signatures the client can verify (A19). In TLS 1.2 the cipher suites have
    /// a say as well; rustls has taken out of the hello what they exclude. A client that can
    /// verify none of them learns so from its handshake with the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}

/// Settings for a connection that shows one of `keys`. No session outlives its connection: a
/// ticket must never open another domain.
pub(crate) fn config(keys: Arc<CertifiedKeys>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(keys);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Alerts that are sent before rustls has a part in the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alert {
    /// The domain may not be used so: RFC 8446 §6.2.
    AccessDenied,
    /// This node cannot do what it should: RFC 8446 §6.2.
    InternalError,
    /// No domain has this name: RFC 6066 §3.
    UnrecognizedName,
}

impl Alert {
    /// The alert as a fatal, unprotected record (RFC 8446 §5.1 and §6).
    pub(crate) fn record(self) -> [u8; 7] {
        let description = match self {
            Alert::AccessDenied => 49,
            Alert::InternalError => 80,
            Alert::UnrecognizedName => 112,
        };
        [21, 3, 3, 0, 2, 2, description]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cipher_suites_are_those_of_the_provider() {
        // rustls says TLS13_ where the registry says TLS_.
        let name = |suite: &rustls::SupportedCipherSuite| {
            format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
        };
        let names: Vec<String> = provider().cipher_suites.iter().map(name).collect();
        assert_eq!(names, CIPHER_SUITES);
    }
}
