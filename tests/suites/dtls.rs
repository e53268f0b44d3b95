//! DTLS on the wire: the same domains, policies and limits as TLS, over datagrams.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use conclave_dtls::{Connector, Reason, State};
use conclave_tests::{Cluster, DtlsClient, Node, Pair, echo_datagrams, wait_for};

const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a listener for DTLS on every node, with an echo behind it; gives its port.
fn listen(cluster: &Cluster, more: &[&str]) -> u16 {
    let (port, upstream) = (cluster.free_port(), echo_datagrams());
    let (bind, upstream) = (format!(":{port}"), format!("udp:{upstream}"));
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    cluster.nodes[0].run(&[&words[..], &["--upstream", &upstream], more].concat()).ok();
    port
}

/// A client whose handshake is done, or why it is not.
fn connect(node: &Node, port: u16, name: &str) -> Result<(DtlsClient, Vec<Vec<u8>>), String> {
    let connector = Connector::new(&[]).unwrap();
    let name = (name != "-").then_some(name);
    let mut client = DtlsClient::begin(&connector, node.listener(port), name, 1500);
    let facts = client.handshake(PATIENCE)?;
    Ok((client, facts.peer_chain))
}

#[test]
fn the_domain_that_a_client_names_is_served_and_its_words_reach_the_upstream() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let shop = Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&shop);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    one.run(&["domain", "create", "off.example", "--pki", "disabled"]).ok();
    let port = listen(&cluster, &[]);
    let (mut client, chain) = connect(one, port, "shop.example").unwrap();
    assert!(chain == [shop.der, shop.chain_der]);
    assert!(client.is_echoed(b"are you there", PATIENCE));
    let large = vec![7; 4_000];
    assert!(client.is_echoed(&large, PATIENCE));
    let (_, test) = connect(one, port, "unknown.example").unwrap();
    assert_eq!(test.len(), 2, "the Main Domain stands in, in test mode");
    let (_, none) = connect(one, port, "-").unwrap();
    assert!(none == test);
    let refused = connect(one, port, "off.example").err().unwrap();
    assert!(refused.contains("access denied"), "{refused}");
    wait_for("a line", || one.log().contains("reason=\"disabled\"").then_some(()));
    client.close();
    let address = one.listener(port).to_string();
    let probe = ["tls", "probe", &address, "--dtls", "--server-name", "shop.example"];
    let told = one.run(&[&probe[..], &["-o", "json"]].concat());
    assert_eq!(told.code, 9, "nobody trusts its issuer: {}", told.err);
    let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told["version"], "DTLSv1.2", "{told}");
    assert_eq!(told["served"]["domain"], "shop.example", "{told}");
    let text = one.run(&probe).out;
    assert!(text.contains("(this cluster), domain shop.example, chosen by name"), "{text}");
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let nobody = one.run(&["tls", "probe", &closed.to_string(), "--dtls", "-o", "json"]);
    assert_eq!(nobody.problem()["code"], "X001", "{}", nobody.err);
    let sessions = one.run(&["tls", "sessions", "-o", "json"]).json();
    assert_eq!(sessions["node"]["done"].as_u64(), Some(5), "{sessions}");
    assert_eq!(sessions["node"]["failed"]["disabled"].as_u64(), Some(1), "{sessions}");
}

/// A domain in use with a certificate of its own.
fn add_domain(node: &Node, name: &str) -> Pair {
    let pair = Pair::make(name);
    let (bundle, key) = node.pair_files(&pair);
    node.run(&["domain", "create", name, "--pki", "enabled"]).ok();
    node.run(&["cert", "import", name, &bundle, "--key", &key]).ok();
    pair
}

fn counted(node: &Node, reason: &str) -> u64 {
    let sessions = node.run(&["tls", "sessions", "-o", "json"]).json();
    sessions["node"]["failed"][reason].as_u64().unwrap_or_default()
}

#[test]
fn a_changed_certificate_is_served_at_the_next_handshake_while_old_sessions_live_on() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let old = add_domain(one, "shop.example");
    let port = listen(&cluster, &[]);
    let mut clients: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| {
            let (client, chain) = connect(node, port, "shop.example").unwrap();
            assert!(chain[0] == old.der);
            client
        })
        .collect();
    let new = Pair::make("shop.example");
    let (bundle, key) = two.pair_files(&new);
    two.run(&["cert", "import", "shop.example", &bundle, "--key", &key, "--yes"]).ok();
    for node in [one, two, three] {
        assert!(connect(node, port, "shop.example").unwrap().1[0] == new.der, "{}", node.name);
    }
    for client in &mut clients {
        assert!(client.is_echoed(b"still here", PATIENCE));
    }
    // The sessions of a node that dies are lost; those of the others are not.
    let mut cluster = cluster;
    cluster.nodes[2].kill();
    assert!(!clients[2].is_echoed(b"gone", Duration::from_secs(1)));
    for client in &mut clients[..2] {
        assert!(client.is_echoed(b"still here", PATIENCE));
    }
    let (mut other, _) = connect(&cluster.nodes[0], port, "shop.example").unwrap();
    assert!(other.is_echoed(b"anew", PATIENCE));
}

#[test]
fn the_answer_to_one_nodes_cookie_may_go_to_another() {
    let cluster = Cluster::start(3);
    let port = listen(&cluster, &[]);
    let connector = Connector::new(&[]).unwrap();
    // A load balancer between a client and the nodes: to the client it is one server.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let nodes = &cluster.nodes;
    wait_for("cookie keys everywhere", || {
        let active = |node: &Node| {
            let keys = node.run(&["tls", "sessions", "-o", "json"]).json()["keys"].clone();
            let mut keys = keys.as_array().unwrap().iter();
            let cookies = keys.find(|one| one["use"] == "cookie").unwrap().clone();
            cookies["active"]["id"].as_str().map(ToOwned::to_owned)
        };
        let first = active(&nodes[0])?;
        nodes.iter().all(|node| active(node).as_ref() == Some(&first)).then_some(())
    });
    let mut client = connector.connect(Some("node-1.main"), Instant::now(), 1500).unwrap();
    let mut buffer = [0; 2048];
    let mut turns = Vec::new();
    for to in [&nodes[0], &nodes[1]] {
        while let Some(datagram) = client.next_datagram() {
            socket.send_to(&datagram, to.listener(port)).unwrap();
        }
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, to.listener(port));
        turns.push(buffer[13]);
        client.datagram(Instant::now(), &buffer[..count]);
    }
    assert_eq!(turns, [3, 2], "HelloVerifyRequest by one node, ServerHello by another");
}

#[test]
fn strangers_get_nothing_but_a_cookie_and_the_refused_one_answer() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "off.example", "--pki", "disabled"]).ok();
    let port = listen(&cluster, &[]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(one.listener(port)).unwrap();
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
    let data = [23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 1200], &alert, &data, &[22, 0xfe], &[]] {
        socket.send(garbage).unwrap();
    }
    // Nothing is answered: the first answer is the one to the hello behind it all.
    let connector = Connector::new(&[]).unwrap();
    let mut client = connector.connect(Some("off.example"), Instant::now(), 1500).unwrap();
    let hello = client.next_datagram().unwrap();
    socket.send(&hello).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2048];
    let count = socket.recv(&mut buffer).unwrap();
    assert!(count < hello.len() && buffer[13] == 3, "a HelloVerifyRequest of {count} bytes");
    client.datagram(Instant::now(), &buffer[..count]);
    let proven = client.next_datagram().unwrap();
    socket.send(&proven).unwrap();
    let count = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..1], [21], "an alert of {count} bytes");
    for _ in 0..20 {
        socket.send(&proven).unwrap();
    }
    // Another cookie shows that all twenty have been looked at; none of them had an answer.
    socket.send(&hello).unwrap();
    socket.recv(&mut buffer).unwrap();
    assert_eq!((buffer[0], buffer[13]), (22, 3));
    assert_eq!(counted(one, "disabled"), 1, "{}", one.log());
}

#[test]
fn a_client_that_begins_anew_on_its_port_replaces_its_session() {
    let cluster = Cluster::start(1);
    let (one, port) = (&cluster.nodes[0], listen(&cluster, &[]));
    let connector = Connector::new(&[]).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(one.listener(port)).unwrap();
    let begin = || DtlsClient::begin_on(socket.try_clone().unwrap(), &connector, None, 1500);
    let mut old = begin();
    old.handshake(PATIENCE).unwrap();
    assert!(old.is_echoed(b"old", PATIENCE));
    // A hello without a cookie changes nothing: its sender may be anybody.
    let stray = connector.connect(None, Instant::now(), 1500).unwrap().next_datagram().unwrap();
    socket.send(&stray).unwrap();
    assert!(old.is_echoed(b"old again", PATIENCE));
    // Nor does one with a cookie, as long as its handshake is not complete: its sender may have heard
    // at this address once.
    let mut replayed = connector.connect(None, Instant::now(), 1500).unwrap();
    socket.send(&replayed.next_datagram().unwrap()).unwrap();
    let mut buffer = [0; 2048];
    while buffer[13] != 3 {
        let count = socket.recv(&mut buffer).unwrap();
        replayed.datagram(Instant::now(), &buffer[..count]);
    }
    socket.send(&replayed.next_datagram().unwrap()).unwrap();
    wait_for("a second session", || (one.status()["nodes"][0]["connections"] == 2).then_some(()));
    assert!(old.is_echoed(b"old still", PATIENCE));
    let mut new = begin();
    new.handshake(PATIENCE).unwrap();
    assert!(new.is_echoed(b"new", PATIENCE));
    wait_for("one session", || (one.status()["nodes"][0]["connections"] == 1).then_some(()));
}

#[test]
fn sessions_without_a_word_end_with_close_notify() {
    let mut cluster = Cluster::unfounded(1);
    let config = cluster.nodes[0].dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[dtls]\nidle_timeout = \"1s\"\n")).unwrap();
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.found();
    let (one, port) = (&cluster.nodes[0], listen(&cluster, &[]));
    let (mut client, _) = connect(one, port, "-").unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(client.is_echoed(b"who talks stays", PATIENCE));
    }
    assert_eq!(client.hears(PATIENCE), None);
    assert_eq!(*client.state(), State::Closed(Reason::Peer));
    wait_for("its place is free", || (one.status()["nodes"][0]["connections"] == 0).then_some(()));
}

#[test]
fn a_drained_node_takes_no_new_clients_and_says_goodbye_at_the_deadline() {
    let cluster = Cluster::start(1);
    let (one, port) = (&cluster.nodes[0], listen(&cluster, &[]));
    let (mut stays, _) = connect(one, port, "-").unwrap();
    one.run(&["node", "drain", "node-1", "--deadline", "10m", "--no-wait"]).ok();
    let connector = Connector::new(&[]).unwrap();
    let mut late = DtlsClient::begin(&connector, one.listener(port), None, 1500);
    assert!(late.handshake(Duration::from_secs(2)).is_err());
    assert!(stays.is_echoed(b"still here", PATIENCE));
    // Who tried meanwhile comes in as soon as the node serves again.
    one.run(&["node", "resume", "node-1"]).ok();
    late.handshake(PATIENCE).unwrap();
    assert!(stays.is_echoed(b"still here", PATIENCE));
    one.run(&["node", "drain", "node-1", "--deadline", "1s"]).ok();
    for client in [&mut stays, &mut late] {
        assert_eq!(client.hears(PATIENCE), None);
        assert_eq!(*client.state(), State::Closed(Reason::Peer));
    }
    one.run(&["node", "resume", "node-1"]).ok();
    let (mut back, _) = connect(one, port, "-").unwrap();
    assert!(back.is_echoed(b"back", PATIENCE));
    // A listener that is removed ends its sessions, and its port is free at once.
    one.run(&["listener", "remove", "dtls", "--yes"]).ok();
    assert_eq!(back.hears(PATIENCE), None);
    assert_eq!(*back.state(), State::Closed(Reason::Peer));
    UdpSocket::bind(one.listener(port)).unwrap();
}

#[test]
fn upstreams_learn_who_the_client_is_and_one_that_is_gone_is_passed_over() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    add_domain(one, "shop.example");
    let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    upstream.set_read_timeout(Some(PATIENCE)).unwrap();
    let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let port = cluster.free_port();
    let (bind, here) = (format!(":{port}"), format!("udp:{}", upstream.local_addr().unwrap()));
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    let more = ["--upstream", &format!("udp:{gone}"), "--upstream", &here, "--proxy-to", "v2"];
    one.run(&[&words[..], &more].concat()).ok();
    let (mut client, _) = connect(one, port, "shop.example").unwrap();
    let mut buffer = [0; 2048];
    // The first may go to the one that is gone.
    upstream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (count, node) = wait_for("a datagram", || {
        client.say(b"hello");
        upstream.recv_from(&mut buffer).ok()
    });
    let first = &buffer[..count];
    assert_eq!(&first[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x12", "version 2, UDP over IPv4");
    let length = 16 + usize::from(u16::from_be_bytes([first[14], first[15]]));
    assert_eq!(first[length..], *b"hello");
    let header = String::from_utf8_lossy(&first[..length]).into_owned();
    assert!(header.contains("DTLSv1.2") && header.contains("shop.example"), "{header}");
    upstream.send_to(b"answer", node).unwrap();
    assert_eq!(client.hears(PATIENCE).as_deref(), Some(&b"answer"[..]));
    client.say(b"more");
    wait_for("a datagram without a header", || {
        let (count, _) = upstream.recv_from(&mut buffer).ok()?;
        (buffer[..count] == *b"more").then_some(())
    });
}

#[test]
fn what_datagrams_cannot_do_is_said_before_and_refused_by_name() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "shop.example", "--type", "ed25519"]).ok();
    one.run(&["cert", "self-sign", "shop.example"]).ok();
    let port = cluster.free_port();
    let bind = format!(":{port}");
    let upstream = format!("udp:{}", echo_datagrams());
    let words = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &bind];
    let more = ["--upstream", &upstream, "--alpn", "coap", "-o", "json"];
    let done = one.run(&[&words[..], &more].concat()).json();
    assert!(done["warnings"].to_string().contains("shop.example has only an Ed25519"), "{done}");
    assert!(connect(one, port, "shop.example").is_err());
    wait_for("a line", || one.log().contains("cannot verify Ed25519").then_some(()));
    // With a second key it serves; a client that means another protocol is turned away.
    one.run(&["key", "generate", "shop.example", "--type", "rsa-2048"]).ok();
    one.run(&["cert", "self-sign", "shop.example", "--family", "rsa"]).ok();
    connect(one, port, "shop.example").unwrap();
    // TLS may have the same port: UDP's are others.
    let tls = ["listener", "add", "tls", "--bind", &bind, "--upstream", "127.0.0.1:9"];
    one.run(&tls).ok();
    conclave_tests::probe(one.listener(port), "shop.example").unwrap();
    let title = |words: &[&str]| one.run(words).problem()["title"].as_str().unwrap().to_owned();
    let taken = ["listener", "add", "d2", "--protocol", "dtls", "--bind", &bind, "-o", "json"];
    let taken = title(&[&taken[..], &["--upstream", &upstream]].concat());
    assert!(taken.contains("dtls"), "{taken}");
    // No version of DTLS is left when nothing but 1.3 is accepted.
    one.run(&["tls", "set", "--min-version", "1.3"]).ok();
    assert!(connect(one, port, "shop.example").is_err());
    wait_for("a line", || one.log().contains("DTLS is 1.2 here").then_some(()));
}
