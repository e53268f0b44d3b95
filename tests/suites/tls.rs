//! TLS on the wire: who is refused and how, how a domain is chosen, where sessions resume.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use conclave_tests::{Cluster, Pair, client_config, probe, wait_for};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, StreamOwned, client::Resumption,
    pki_types::ServerName,
};

/// What a node answers to these bytes until it closes.
fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// A hello of a client older than TLS 1.2: no extensions.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0xc0, 0x09, 0x00, 0x2f, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, minor.min(1), 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}

const PROTOCOL_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];

#[test]
fn who_speaks_no_tls_of_today_is_told_so_and_noted_once() {
    let cluster = Cluster::start(1);
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    let address = one.listener(port);
    let refused = |tried: &str, bytes: &[u8]| {
        let answer = answer(address, bytes);
        let line = format!("tried=\"{tried}\"");
        wait_for(&line, || (one.log().matches(&line).count() == 1).then_some(()));
        answer
    };
    assert_eq!(refused("SSL 3.0", &old_hello(0)), PROTOCOL_VERSION);
    assert_eq!(refused("TLS 1.0", &old_hello(1)), PROTOCOL_VERSION);
    assert_eq!(refused("TLS 1.1", &old_hello(2)), PROTOCOL_VERSION);
    let ssl2 = [0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16, 1, 0, 128];
    assert_eq!(refused("SSL 2.0", &ssl2), PROTOCOL_VERSION);
    let http = refused("plain HTTP", b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let http = String::from_utf8(http).unwrap();
    assert!(http.starts_with("HTTP/1.1 400 "), "{http}");
    let (head, body) = http.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{http}");
    assert!(body.contains("speaks TLS"), "{http}");
    let alert = refused("plain text", b"EHLO client.example\r\n");
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 10], "unexpected_message");
    refused("no TLS", &[0; 64]);
    refused("a broken hello", &[22, 3, 1, 0, 5, 1, 0, 0, 1, 3, 3, 3, 3]);
    assert!(probe(address, "node-1.main").is_ok(), "honest clients are served");
}

#[test]
fn the_log_says_how_a_domain_was_chosen() {
    let cluster = Cluster::with_level(1, "debug");
    cluster.found();
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    let address = one.listener(port);
    let ip = one.address.to_string();
    one.run(&["domain", "create", "shop.example", "--alias", "*.apps.example", "--pki", "test"])
        .ok();
    let chosen = |name: &str, domain: &str, how: &str| {
        let before = one.log().len();
        probe(address, name).unwrap();
        let line = format!("domain=\"{domain}\" chosen=\"{how}\"");
        wait_for(&line, || one.log().get(before..)?.contains(&line).then_some(()));
    };
    chosen("shop.example", "shop.example", "name");
    chosen("one.apps.example", "shop.example", "name");
    chosen("one.two.apps.example", "node-1.main", "main");
    chosen("-", "node-1.main", "main");
    one.run(&["domain", "create", "bound.example", "--ip", &ip, "--pki", "test"]).ok();
    chosen("-", "bound.example", "address");
    chosen("unknown.example", "bound.example", "address");
    chosen("shop.example", "shop.example", "name");
    one.run(&["tls", "set", "--process-target-domain", "off"]).ok();
    chosen("shop.example", "bound.example", "address");
}

/// A client that keeps its sessions.
fn keeping(version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut config = client_config(&[version]).unwrap();
    config.resumption = Resumption::in_memory_sessions(64);
    Arc::new(config)
}

/// A connection that carries a byte there and back, so that tickets arrive; whether it resumed.
fn resumes(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> bool {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[test]
fn sessions_resume_on_other_nodes_while_keys_rotate() {
    let cluster = Cluster::start(3);
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let (certificate, key) = one.pair_files(&Pair::make("shop.example"));
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    one.run(&["tls", "set", "--ttl", "10m", "--rotation", "2s"]).ok();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = keeping(version);
        let round = || -> usize {
            let nodes = cluster.nodes.iter();
            nodes.filter(|node| resumes(&config, node.listener(port), "shop.example")).count()
        };
        wait_for("a first ticket", || (round() == 3).then_some(()));
        let started = std::time::Instant::now();
        let (mut tried, mut resumed) = (0, 0);
        while started.elapsed() < Duration::from_secs(10) {
            resumed += round();
            tried += cluster.nodes.len();
        }
        println!("{version:?}: {resumed} of {tried} resumed");
        assert!(resumed * 100 >= tried * 99, "{version:?}: {resumed} of {tried}");
        one.run(&["tls", "flush", "--yes"]).ok();
        assert!(!resumes(&config, one.listener(port), "shop.example"), "after a flush");
        assert!(resumes(&config, one.listener(port), "shop.example"), "and then again");
        one.run(&["cert", "self-sign", "shop.example", "--yes"]).ok();
        assert!(!resumes(&config, one.listener(port), "shop.example"), "another certificate");
    }
    let sessions = one.run(&["tls", "sessions", "-o", "json"]).json();
    assert!(sessions["node"]["resumed"].as_u64().unwrap() > 10, "{sessions}");
}

#[test]
fn a_probe_says_what_a_server_shows() {
    let cluster = Cluster::start(2);
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let pair = Pair::make("shop.example");
    let (certificate, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    for node in &cluster.nodes {
        let address = node.listener(port).to_string();
        let words = ["tls", "probe", &address, "--server-name", "shop.example", "-o", "json"];
        let ran = one.run(&words);
        assert_eq!(ran.code, 9, "nobody trusts its issuer yet: {}", ran.err);
        let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(shown["version"], "TLSv1.3");
        assert_eq!(shown["group"], "X25519MLKEM768");
        assert_eq!(shown["certificates"].as_array().unwrap().len(), 2);
        assert_eq!(shown["valid"], false);
        assert_eq!(shown["is_served_here"], true);
        assert_eq!(shown["served"]["domain"], "shop.example");
        assert_eq!(shown["served"]["chosen"], "name");
        assert_eq!(shown["served"]["node"], node.name);
    }
    let issuer = one.file("issuer.pem", pair.chain.as_bytes());
    one.run(&["trust", "add", &issuer, "--scope", "domain:shop.example"]).ok();
    let address = one.listener(port).to_string();
    let text = one.run(&["tls", "probe", &address, "--server-name", "shop.example"]).ok();
    assert!(text.contains("leads to CN=Test Issuer (domain trust)"), "{text}");
    let told = "served by node-1 (this cluster), domain shop.example, chosen by name";
    assert!(text.contains(told), "{text}");
    // It needs no node.
    let alone = std::process::Command::new(conclave_tests::binary("conclave"))
        .args(["--address", "unix:/nowhere", "tls", "probe", &address, "-o", "json"])
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&alone.stdout).unwrap();
    assert_eq!(shown["served"], serde_json::Value::Null);
    let closed = one.run(&["tls", "probe", "127.0.0.1:1"]);
    assert!(closed.code == 6 && closed.err.contains("cannot connect"), "{}", closed.err);
}
