use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::socket::{limits::RECORD_BYTES_MAX, tls_stream::TlsStream};

/// Timeouts longer than any test.
const LONG: Patience = Patience { stall: Duration::from_secs(600), idle: Duration::from_secs(600) };
/// Timeouts short enough to wait for.
const SHORT: Patience =
    Patience { stall: Duration::from_millis(300), idle: Duration::from_millis(900) };

/// Two ends of a TCP connection.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (one, other) = tokio::join!(connecting, listener.accept());
    (one.unwrap(), other.unwrap().0)
}

/// A TLS client, and the server's end of the connection.
async fn tls() -> (client::TlsStream<TcpStream>, TlsStream<TcpStream>) {
    let made = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(conclave_tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(conclave_tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tcp().await;
    let name = ServerName::try_from("shop.example").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let accepting = TlsStream::accept(far, Vec::new(), Arc::new(server));
    let (client, stream) = tokio::join!(connector.connect(name, near), accepting);
    (client.unwrap(), stream.unwrap())
}

struct Forwarding {
    client: client::TlsStream<TcpStream>,
    upstream: TcpStream,
    task: JoinHandle<(io::Result<()>, usize)>,
    counters: Arc<ListenerCounters>,
}

async fn forwarding(patience: Patience) -> Forwarding {
    let (client, mut stream) = tls().await;
    let (upstream, near) = tcp().await;
    let counters = Arc::new(ListenerCounters::default());
    let counting = Arc::clone(&counters);
    let task = tokio::spawn(async move {
        let mut server = Plain::new(near, b"first ".to_vec());
        let flow = Flow { counters: &counting, recorded: &Recorded::default() };
        let ended = forward(&mut stream, &mut server, patience, flow, || {}).await;
        (ended, stream.waiting() + server.waiting())
    });
    Forwarding { client, upstream, task, counters }
}

/// Makes bytes that differ by position.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}

#[tokio::test]
async fn bytes_pass_both_ways_at_once_and_each_way_has_its_own_end() {
    let Forwarding { client, mut upstream, task, counters } = forwarding(LONG).await;
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = upstream.split();
    let sent = pattern(5_000_000);
    let up = async {
        for piece in sent.chunks(70_001) {
            to_client.write_all(piece).await.unwrap();
        }
        to_client.shutdown().await.unwrap();
    };
    let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
    let down = async {
        for piece in sent.chunks(33_333) {
            to_server.write_all(piece).await.unwrap();
        }
        to_server
    };
    let (mut to_server, _, ()) =
        tokio::join!(down, async { from_server.read_to_end(&mut at_server).await.unwrap() }, up,);
    assert_eq!(at_server, [b"first ", &sent[..]].concat());
    // The client has ended; the upstream has not.
    let end = async {
        to_server.write_all(b"bye").await.unwrap();
        to_server.shutdown().await.unwrap();
    };
    let (_, ()) = tokio::join!(from_client.read_to_end(&mut at_client), end);
    assert_eq!(at_client, [&sent[..], b"bye"].concat());
    task.await.unwrap().0.unwrap();
    assert_eq!(counters.bytes_up.load(Relaxed), 5_000_000);
    assert_eq!(counters.bytes_down.load(Relaxed), 5_000_003);
}

#[tokio::test]
async fn keys_change_while_bytes_flow() {
    let Forwarding { mut client, mut upstream, .. } = forwarding(LONG).await;
    let mut buffer = vec![0; 6];
    upstream.read_exact(&mut buffer).await.unwrap();
    for _ in 0..5 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(b"up").await.unwrap();
        upstream.read_exact(&mut buffer[..2]).await.unwrap();
        upstream.write_all(b"down").await.unwrap();
        client.read_exact(&mut buffer[2..]).await.unwrap();
        assert_eq!(buffer, b"updown");
    }
}

/// TLS 1.3 tickets are not a packet of their own. They travel with the first bytes.
#[tokio::test]
async fn tickets_go_with_the_first_bytes_or_the_end() {
    for ends in [false, true] {
        let (mut client, mut stream) = tls().await;
        assert_eq!(stream.waiting(), 0);
        std::future::poll_fn(|cx| End::poll_flush(&mut stream, cx)).await.unwrap();
        assert_eq!(rustix::io::ioctl_fionread(client.get_ref().0).unwrap(), 0);
        if ends {
            std::future::poll_fn(|cx| stream.poll_end(cx)).await.unwrap();
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        } else {
            give(&mut stream, b"x").await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'x');
        }
        assert!(client.get_ref().1.tls13_tickets_received() > 0);
    }
}

/// Some upstreams never answer.
#[tokio::test]
async fn a_client_that_goes_on_without_an_answer_gets_its_tickets() {
    let Forwarding { mut client, mut upstream, .. } = forwarding(LONG).await;
    let mut buffer = [0; 7];
    for length in [7, 1] {
        client.write_all(b"u").await.unwrap();
        upstream.read_exact(&mut buffer[..length]).await.unwrap();
    }
    // Nothing but tickets can come.
    assert_eq!(client.get_ref().0.peek(&mut [0; 1]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_cut_is_no_end() {
    let Forwarding { mut client, mut upstream, task, .. } = forwarding(LONG).await;
    client.get_mut().0.shutdown().await.unwrap();
    let (ended, _) = task.await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let mut rest = Vec::new();
    upstream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"first ");
}

#[tokio::test]
async fn bytes_that_are_no_records_end_it_with_an_alert() {
    let (mut client, mut stream) = tls().await;
    let (_upstream, near) = tcp().await;
    client.get_mut().0.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let counters = ListenerCounters::default();
    let mut server = Plain::new(near, Vec::new());
    let flow = Flow { counters: &counters, recorded: &Recorded::default() };
    let ended = forward(&mut stream, &mut server, LONG, flow, || {}).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::InvalidData);
    let error = client.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("received fatal alert"), "{error}");
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up_and_little_is_kept_for_it() {
    let Forwarding { client: _client, mut upstream, task, .. } = forwarding(SHORT).await;
    let begun = Instant::now();
    let chatter =
        tokio::spawn(async move { while upstream.write_all(&[0; 65_536]).await.is_ok() {} });
    let (ended, waiting) = task.await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(waiting > 0 && waiting <= BUFFER_BYTES + RECORD_BYTES_MAX, "{waiting}");
    assert!(begun.elapsed() >= SHORT.stall, "{:?}", begun.elapsed());
    chatter.await.unwrap();
}

#[tokio::test]
async fn a_connection_may_be_idle_long_but_not_for_ever() {
    let Forwarding { client: _client, upstream: _upstream, task, .. } = forwarding(SHORT).await;
    let begun = Instant::now();
    let (ended, _) = task.await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() >= SHORT.idle, "{:?}", begun.elapsed());
}
