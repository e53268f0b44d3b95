//! The access log: one line for each connection.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::Shutdown,
    time::Duration,
};

use conclave_dtls::Connector;
use conclave_tests::{
    Cluster, DtlsClient, Node, Pair, echo_datagrams, has_program, probe, probe_stream, wait_for,
};
use rustls::version::{TLS12, TLS13};

const PATIENCE: Duration = Duration::from_secs(20);

/// A member with these settings in the section `[log]`, and an enabled domain.
fn logging(lines: &[&str]) -> Cluster {
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    lines.iter().for_each(|line| node.configure("log", line));
    node.stop();
    node.start();
    let (bundle, key) = node.pair_files(&Pair::make("shop.example"));
    node.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    node.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    cluster
}

/// The lines of ended connections, each with its fields.
fn ended(node: &Node) -> Vec<BTreeMap<String, String>> {
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains("event=\"connection.ended\""));
    let field = |word: &str| {
        let (name, value) = word.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    lines.map(|line| line.split(' ').filter_map(field).collect()).collect()
}

/// Waits for so many lines; gives the last one.
fn wait_ended(node: &Node, count: usize) -> BTreeMap<String, String> {
    wait_for("the line of a connection", || {
        let mut lines = ended(node);
        assert!(lines.len() <= count, "{lines:#?}");
        (lines.len() == count).then(|| lines.pop().unwrap())
    })
}

/// Says a word, hears its echo, and closes.
fn say(node: &Node, port: u16, version: &'static rustls::SupportedProtocolVersion) {
    let (_, mut stream) = probe_stream(node.listener(port), "shop.example", &[version]).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn every_connection_has_a_line_that_says_how_it_ended() {
    let cluster = logging(&["connections = \"all\""]);
    let node = &cluster.nodes[0];
    let port = cluster.listen();
    say(node, port, &TLS12);
    let line = wait_ended(node, 1);
    for (name, value) in [
        ("listener", "tls"),
        ("domain", "shop.example"),
        ("server_name", "shop.example"),
        ("version", "TLSv1.2"),
        ("resumed", "false"),
        ("client_certificate", "-"),
        ("received", "5"),
        // The echo, and the word with which the upstream ends.
        ("sent", "8"),
        ("end", "closed"),
    ] {
        assert_eq!(line.get(name).map(String::as_str), Some(value), "{name}: {line:?}");
    }
    assert!(line["client"].starts_with("127.0.0.1:") && line["cipher"].starts_with("TLS_"));
    say(node, port, &TLS13);
    assert_eq!(wait_ended(node, 2)["version"], "TLSv1.3");

    node.run(&["domain", "create", "off.example", "--pki", "disabled"]).ok();
    probe(node.listener(port), "off.example").unwrap_err();
    let line = wait_ended(node, 3);
    assert_eq!((line["end"].as_str(), line.get("domain")), ("disabled", None));

    let mut plain = std::net::TcpStream::connect(node.listener(port)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    plain.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(wait_ended(node, 4)["end"], "not_tls");
    assert_eq!(node.run(&["tls", "sessions", "-o", "json"]).json()["node"]["failed"]["not_tls"], 1);
}

#[test]
fn a_session_of_datagrams_has_a_line_too() {
    let cluster = logging(&["connections = \"all\""]);
    let node = &cluster.nodes[0];
    let (port, upstream) = (cluster.free_port(), format!("udp:{}", echo_datagrams()));
    let bind = format!(":{port}");
    let add = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    node.run(&[&add[..], &["--upstream", &upstream]].concat()).ok();
    let connector = Connector::new(&[]).unwrap();
    let name = Some("shop.example");
    let mut client = DtlsClient::begin(&connector, node.listener(port), name, 1500);
    client.handshake(PATIENCE).unwrap();
    assert!(client.is_echoed(b"hello", PATIENCE));
    client.close();
    let line = wait_ended(node, 1);
    let has = |name: &str, value: &str| assert_eq!(line[name], value, "{line:?}");
    has("version", "DTLSv1.2");
    has("domain", "shop.example");
    has("end", "closed");
    assert!(line["received"].parse::<u64>().unwrap() >= 5, "{line:?}");
}

/// In an overload the lines say who got no place, and who lost one.
#[test]
fn refused_and_displaced_connections_have_lines_that_say_so() {
    if !has_program("prlimit") {
        return;
    }
    let mut cluster = logging(&["connections = \"all\""]);
    // Places for 36 connections from one address.
    cluster.nodes[0].stop();
    cluster.nodes[0].start_under(&["prlimit", "--nofile=400:400"]);
    let port = cluster.listen();
    let node = &cluster.nodes[0];
    let open = || {
        let mut stream = probe_stream(node.listener(port), "shop.example", &[&TLS13]).ok()?.1;
        // A connection in use keeps its place.
        stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0])).ok().map(|()| stream)
    };
    let used: Vec<_> = std::iter::from_fn(open).take(100).collect();
    assert!((10..100).contains(&used.len()), "{}", used.len());
    let refused = wait_ended(node, 1);
    let has = |name: &str, value: &str| assert_eq!(refused[name], value, "{refused:?}");
    has("end", "too_many_from_address");
    has("listener", "tls");
    assert!(refused["client"].starts_with("127.0.0.1:"), "{refused:?}");
    let count = used.len();
    drop(used);
    wait_ended(node, count + 1);
    // Those that say nothing lose their places to those that come.
    let silent = || std::net::TcpStream::connect(node.listener(port)).unwrap();
    let _silent: Vec<_> = (0..count + 20).map(|_| silent()).collect();
    wait_for("a displaced connection", || {
        ended(node).iter().any(|line| line["end"] == "displaced").then_some(())
    });
}

#[test]
fn lines_are_off_by_default_sampled_or_of_some_listeners() {
    let cluster = logging(&["connections = \"sample:1000\""]);
    let node = &cluster.nodes[0];
    let port = cluster.listen();
    for _ in 0..5 {
        say(node, port, &TLS13);
    }
    assert_eq!(wait_ended(node, 1)["end"], "closed", "the first of a thousand");

    // A signal is enough to change it, for connections from then on.
    let path = node.dir.join("node.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let reload = |lines: &str, count: usize| {
        std::fs::write(&path, config.replace("connections = \"sample:1000\"", lines)).unwrap();
        node.signal("HUP");
        wait_for("the settings", || {
            (node.log().matches("event=\"config.read\"").count() == count).then_some(())
        });
    };
    reload("connections = \"all\"\nconnection_listeners = [\"other\"]", 1);
    say(node, port, &TLS13);
    reload("connections = \"all\"\nconnection_listeners = [\"tls\"]", 2);
    say(node, port, &TLS13);
    wait_ended(node, 2);
    reload("", 3);
    say(node, port, &TLS13);
    reload("connections = \"all\"", 4);
    say(node, port, &TLS13);
    wait_ended(node, 3);
    assert!(!node.log().contains("config.restart_needed"), "{}", node.log());
}
