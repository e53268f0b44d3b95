//! A real handshake with a node, and what it shows.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, Stream,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

const TIMEOUT: Duration = Duration::from_secs(5);

/// What a node showed and sent.
pub(super) struct Shown {
    /// Certificates, the domain's first, DER.
    pub(super) chain: Vec<Vec<u8>>,
    /// What came back from the upstream.
    pub(super) answer: String,
}

/// Connects, shakes hands for `name`, asks the upstream for a page. Blocks.
pub(super) fn probe(address: SocketAddr, name: &str) -> Result<Shown, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ShowOnly(provider)))
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.to_owned()).map_err(|error| text(&error))?;
    let mut connection =
        ClientConnection::new(Arc::new(config), server_name).map_err(|error| text(&error))?;
    let mut tcp = TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| text(&error))?;
    tcp.set_read_timeout(Some(TIMEOUT)).map_err(|error| text(&error))?;
    let mut stream = Stream::new(&mut connection, &mut tcp);
    let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| text(&error))?;
    let mut answer = String::new();
    // The upstream closes when it has answered; what came until then counts.
    let _ = stream.read_to_string(&mut answer);
    let chain = connection.peer_certificates().unwrap_or_default();
    Ok(Shown { chain: chain.iter().map(|der| der.to_vec()).collect(), answer })
}

/// The demo compares certificates byte by byte, so trust is not asked for; signatures are.
#[derive(Debug)]
struct ShowOnly(Arc<CryptoProvider>);

impl ServerCertVerifier for ShowOnly {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
