//! TLS handshake with a node.

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use conclave_tls::{any_certificate, ring_provider};
use ring::digest::{SHA256, digest};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Performs a handshake for `name` and returns the SHA-256, in hex, of the certificate presented by
/// the node.
pub(crate) fn shown(address: SocketAddr, name: &str) -> anyhow::Result<String> {
    let config = ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(any_certificate(ring_provider()))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned())?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    let mut tcp = TcpStream::connect_timeout(&address, TIMEOUT)?;
    tcp.set_read_timeout(Some(TIMEOUT))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    let certificates = connection.peer_certificates().unwrap_or_default();
    let first = certificates.first().context("no certificate was shown")?;
    let sha256 = digest(&SHA256, first);
    Ok(sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
