//! TLS among nodes: who may talk to whom.

use std::{net::SocketAddr, sync::Arc};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};

use super::{Identity, Peers};
use crate::{
    limits::{IDLE_TIMEOUT, KEEP_ALIVE, STREAMS_MAX},
    types::NodeId,
};

/// Protocol among members.
pub(crate) const ALPN_MEMBER: &[u8] = b"conclave-member/1";
/// Protocol of a node that wants to join.
pub(crate) const ALPN_JOIN: &[u8] = b"conclave-join/1";

/// Why the network cannot be set up.
pub(crate) type SetupError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The public key of a certificate, DER.
pub(crate) fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(parsed.subject_public_key_info().as_ref().to_vec())
}

/// Whether TLS ended the handshake: what answered was not what was dialled.
pub(crate) fn is_refused_by_tls(error: &quinn::ConnectionError) -> bool {
    // RFC 9001 §4.8: TLS alerts are errors 0x100 to 0x1ff.
    matches!(error, quinn::ConnectionError::TransportError(transport)
        if (0x100..0x200).contains(&u64::from(transport.code)))
}

/// Opens the socket and answers members and joining nodes on it.
pub(crate) fn endpoint(
    bind: SocketAddr,
    identity: &Identity,
) -> Result<quinn::Endpoint, SetupError> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyClient(provider())))
        .with_single_cert(certificates(identity), private_key(identity))?;
    tls.alpn_protocols = vec![ALPN_MEMBER.to_vec(), ALPN_JOIN.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()?)).migration(false);
    Ok(quinn::Endpoint::server(config, bind)?)
}

/// How this node dials the member `target`.
pub(crate) fn member_client(
    identity: &Identity,
    peers: Arc<dyn Peers>,
    target: NodeId,
) -> Result<quinn::ClientConfig, SetupError> {
    let verifier = PinnedMember { peers, target, provider: provider() };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(certificates(identity), private_key(identity))?;
    tls.alpn_protocols = vec![ALPN_MEMBER.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    client(tls)
}

/// QUIC settings around a client's TLS.
pub(crate) fn client(tls: rustls::ClientConfig) -> Result<quinn::ClientConfig, SetupError> {
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()?));
    Ok(config)
}

fn transport() -> Result<quinn::TransportConfig, SetupError> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into()?))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0u32.into());
    Ok(transport)
}

fn certificates(identity: &Identity) -> Vec<CertificateDer<'static>> {
    let der = [&identity.certificate_der, &identity.authority_der];
    der.map(|der| CertificateDer::from(der.clone())).to_vec()
}

fn private_key(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(identity.private_key_der.clone()).into()
}

/// Accepts the server only if its key is the one pinned for the node that was dialled.
struct PinnedMember {
    peers: Arc<dyn Peers>,
    target: NodeId,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for PinnedMember {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PinnedMember({})", self.target)
    }
}

impl ServerCertVerifier for PinnedMember {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.peers.identify(&public_key(end_entity)?) == Some(self.target) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Lets every client prove that it has the key it shows; whose key that is, is looked up when
/// the connection stands. A joining node shows none.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        public_key(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
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
