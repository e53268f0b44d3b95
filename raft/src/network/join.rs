//! Client side of a join: the cluster authenticates itself before the request is sent.

use std::{net::SocketAddr, time::Duration};

use conclave_tls::{issued_by, ring_provider};
use rustls::version::TLS13;
use serde_bytes::ByteBuf;

use super::{
    JoinError, frame,
    identity::{self, ALPN_JOIN, EXPORTER_JOIN},
    transport::{Connection, Urgency},
};
use crate::wire::CallV1;

/// Connects to the member at `address` and checks that the authority with this SHA-256 fingerprint
/// issued its certificate. Only then sends the request that `build` makes from the TLS exporter,
/// and returns the answer.
pub async fn join_call(
    address: SocketAddr,
    authority_fingerprint: [u8; 32],
    build: impl FnOnce([u8; 32]) -> Vec<u8> + Send,
    timeout: Duration,
) -> Result<Vec<u8>, JoinError> {
    let unreachable = |reason: String| JoinError::Unreachable { address, reason };
    let verifier = issued_by(ring_provider(), authority_fingerprint);
    let mut tls = rustls::ClientConfig::builder_with_provider(ring_provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unreachable(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    let config = identity::client(tls).map_err(|error| unreachable(error.to_string()))?;
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    let endpoint = quinn::Endpoint::client(any).map_err(|error| unreachable(error.to_string()))?;
    let connecting = endpoint
        .connect_with(config, address, "join.conclave.internal")
        .map_err(|error| unreachable(error.to_string()))?;
    let answer = async {
        let connection = connecting.await.map_err(|error| connect_error(address, &error))?;
        ask(&connection, address, build).await
    };
    let answer = tokio::time::timeout(timeout, answer).await;
    endpoint.close(0u32.into(), b"done");
    answer.unwrap_or_else(|_| Err(unreachable(format!("no answer within {timeout:?}"))))
}

async fn ask(
    connection: &quinn::Connection,
    address: SocketAddr,
    build: impl FnOnce([u8; 32]) -> Vec<u8>,
) -> Result<Vec<u8>, JoinError> {
    let lost = |reason: String| JoinError::Lost { address, reason };
    let exporter = identity::exporter(connection, EXPORTER_JOIN)
        .ok_or_else(|| lost("no TLS exporter".to_owned()))?;
    let mut stream = Connection::open(connection, Urgency::Bulk)
        .await
        .map_err(|error| lost(error.to_string()))?;
    let request = CallV1(ByteBuf::from(build(exporter)));
    frame::send(&mut stream.send, &request).await.map_err(|error| lost(error.to_string()))?;
    let answer: CallV1 =
        frame::receive_one(&mut stream.receive).await.map_err(|error| lost(error.to_string()))?;
    Ok(answer.0.into_vec())
}

fn connect_error(address: SocketAddr, error: &quinn::ConnectionError) -> JoinError {
    if identity::is_refused_by_tls(error) {
        JoinError::OtherCluster { address }
    } else {
        JoinError::Unreachable { address, reason: error.to_string() }
    }
}
