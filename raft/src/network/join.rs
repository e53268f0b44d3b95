//! Client side of a join: the cluster authenticates itself before the request is sent.

use std::{net::SocketAddr, time::Duration};

use conclave_tls::{issued_by, ring_provider};
use rustls::{
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    version::TLS13,
};
use serde_bytes::ByteBuf;
use tokio::time::Instant;

use super::{
    JoinError, frame,
    identity::{self, ALPN_JOIN, EXPORTER_JOIN},
    transport::{Close, Receiver, Sender},
};
use crate::{limits::JOIN_PAUSE, wire::CallV1};

/// Settings of a join.
#[derive(Clone)]
pub struct JoinOptions {
    /// SHA-256 fingerprint of the cluster's authority.
    pub authority: [u8; 32],
    /// Certificate of this node's identity key, signed by that key itself, DER.
    pub certificate_der: Vec<u8>,
    /// This node's identity key, PKCS#8 DER.
    pub private_key_der: Vec<u8>,
    /// Longest time for all of it.
    pub timeout: Duration,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The answer, opaque to this crate.
    pub answer: Vec<u8>,
    /// The member's address.
    pub address: SocketAddr,
    /// The member's public key, proved by TLS (SubjectPublicKeyInfo, DER).
    pub public_key_der: Vec<u8>,
}

/// Connects to a member at one of `addresses`, and checks that the authority issued its
/// certificate. Only then sends the request that `build` makes from the TLS exporter, and returns
/// the answer. Tries the next address if no member answers at one.
pub async fn join_call(
    addresses: &[SocketAddr],
    options: &JoinOptions,
    build: impl Fn([u8; 32]) -> Vec<u8> + Send + Sync,
) -> Result<Joined, JoinError> {
    let deadline = Instant::now() + options.timeout;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut failure = JoinError::NoAddress;
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match join_at(*address, options, &build, share).await {
            Ok(joined) => return Ok(joined),
            Err(error @ JoinError::Lost { .. }) => return Err(error),
            // That another cluster answers tells more than that nobody does.
            Err(_) if matches!(failure, JoinError::OtherCluster { .. }) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn join_at(
    address: SocketAddr,
    options: &JoinOptions,
    build: &(impl Fn([u8; 32]) -> Vec<u8> + Send + Sync),
    patience: Duration,
) -> Result<Joined, JoinError> {
    let unreachable = |reason: String| JoinError::Unreachable { address, reason };
    let config = client(options).map_err(|error| unreachable(error.to_string()))?;
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    let endpoint = quinn::Endpoint::client(any).map_err(|error| unreachable(error.to_string()))?;
    let asking = async {
        loop {
            let connecting = endpoint
                .connect_with(config.clone(), address, "join.conclave.internal")
                .map_err(|error| unreachable(error.to_string()))?;
            let connection = connecting.await.map_err(|error| connect_error(address, &error))?;
            let answer = ask(&connection, address, build).await;
            if identity::closed_by_peer(&connection) != Some(Close::Busy) {
                return answer;
            }
            tokio::time::sleep(JOIN_PAUSE).await;
        }
    };
    let answer = tokio::time::timeout(patience, asking).await;
    endpoint.close(0u32.into(), b"done");
    answer.unwrap_or_else(|_| Err(unreachable(format!("no answer within {patience:?}"))))
}

fn client(options: &JoinOptions) -> Result<quinn::ClientConfig, identity::SetupError> {
    let certificate = CertificateDer::from(options.certificate_der.clone());
    let key = PrivatePkcs8KeyDer::from(options.private_key_der.clone());
    let mut tls = rustls::ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(issued_by(ring_provider(), options.authority))
        .with_client_auth_cert(vec![certificate], key.into())?;
    tls.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    identity::client(tls)
}

async fn ask(
    connection: &quinn::Connection,
    address: SocketAddr,
    build: &(impl Fn([u8; 32]) -> Vec<u8> + Send + Sync),
) -> Result<Joined, JoinError> {
    let lost = |reason: String| JoinError::Lost { address, reason };
    let exporter = identity::exporter(connection, EXPORTER_JOIN)
        .ok_or_else(|| lost("no TLS exporter".to_owned()))?;
    let public_key_der = identity::peer_chain(connection)
        .first()
        .and_then(|leaf| identity::public_key(leaf).ok())
        .ok_or_else(|| lost("the member shows no certificate".to_owned()))?;
    let (send, receive) = connection.open_bi().await.map_err(|error| lost(error.to_string()))?;
    let (mut send, mut receive): (Sender, Receiver) = (Box::new(send), Box::new(receive));
    let request = CallV1(ByteBuf::from(build(exporter)));
    frame::send(&mut send, &request).await.map_err(|error| lost(error.to_string()))?;
    let answer: CallV1 =
        frame::receive_one(&mut receive).await.map_err(|error| lost(error.to_string()))?;
    Ok(Joined { answer: answer.0.into_vec(), address, public_key_der })
}

fn connect_error(address: SocketAddr, error: &quinn::ConnectionError) -> JoinError {
    if identity::is_refused_by_tls(error) {
        JoinError::OtherCluster { address }
    } else {
        JoinError::Unreachable { address, reason: error.to_string() }
    }
}
