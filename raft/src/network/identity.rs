//! TLS between nodes: accepted keys and certificates, and the QUIC settings.

use std::{net::SocketAddr, sync::Arc};

use conclave_tls::{AnyClientWithKey, ServerVerifier, issued_by, ring_provider};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, Error,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::TLS13,
};

use super::{Identity, Peers, transport::Close};
use crate::{
    limits::{
        IDLE_TIMEOUT, INCOMING_BYTES_MAX, INCOMING_MAX, KEEP_ALIVE, STRANGER_STREAMS_MAX,
        STRANGER_WINDOW_BYTES,
    },
    types::NodeId,
};

/// ALPN protocol between members.
pub(crate) const ALPN_MEMBER: &[u8] = b"conclave-member/1";
/// ALPN protocol of a joining node.
pub(crate) const ALPN_JOIN: &[u8] = b"conclave-join/1";
/// Label of the TLS exporter that binds a member's proofs to its connection (RFC 8446 §7.5).
pub(crate) const EXPORTER_MEMBER: &[u8] = b"EXPORTER-conclave-member";
/// Label of the TLS exporter that binds a join to its connection (RFC 8446 §7.5).
pub(crate) const EXPORTER_JOIN: &[u8] = b"EXPORTER-conclave-join";

/// Error setting up the network.
pub(crate) type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the public key of a certificate (SubjectPublicKeyInfo, DER).
pub(crate) fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(parsed.subject_public_key_info().as_ref().to_vec())
}

/// Returns the certificates that the peer has shown, its own first.
pub(crate) fn peer_chain(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let shown = connection.peer_identity();
    let chain = shown.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    chain.map(|chain| *chain).unwrap_or_default()
}

/// Returns whether a trusted authority of this node's cluster issued the first certificate of a
/// chain.
pub(crate) fn is_of_cluster(chain: &[CertificateDer<'_>], identity: &Identity) -> bool {
    let mut trusted = identity.earlier_der.iter().chain([&identity.authority_der]);
    trusted.any(|authority_der| is_issued_by(chain, authority_der))
}

/// Returns whether an authority issued the first certificate of a chain. An expired one counts.
fn is_issued_by(chain: &[CertificateDer<'_>], authority_der: &[u8]) -> bool {
    use CertificateError::{Expired, ExpiredContext};
    let Some((leaf, rest)) = chain.split_first() else { return false };
    let Ok(name) = ServerName::try_from("member.conclave.internal") else { return false };
    let mut fingerprint = [0; 32];
    let digest = ring::digest::digest(&ring::digest::SHA256, authority_der);
    fingerprint.copy_from_slice(digest.as_ref());
    let verifier = issued_by(ring_provider(), fingerprint);
    let verified = verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::now());
    match verified {
        Ok(_) | Err(Error::InvalidCertificate(Expired | ExpiredContext { .. })) => true,
        Err(_) => false,
    }
}

/// Returns the reason for which the peer has closed a connection.
pub(crate) fn closed_by_peer(connection: &quinn::Connection) -> Option<Close> {
    match connection.close_reason()? {
        quinn::ConnectionError::ApplicationClosed(close) => {
            Close::of(close.error_code.into_inner())
        }
        _ => None,
    }
}

/// Returns keying material of this TLS connection; both ends get the same.
pub(crate) fn exporter(connection: &quinn::Connection, label: &[u8]) -> Option<[u8; 32]> {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, label, b"").ok()?;
    Some(exporter)
}

/// Returns whether TLS ended the handshake, which means that another party answered than the one
/// dialled.
pub(crate) fn is_refused_by_tls(error: &quinn::ConnectionError) -> bool {
    // RFC 9001 §4.8: TLS alerts are errors 0x100 to 0x1ff.
    matches!(error, quinn::ConnectionError::TransportError(transport)
        if (0x100..0x200).contains(&u64::from(transport.code)))
}

/// Opens the socket as an endpoint for members and joining nodes.
pub(crate) fn endpoint(
    bind: SocketAddr,
    identity: &Identity,
) -> Result<quinn::Endpoint, SetupError> {
    Ok(quinn::Endpoint::server(server(identity)?, bind)?)
}

/// Returns the settings for incoming connections.
pub(crate) fn server(identity: &Identity) -> Result<quinn::ServerConfig, SetupError> {
    let mut tls = rustls::ServerConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyClientWithKey(ring_provider())))
        .with_single_cert(certificates(identity), private_key(identity))?;
    tls.alpn_protocols = vec![ALPN_MEMBER.to_vec(), ALPN_JOIN.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    // The peer has proved nothing when it gets these limits. A member gets more after its proof.
    let mut stranger = transport()?;
    stranger
        .receive_window(STRANGER_WINDOW_BYTES.into())
        .max_concurrent_bidi_streams(STRANGER_STREAMS_MAX.into());
    config
        .transport_config(Arc::new(stranger))
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(STRANGER_WINDOW_BYTES.into())
        .incoming_buffer_size_total(INCOMING_BYTES_MAX);
    Ok(config)
}

/// Returns the settings for dialling the member `target`.
pub(crate) fn member_client(
    identity: &Identity,
    peers: Arc<dyn Peers>,
    target: NodeId,
) -> Result<quinn::ClientConfig, SetupError> {
    // Accept only the key pinned for the dialled node.
    let verifier = ServerVerifier::new(ring_provider(), move |end_entity, _, _, _| {
        match peers.identify(&public_key(end_entity)?) == Some(target) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    });
    let mut tls = rustls::ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(certificates(identity), private_key(identity))?;
    tls.alpn_protocols = vec![ALPN_MEMBER.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    client(tls)
}

/// Adds the QUIC settings to a client's TLS settings.
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
        // A peer opens no streams on a connection that this node has dialled.
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(0u32.into())
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

fn certificates(identity: &Identity) -> Vec<CertificateDer<'static>> {
    let own = [&identity.certificate_der, &identity.authority_der];
    let all = own.into_iter().chain(&identity.earlier_der);
    all.map(|der| CertificateDer::from(der.clone())).collect()
}

fn private_key(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(identity.private_key_der.clone()).into()
}
