//! A stolen data directory without its unlock key, with the cluster's port in reach: the thief has
//! the identity key of a member and speaks the protocol of members.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use conclave_store::{
    command::{Action, Command},
    id::{Generation, NodeId, OperationId, TokenId},
    record::{JoinToken, LEVEL_MAX, Principal, Sealed, Stamp},
    time::UnixMillis,
    wire,
};
use conclave_tests::{Cluster, wait_for};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::Value;

/// Lane of requests among members, see `raft/src/network/lane.rs`.
const CALL: u8 = 5;
/// Kind of their messages, see `raft/src/wire.rs`.
const CALL_KIND: u8 = 11;
/// Answers by their first two bytes, format and variant, see `node/cluster/src/replica/call.rs`.
const NOT_LEADER: [u8; 2] = [1, 1];
const INDEX: [u8; 2] = [1, 3];
const NOT_PROVED: [u8; 2] = [1, 18];

fn bytes_of(file: &Path, field: &str) -> Vec<u8> {
    let value: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    serde_json::from_value(value[field].clone()).unwrap()
}

/// Connects to a member as the owner of a data directory.
async fn connect(data_dir: &Path, member: SocketAddr) -> quinn::Connection {
    let key = bytes_of(&data_dir.join("node-keys.json"), "identity_pkcs8");
    let certificate = bytes_of(&data_dir.join("membership.json"), "certificate_der");
    let provider = conclave_tls::ring_provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(conclave_tls::any_certificate(provider))
        .with_client_auth_cert(
            vec![CertificateDer::from(certificate)],
            PrivatePkcs8KeyDer::from(key).into(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"conclave-member/1".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, member, "member.conclave.internal").unwrap().await.unwrap()
}

/// Sends one request of a member and returns the first bytes of the answer.
async fn ask(connection: &quinn::Connection, request: &[u8]) -> Option<[u8; 2]> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    let mut payload = number(request.len());
    payload.extend_from_slice(request);
    let mut message = b"CR\x01".to_vec();
    message.push(CALL_KIND);
    message.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    message.extend(crc32(&payload).to_be_bytes());
    message.extend(&payload);
    let mut frame = vec![CALL];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    send.write_all(&frame).await.ok()?;
    let answer = receive.read_to_end(1024 * 1024).await.ok()?;
    // Length of the frame, header, and length of the payload's only field.
    let text = answer.get(4 + 12..)?;
    let skip = match *text.first()? {
        251 => 3,
        252 => 5,
        _ => 1,
    };
    text.get(skip..skip + 2)?.try_into().ok()
}

/// A length as bincode writes it.
fn number(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 251 => vec![short],
        _ => [vec![251], u16::try_from(length).unwrap().to_le_bytes().to_vec()].concat(),
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// A request to order a command.
fn execute(command: &Command) -> Vec<u8> {
    let command = wire::encode_command(command).unwrap();
    [vec![1, 0], number(command.len()), command, vec![1, 250]].concat()
}

fn join_token(principal: Principal, sealed: Sealed) -> Command {
    let made = Stamp { time: UnixMillis(1), principal: principal.clone(), reason: None };
    let expires = UnixMillis(u64::MAX);
    let token = JoinToken { secret: sealed, expires, used: None, made };
    Command {
        operation: OperationId::parse("thief").unwrap(),
        principal,
        request: [0; 32],
        time: UnixMillis(1),
        reason: None,
        expects: Vec::new(),
        action: Action::CreateJoinToken(TokenId([1; 8]), token),
        origin: None,
    }
}

#[test]
fn it_opens_nothing_and_orders_nothing() {
    let mut cluster = Cluster::start(3);
    wait_for("the level at which members prove what they ask", || {
        let is_raised =
            |node: &conclave_tests::Node| node.status()["cluster"]["level"] == LEVEL_MAX;
        cluster.nodes.iter().any(is_raised).then_some(())
    });
    // The node is alive or dead: only its key counts.
    let stolen = cluster.nodes[2].dir.join("data");
    cluster.nodes[2].kill();
    let leader = cluster.leader();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let asked = async {
        let mut answers = Vec::new();
        for node in [leader, 1 - leader] {
            let connection = connect(&stolen, cluster.nodes[node].quic).await;
            // Who has the identity key is heard: else the rest would prove nothing.
            let index = ask(&connection, &[1, 1]).await.unwrap();
            assert!([INDEX, NOT_LEADER].contains(&index), "{index:?}");
            let fake =
                Sealed { generation: Generation(1), nonce: [0; 12], ciphertext: vec![0; 48] };
            let socket = Principal::SealedSocket { uid: 0, node: NodeId(3) };
            let secret = [vec![32], vec![7; 32]].concat();
            for request in [
                // Have a secret of its own sealed as that of a join token, or as a session key.
                [vec![1, 4, 2], vec![1; 8], secret.clone()].concat(),
                [vec![1, 4, 4, 0], vec![1; 8], secret.clone()].concat(),
                [vec![1, 4, 1], secret.clone()].concat(),
                // Order the token, in the name of several callers.
                execute(&join_token(Principal::Socket { uid: 0 }, fake.clone())),
                execute(&join_token(Principal::Node(NodeId(3)), fake.clone())),
                execute(&join_token(socket, fake)),
                // Stop the whole cluster.
                vec![1, 6, 0, 0],
                // Move the leader around.
                vec![1, 13, 0, 0],
            ] {
                answers.push((request.clone(), ask(&connection, &request).await));
            }
        }
        answers
    };
    let answers = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), asked).await.expect("answers in time")
    });
    for (request, answer) in answers {
        assert_eq!(answer, Some(NOT_PROVED), "{:?}", &request[..8.min(request.len())]);
    }
    let log = cluster.nodes[leader].log();
    assert!(log.contains("member.not_proved"), "the members say so");
    let status = cluster.nodes[leader].status();
    assert!(!status.to_string().contains("\"draining\""), "{status}");
    let tokens = cluster.nodes[leader].run(&["domain", "create", "after.example"]);
    assert_eq!(tokens.code, 0, "the cluster goes on: {}", tokens.err);
}
