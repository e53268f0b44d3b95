//! DTLS through a node over paths that lose, double, reorder and swallow datagrams.
//!
//! `CONCLAVE_DTLS_CLIENTS=1000` makes the long form of it.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use conclave_dtls::Connector;
use conclave_tests::{Cluster, DtlsClient, Relay, Weather, echo_datagrams, has_program, wait_for};

/// A handshake has so long, as on a node.
const DEADLINE: Duration = Duration::from_secs(30);
/// Clients at once: a node bounds the handshakes of one address.
const AT_ONCE: usize = 100;

/// How many clients, if nobody asks for more.
fn clients(usual: usize) -> usize {
    let wish = std::env::var("CONCLAVE_DTLS_CLIENTS");
    wish.map_or(usual, |wish| wish.parse().unwrap())
}

/// A node with a listener for DTLS, and an echo behind it.
struct Server {
    address: SocketAddr,
    #[expect(dead_code, reason = "it ends with the test")]
    cluster: Cluster,
}

impl Server {
    /// It shows a certificate with so many names.
    fn start(names: usize) -> Server {
        let cluster = Cluster::start(1);
        let (port, node) = (cluster.free_port(), &cluster.nodes[0]);
        node.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
        let names = (0..names).map(|number| format!("{number:048}.shop.example"));
        let names: Vec<_> = std::iter::once("shop.example".to_owned()).chain(names).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let certificate = node.file("shop.pem", made.pem().as_bytes());
        let key = node.file("shop.key", key.serialize_pem().as_bytes());
        node.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
        let (bind, upstream) = (format!(":{port}"), format!("udp:{}", echo_datagrams()));
        let words = ["listener", "add", "dtls", "--protocol", "dtls"];
        node.run(&[&words[..], &["--bind", &bind, "--upstream", &upstream]].concat()).ok();
        Server { address: node.listener(port), cluster }
    }
}

/// So many clients, each with a handshake and an echo through a path like this; how many had their
/// handshake within the deadline and then their echo, and the slowest handshake.
fn complete(
    server: &Server,
    weather: fn(u64) -> Weather,
    count: usize,
    path_mtu_bytes: u16,
) -> (usize, Duration) {
    let connector = Connector::new(&[]).unwrap();
    let one = |address: SocketAddr, number: usize| {
        let begun = Instant::now();
        let name = Some("shop.example");
        let mut client = DtlsClient::begin(&connector, address, name, path_mtu_bytes);
        let handshake = client.handshake(DEADLINE).map(|_| begun.elapsed());
        let words = format!("client {number} is here");
        let is_echoed = handshake.is_ok() && client.is_echoed(words.as_bytes(), DEADLINE);
        if !is_echoed {
            println!("client {number}: {handshake:?}, then {:?}", client.state());
        }
        client.close();
        handshake.ok().filter(|_| is_echoed)
    };
    let mut took: Vec<Option<Duration>> = Vec::new();
    while took.len() < count {
        let first = took.len();
        let relay = Relay::start(server.address, weather(u64::try_from(first).unwrap()));
        let numbers = first..count.min(first + AT_ONCE);
        std::thread::scope(|scope| {
            let (one, address) = (&one, relay.address);
            let begin = |number| scope.spawn(move || one(address, number));
            let threads: Vec<_> = numbers.map(begin).collect();
            took.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        });
    }
    let slowest = took.iter().flatten().max().copied().unwrap_or_default();
    let done = took.iter().flatten().count();
    println!("{done} of {count}, the slowest handshake took {slowest:?}");
    (done, slowest)
}

#[test]
fn a_tenth_lost_costs_no_session() {
    let (server, count) = (Server::start(0), clients(40));
    assert_eq!(complete(&server, |seed| Weather::bad(seed, 10), count, 1500).0, count);
}

#[test]
fn a_third_lost_costs_hardly_any_session() {
    let (server, count) = (Server::start(0), clients(100));
    let (done, _) = complete(&server, |seed| Weather::bad(seed + 1, 30), count, 1500);
    assert!(done * 100 >= count * 99, "{done} of {count}");
}

#[test]
fn a_chain_of_16_kib_comes_in_packets_of_576_bytes() {
    let server = Server::start(250);
    let (done, slowest) = complete(&server, |_| Weather::clear().narrow(576), 4, 576);
    assert!(done == 4 && slowest < Duration::from_secs(6), "{slowest:?}");
    assert_eq!(complete(&server, |seed| Weather::bad(seed + 3, 10).narrow(576), 4, 576).0, 4);
}

#[test]
fn a_path_that_swallows_large_datagrams_is_found_out() {
    let server = Server::start(250);
    let (done, slowest) = complete(&server, |_| Weather::clear().narrow(1300), 4, 1500);
    assert!(done == 4 && slowest < Duration::from_secs(2), "{slowest:?}");
}

/// Two of the same ServerHello, and the time between them.
fn repetition(server: &Server, connector: &Connector) -> Duration {
    const SERVER_HELLO: u8 = 2;
    let relay = Relay::start(server.address, Weather::clear().only_hellos());
    let mut client = DtlsClient::begin(connector, relay.address, Some("shop.example"), 1500);
    let mut hellos = Vec::new();
    wait_for("a repetition", || {
        assert!(client.handshake(Duration::from_millis(10)).is_err());
        let sent = relay.sent_by_server();
        let came = sent.into_iter().filter(|sent| sent.datagram.get(13) == Some(&SERVER_HELLO));
        hellos.extend(came.map(|hello| hello.at));
        (hellos.len() >= 2).then(|| hellos[1] - hellos[0])
    })
}

#[test]
fn the_first_repetition_comes_before_400_ms() {
    let (server, connector) = (Server::start(0), Connector::new(&[]).unwrap());
    let waited: Vec<Duration> = (0..3).map(|_| repetition(&server, &connector)).collect();
    println!("{waited:?}");
    // A busy machine makes it later, none earlier.
    let earliest = waited.iter().min().unwrap();
    let wanted = Duration::from_millis(250)..Duration::from_millis(400);
    assert!(wanted.contains(earliest), "{waited:?}");
}

/// Whether a program that talks line by line gets a line back, said again and again.
fn is_echoed(program: &str, words: &[&str], within: Duration) -> bool {
    const LINE: &[u8] = b"are you there\n";
    let mut command = Command::new(program);
    let pipes = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::null()).spawn().unwrap();
    let (begun, mut stdin) = (Instant::now(), child.stdin.take().unwrap());
    let output = BufReader::new(child.stdout.take().unwrap());
    let (say, said) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        output.lines().map_while(Result::ok).for_each(|line| drop(say.send(line)));
    });
    let mut is_echoed = false;
    while !is_echoed && begun.elapsed() < within {
        if stdin.write_all(LINE).is_err() {
            break;
        }
        let again = Instant::now() + Duration::from_millis(500);
        let left = || again.saturating_duration_since(Instant::now());
        while !is_echoed && let Ok(line) = said.recv_timeout(left()) {
            is_echoed = line.contains("are you there");
        }
    }
    drop(stdin);
    let _ = child.kill();
    child.wait().unwrap();
    reader.join().unwrap();
    println!("{program}: {is_echoed} after {:?}", begun.elapsed());
    is_echoed
}

/// Some of these programs at once, through a path that loses a tenth.
fn check(program: &str, words: impl Fn(SocketAddr) -> Vec<String>) {
    if !has_program(program) {
        return;
    }
    let server = Server::start(0);
    let relay = Relay::start(server.address, Weather::bad(4, 10));
    let words = words(relay.address);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    std::thread::scope(|scope| {
        let one = || is_echoed(program, &words, DEADLINE);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap()));
    });
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn openssl_s_client_gets_its_echo_over_a_bad_path() {
    check("openssl", |address| {
        let fixed = ["s_client", "-dtls1_2", "-quiet", "-servername", "shop.example", "-connect"];
        [owned(&fixed), vec![address.to_string()]].concat()
    });
}

#[test]
fn gnutls_cli_gets_its_echo_over_a_bad_path() {
    check("gnutls-cli", |address| {
        let fixed = ["--udp", "--insecure", "--sni-hostname", "shop.example", "--port"];
        let where_to = [address.port().to_string(), address.ip().to_string()];
        [owned(&fixed), where_to.to_vec()].concat()
    });
}
