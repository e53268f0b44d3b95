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

/// The one certificate that was chosen for a connection.
#[derive(Debug)]
struct Chosen(Arc<CertifiedKey>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Settings for a connection that shows `key`. No session outlives its connection: a ticket
/// must never open another domain.
pub(crate) fn config(key: Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Chosen(key)));
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
