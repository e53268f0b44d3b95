//! Handshakes with a node, and an upstream behind it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use conclave_tls::{any_certificate, ring_provider};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, StreamOwned, SupportedProtocolVersion,
    pki_types::ServerName,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What a node showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Certificates, the domain's first, DER.
    pub chain: Vec<Vec<u8>>,
}

/// Why there was no handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The node sent this alert.
    Alert(AlertDescription),
    /// Anything else.
    Other(String),
}

/// A client that looks at any certificate, and still checks that the node has its key.
pub fn client_config(
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(any_certificate(ring_provider()))
        .with_no_client_auth())
}

/// A handshake, and the open connection after it.
pub fn probe_stream(
    address: SocketAddr,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<(Shown, StreamOwned<ClientConnection, TcpStream>), Refused> {
    let other = |error: &dyn std::fmt::Display| Refused::Other(error.to_string());
    let mut config = client_config(versions).map_err(|error| other(&error))?;
    config.enable_sni = name != "-";
    let server_name = if name == "-" { "none.invalid" } else { name };
    let server_name =
        ServerName::try_from(server_name.to_owned()).map_err(|error| other(&error))?;
    let connection =
        ClientConnection::new(Arc::new(config), server_name).map_err(|error| other(&error))?;
    let tcp = TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| other(&error))?;
    tcp.set_read_timeout(Some(TIMEOUT)).map_err(|error| other(&error))?;
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            return Err(match alert {
                Some(Error::AlertReceived(alert)) => Refused::Alert(*alert),
                _ => other(&error),
            });
        }
    }
    let chain = stream.conn.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    Ok((Shown { chain }, stream))
}

/// A handshake for `name` (`-`: without a name) by any version.
pub fn probe(address: SocketAddr, name: &str) -> Result<Shown, Refused> {
    probe_stream(address, name, rustls::ALL_VERSIONS).map(|(shown, _)| shown)
}

/// An upstream that sends back what it gets, and ends when its client has ended.
pub fn echo_upstream() -> SocketAddr {
    echo_upstream_at((Ipv4Addr::LOCALHOST, 0).into())
}

/// The same at an address.
pub fn echo_upstream_at(address: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let mut buffer = [0; 16 * 1024];
                while let Ok(length @ 1..) = from.read(&mut buffer) {
                    if to.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
                let _ = to.write_all(b"bye");
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}
