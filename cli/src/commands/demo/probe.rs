//! Real handshakes with a node.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use conclave_tls::{any_certificate, provider};
use rustls::{ClientConfig, ClientConnection, Stream, pki_types::ServerName, version::TLS13};

use super::super::tls::datagrams;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Result of a handshake.
pub(super) struct Shown {
    /// Certificates, the domain's first, DER.
    pub(super) chain: Vec<Vec<u8>>,
    /// Answer of the upstream.
    pub(super) answer: String,
}

/// Connects with TLS 1.3 for `name` and requests a page from the upstream. Blocks.
pub(super) fn probe(address: SocketAddr, name: &str) -> Result<Shown, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // The demo compares certificates byte by byte, so trust is not checked; signatures are.
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(any_certificate(provider()))
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.to_owned()).map_err(|error| text(&error))?;
    let mut connection =
        ClientConnection::new(Arc::new(config), server_name).map_err(|error| text(&error))?;
    let mut tcp = TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| text(&error))?;
    tcp.set_read_timeout(Some(TIMEOUT)).map_err(|error| text(&error))?;
    // Otherwise the request waits for the acknowledgement of the handshake's last bytes.
    tcp.set_nodelay(true).map_err(|error| text(&error))?;
    let mut stream = Stream::new(&mut connection, &mut tcp);
    let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| text(&error))?;
    let mut answer = String::new();
    // The upstream closes after its answer. What was read before an error is enough.
    let _ = stream.read_to_string(&mut answer);
    let chain = connection.peer_certificates().unwrap_or_default();
    Ok(Shown { chain: chain.iter().map(|der| der.to_vec()).collect(), answer })
}

/// Returns the chain shown by a node for `name` over DTLS. Blocks.
pub(super) fn probe_datagrams(address: SocketAddr, name: &str) -> Result<Vec<Vec<u8>>, String> {
    let shaken = datagrams::shake(address, Some(name), TIMEOUT).map_err(|error| error.to_string());
    shaken.map(|shaken| shaken.facts.peer_chain)
}
