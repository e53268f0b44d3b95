//! Members that were removed, strangers in numbers, and members that have moved.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "harness/nodes.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod nodes;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_raft::{
    CallError, NodeId, OwnAddress, join_call,
    limits::{JOINS_MAX, JOINS_OF_ADDRESS_MAX},
};
use nodes::{
    DEADLINE, Members, Node, Pki, WithoutOne, assert_same, leader, propose, start, start_moved,
    start_with, three,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::time::Instant;

/// Address on the loopback network, at a port of the system's choice.
fn local(third: u8, fourth: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, third, fourth), 0).into()
}

async fn pause() {
    tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_refused_on_standing_connections_too() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let judge = Arc::new(WithoutOne { pki: Arc::clone(&pki), removed: AtomicU64::new(0) });
    let keeper = start_with(dir.path(), &pki, 1, nodes::ANY, judge.clone()).await.unwrap();
    let other = start(dir.path(), &pki, 2, nodes::ANY).await.unwrap();
    let address = |node: &Node| node.raft.local_address().unwrap().to_string();
    keeper.raft.initialize(&address(&keeper)).await.unwrap();
    let nodes = [keeper, other];
    leader(&nodes[..1]).await;
    assert!(nodes[0].raft.wait_applied(1, DEADLINE).await);
    // A name has several addresses, and is resolved when it is dialled.
    let name = address(&nodes[1]).replace("127.0.0.1", "localhost");
    nodes[0].raft.add_learner(NodeId(2), &name).await.unwrap();
    let (keeper, other) = (&nodes[0].raft, &nodes[1].raft);
    let deadline = Instant::now() + DEADLINE;
    while other.call(NodeId(1), vec![1], DEADLINE).await != Ok(vec![1, 2]) {
        assert!(Instant::now() < deadline, "it knows its leader");
        pause().await;
    }
    judge.removed.store(2, Ordering::SeqCst);
    let asked = other.call(NodeId(1), vec![1], Duration::from_secs(1)).await;
    assert!(matches!(asked, Err(CallError::Lost(_) | CallError::Unreachable(_))), "{asked:?}");
    let asked = keeper.call(NodeId(2), vec![1], Duration::from_secs(1)).await;
    assert!(asked.is_err(), "it is not asked any more either: {asked:?}");
    // It is taken back as soon as it is a member again.
    judge.removed.store(0, Ordering::SeqCst);
    let deadline = Instant::now() + DEADLINE;
    while other.call(NodeId(1), vec![1], DEADLINE).await != Ok(vec![1, 2]) {
        assert!(Instant::now() < deadline, "a member is answered");
        pause().await;
    }
}

/// An idle connection is closed too, and the peer is told why.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_of_a_removed_member_is_closed_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (pki, foreign) = (Pki::make(), Pki::make());
    let judge = Arc::new(WithoutOne { pki: Arc::clone(&pki), removed: AtomicU64::new(0) });
    let node = start_with(dir.path(), &pki, 1, nodes::ANY, judge.clone()).await.unwrap();
    let address = node.raft.local_address().unwrap();
    let dialer = dialer(local(0, 1));
    let closed = async |connection: quinn::Connection| {
        let closed = tokio::time::timeout(DEADLINE, connection.closed()).await.unwrap();
        closed.to_string()
    };
    let idle = connect(&dialer, address, &pki, 2, b"conclave-member/1").await.unwrap();
    judge.removed.store(2, Ordering::SeqCst);
    let told = closed(idle).await;
    assert!(told.contains("removed from the cluster"), "{told}");
    let again = connect(&dialer, address, &pki, 2, b"conclave-member/1").await.unwrap();
    let told = closed(again).await;
    assert!(told.contains("removed from the cluster"), "{told}");
    let unknown = connect(&dialer, address, &pki, 5, b"conclave-member/1").await.unwrap();
    let told = closed(unknown).await;
    assert!(told.contains("not a member"), "{told}");
    let stranger = connect(&dialer, address, &foreign, 2, b"conclave-member/1").await.unwrap();
    let told = closed(stranger).await;
    assert!(told.contains("another cluster"), "{told}");
}

fn dialer(bind: SocketAddr) -> quinn::Endpoint {
    quinn::Endpoint::client(bind).unwrap()
}

/// A client that trusts everybody and shows the certificate of a node.
fn client(pki: &Pki, id: u64, alpn: &[u8]) -> quinn::ClientConfig {
    let identity = pki.identity(id);
    let chain = [identity.certificate_der, identity.authority_der].map(CertificateDer::from);
    let key = PrivatePkcs8KeyDer::from(identity.private_key_der);
    let provider = conclave_tls::ring_provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(conclave_tls::any_certificate(provider))
        .with_client_auth_cert(chain.to_vec(), key.into())
        .unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let quic = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(400)));
    config.transport_config(Arc::new(transport));
    config
}

async fn connect(
    dialer: &quinn::Endpoint,
    address: SocketAddr,
    pki: &Pki,
    id: u64,
    alpn: &[u8],
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let connecting = dialer.connect_with(client(pki, id, alpn), address, "node.internal").unwrap();
    connecting.await
}

/// First packets of connections, each of another one, as a spoofer makes them.
async fn first_packets(pki: &Pki, count: usize) -> Vec<Vec<u8>> {
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    sink.set_read_timeout(Some(DEADLINE)).unwrap();
    let dialer = dialer(local(0, 1));
    let mut packets = Vec::new();
    for _ in 0..count {
        let config = client(pki, 5, b"conclave-join/1");
        let _attempt =
            dialer.connect_with(config, sink.local_addr().unwrap(), "node.internal").unwrap();
        let mut packet = vec![0; 2048];
        let reading = sink.try_clone().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let length = reading.recv(&mut packet).unwrap();
            packet.truncate(length);
            packet
        });
        packets.push(read.await.unwrap());
    }
    packets
}

/// Sends first packets from many addresses until it is told to stop. It reads no answer.
fn flood(
    packets: Vec<Vec<u8>>,
    targets: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let sockets: Vec<UdpSocket> = (0..=250)
            .map(|last| UdpSocket::bind((Ipv4Addr::new(127, 9, 9, last), 0)).unwrap())
            .collect();
        let mut sent = 0;
        let mut packets = packets.iter().zip(0..).cycle();
        while !stop.load(Ordering::Relaxed) {
            for socket in &sockets {
                let (packet, _) = packets.next().unwrap();
                for target in &targets {
                    sent += u64::from(socket.send_to(packet, target).is_ok());
                }
            }
            // About 12,000 packets a second in all.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        sent
    })
}

/// The flood takes 1,024 places in less than a second if each packet gets one.
#[tokio::test(flavor = "multi_thread")]
async fn members_come_back_while_strangers_flood_the_port_from_many_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let mut nodes = three(dir.path(), &pki).await;
    let done = propose(&nodes, "before").await;
    assert_same(&nodes, done.index).await;
    let targets: Vec<SocketAddr> =
        nodes.iter().map(|node| node.raft.local_address().unwrap()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let flooding = flood(first_packets(&pki, 1100).await, targets.clone(), Arc::clone(&stop));
    for place in [2, 1] {
        let gone = nodes.remove(place);
        gone.raft.shutdown().await.unwrap();
        drop(gone);
        let id = u64::try_from(place).unwrap() + 1;
        let back = start(dir.path(), &pki, id, targets[place]).await.unwrap();
        nodes.insert(place, back);
        let done = propose(&nodes, "meanwhile").await;
        assert_same(&nodes, done.index).await;
    }
    // A node that wants to join is not kept out either.
    let joined = join_call(&targets[..1], &pki.join_options(4), |exporter| exporter.to_vec()).await;
    assert_eq!(joined.unwrap().answer, pki.public_key(4));
    stop.store(true, Ordering::Relaxed);
    assert!(flooding.join().unwrap() > 2_000, "it was a flood");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_joins_keep_neither_members_nor_other_joins_out() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let mut nodes = three(dir.path(), &pki).await;
    let address = nodes[0].raft.local_address().unwrap();
    // The first fifty come from one address. None of them ever asks for anything.
    let idle = (0..150u8).map(|number| {
        let (pki, dialer) = (Arc::clone(&pki), dialer(local(7, number.saturating_sub(50).max(1))));
        tokio::spawn(async move {
            let connection = connect(&dialer, address, &pki, 5, b"conclave-join/1").await.ok()?;
            let closed = tokio::time::timeout(DEADLINE, connection.closed()).await.unwrap();
            (!closed.to_string().contains("too many connections")).then_some(())
        })
    });
    let idle: Vec<_> = idle.collect();
    let joined = join_call(&[address], &pki.join_options(4), |exporter| exporter.to_vec()).await;
    assert_eq!(joined.unwrap().answer, pki.public_key(4));
    let gone = nodes.pop().unwrap();
    let third = gone.raft.local_address().unwrap();
    gone.raft.shutdown().await.unwrap();
    drop(gone);
    nodes.push(start(dir.path(), &pki, 3, third).await.unwrap());
    let done = propose(&nodes, "meanwhile").await;
    assert_same(&nodes, done.index).await;
    let mut kept = Vec::new();
    for one in idle {
        kept.push(one.await.unwrap());
    }
    // A place is free again after two seconds, so a slow machine gives it to several.
    let count = |part: &[Option<()>]| part.iter().flatten().count();
    assert!(count(&kept[..50]) <= 5 * JOINS_OF_ADDRESS_MAX, "{}", count(&kept[..50]));
    assert!(count(&kept) <= 5 * JOINS_MAX, "{}", count(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_one_stream_and_no_room_for_a_large_request() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let node = start(dir.path(), &pki, 1, nodes::ANY).await.unwrap();
    let address = node.raft.local_address().unwrap();
    let dialer = dialer(local(0, 1));
    let connection = connect(&dialer, address, &pki, 5, b"conclave-join/1").await.unwrap();
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(300), connection.open_bi()).await;
    assert!(second.is_err(), "a second stream");
    // It claims 8 MiB, and sends as much as it may.
    send.write_all(&(8u32 << 20).to_be_bytes()).await.unwrap();
    let sending = async { send.write_all(&vec![0; 8 << 20]).await };
    let sent = tokio::time::timeout(DEADLINE, sending).await.expect("it is cut off at once");
    assert!(sent.is_err(), "{sent:?}");
}

/// Moves nodes to other addresses, one after the other and then all at once, while the cluster
/// has the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn members_find_each_other_at_other_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let members = || Arc::new(Members(Arc::clone(&pki)));
    let mut nodes = Vec::new();
    for id in 1..=3u8 {
        let bind = local(1, id);
        nodes.push(start_with(dir.path(), &pki, id.into(), bind, members()).await.unwrap());
    }
    let known: Vec<SocketAddr> =
        nodes.iter().map(|node| node.raft.local_address().unwrap()).collect();
    nodes[0].raft.initialize(&known[0].to_string()).await.unwrap();
    leader(&nodes[..1]).await;
    assert!(nodes[0].raft.wait_applied(1, DEADLINE).await);
    for (id, address) in [2, 3].into_iter().zip(&known[1..]) {
        nodes[0].raft.add_learner(NodeId(id), &address.to_string()).await.unwrap();
        nodes[0].raft.promote(NodeId(id)).await.unwrap();
    }
    // A node that does not know yet that it votes dials nobody by itself.
    let done = propose(&nodes, "all vote").await;
    assert_same(&nodes, done.index).await;
    for (third, moving) in [(2, vec![2]), (3, vec![1, 2]), (4, vec![0, 1, 2])] {
        for one in moving.iter().rev() {
            let gone = nodes.remove(*one);
            gone.raft.shutdown().await.unwrap();
        }
        for one in moving {
            let fourth = u8::try_from(one + 1).unwrap();
            let now = SocketAddr::from(([127, 0, third, fourth], known[one].port()));
            let own = OwnAddress { known: known[one].to_string(), now: now.to_string() };
            let id = u64::from(fourth);
            let started = start_moved(dir.path(), &pki, id, now, members(), Some(own)).await;
            nodes.insert(one, started.unwrap());
        }
        let done = propose(&nodes, "moved").await;
        assert_same(&nodes, done.index).await;
        // The one that follows is asked by the other as well.
        let asked = nodes[1].raft.call(NodeId(3), vec![7], DEADLINE).await;
        assert_eq!(asked, Ok(vec![7, 2]), "127.0.{third}.x");
    }
}
