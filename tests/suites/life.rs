//! The whole life of a cluster in one script, on real processes. A TLS and a DTLS client of every
//! node go on through all of it, and must not notice.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
};

use conclave_store::record::LEVEL_MAX;
use conclave_tests::{
    Node, Pair, Traffic, binary, earlier_program, echo_datagrams, echo_upstream, probe,
    probe_stream, run_alone, wait_for,
};
use tempfile::TempDir;

const DOMAIN: &str = "shop.example";
/// Nodes have the addresses 127.0.0.1 to this.
const ADDRESSES: u8 = 9;

/// A node, and its clients while they are at work.
struct Place {
    node: Node,
    traffic: Option<Traffic>,
}

struct Life {
    places: Vec<Place>,
    pair: Pair,
    /// Ports of the listeners for TLS and DTLS.
    ports: [u16; 2],
    handshakes: [u64; 2],
    dir: TempDir,
}

/// A port that is free for TCP and UDP.
fn free_port() -> u16 {
    let addresses = (1..=ADDRESSES).map(|number| Ipv4Addr::new(127, 0, 0, number).into());
    conclave_tests::free_port(&addresses.collect::<Vec<_>>())
}

impl Life {
    /// One node of the program, with a domain and two listeners.
    fn begin(program: PathBuf) -> Life {
        let dir = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port()];
        let pair = Pair::make(DOMAIN);
        let mut life = Life { places: Vec::new(), pair, ports, handshakes: [0; 2], dir };
        life.add_node(1, "node-1", program);
        let one = life.node(0);
        one.run(&["cluster", "init", "--name", "life"]).ok();
        let (bundle, key) = one.pair_files(&life.pair);
        one.run(&["domain", "create", DOMAIN, "--pki", "enabled"]).ok();
        one.run(&["cert", "import", DOMAIN, &bundle, "--key", &key]).ok();
        let (binds, upstreams) = (
            life.ports.map(|port| format!(":{port}")),
            [echo_upstream().to_string(), format!("udp:{}", echo_datagrams())],
        );
        one.run(&["listener", "add", "tls", "--bind", &binds[0], "--upstream", &upstreams[0]]).ok();
        let dtls = ["listener", "add", "dtls", "--protocol", "dtls", "--bind", &binds[1]];
        one.run(&[&dtls[..], &["--upstream", &upstreams[1]]].concat()).ok();
        life.watch(0);
        life
    }

    fn node(&self, place: usize) -> &Node {
        &self.places[place].node
    }

    /// Starts a node that belongs to no cluster yet.
    fn add_node(&mut self, number: u8, name: &str, program: PathBuf) {
        let dir = self.dir.path().join(number.to_string());
        let mut node = Node::new(&dir, name, Ipv4Addr::new(127, 0, 0, number).into(), "info");
        node.program = program;
        node.start();
        self.places.push(Place { node, traffic: None });
    }

    fn join(&self, place: usize, more: &[&str]) {
        let made = self.node(0).run(&["join-token", "create", "-o", "json"]).json();
        let node = self.node(place);
        let token = node.file("token", made["token"].as_str().unwrap().as_bytes());
        let member = self.node(0).quic.to_string();
        let words = ["--timeout", "60s", "cluster", "join", &member, "--token-file", &token];
        node.run(&[&words[..], more].concat()).ok();
    }

    /// Lets clients loose on a node that serves.
    fn watch(&mut self, place: usize) {
        let addresses: [SocketAddr; 2] = self.ports.map(|port| self.node(place).listener(port));
        wait_for("the domain on a new node", || {
            let shown = probe(addresses[0], DOMAIN).ok()?;
            (shown.chain[0] == self.pair.der).then_some(())
        });
        self.places[place].traffic = Some(Traffic::start(addresses[0], addresses[1]));
    }

    /// Does something to a node that its clients may notice.
    fn while_away(&mut self, place: usize, act: impl FnOnce(&mut Node)) {
        let Place { node, traffic } = &mut self.places[place];
        traffic.as_ref().unwrap().away();
        act(node);
        let address = node.listener(self.ports[0]);
        wait_for("the node serves again", || probe(address, DOMAIN).ok().map(drop));
        traffic.as_ref().unwrap().back();
    }

    /// Ends the clients of a node that leaves. None of their handshakes may have failed.
    fn leave(&mut self, place: usize) {
        let traffic = self.places[place].traffic.take().unwrap();
        let done = traffic.end();
        assert!(done.iter().all(|count| *count > 0), "{done:?}");
        self.handshakes = [0, 1].map(|of| self.handshakes[of] + done[of]);
    }

    /// A change through a node, which all others then have.
    fn change(&self, place: usize, name: &str) {
        self.node(place).run(&["--timeout", "60s", "domain", "create", name]).ok();
    }

    fn settled(&self, place: usize, count: usize) {
        wait_for("all nodes in step", || {
            let status = self.node(place).status();
            let nodes = status["nodes"].as_array()?;
            let is_ready = nodes.iter().all(|node| node["state"] == "ready");
            (nodes.len() == count && is_ready).then_some(())
        });
    }
}

#[test]
fn nobody_notices_the_whole_life_of_a_cluster() {
    let present = binary("conclave");
    let earlier = earlier_program("0.4.0").unwrap_or_else(|| present.clone());
    let mut life = Life::begin(earlier.clone());
    for number in 2..=5 {
        let name = format!("node-{number}");
        life.add_node(number, &name, earlier.clone());
        let place = usize::from(number) - 1;
        life.join(place, &[]);
        life.watch(place);
    }
    life.settled(0, 5);
    life.change(1, "five.example");
    upgrade(&mut life, &present);
    for number in [6, 7] {
        life.add_node(number, &format!("node-{number}"), present.clone());
        life.join(usize::from(number) - 1, &["--learner"]);
        life.watch(usize::from(number) - 1);
    }
    life.settled(0, 7);
    drain(&mut life, 1);
    // One leaves.
    life.leave(4);
    life.node(0).run(&["node", "remove", "node-5", "--yes"]).ok();
    life.places[4].node.stop();
    life.settled(0, 6);
    // One dies, and another machine takes its name.
    life.places[3].traffic.as_ref().unwrap().away();
    life.leave(3);
    life.places[3].node.kill();
    wait_for("node-4 to be known as gone", || {
        let status = life.node(0).status();
        let mut nodes = status["nodes"].as_array()?.iter();
        let gone = nodes.find(|node| node["name"] == "node-4")?["state"] == "unreachable";
        gone.then_some(())
    });
    life.add_node(8, "node-4", present);
    life.join(7, &["--replace", "node-4"]);
    life.watch(7);
    life.settled(0, 6);
    // One moves.
    life.while_away(2, |node| {
        node.stop();
        let quic = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 103), 0)).unwrap();
        node.move_to(quic.local_addr().unwrap());
        drop(quic);
        node.start();
    });
    life.settled(0, 6);
    life.change(2, "moved.example");
    turn_keys(&life);
    let (backup, key) = back_up(&life);
    lose_the_quorum(&mut life);
    life.leave(0);
    for place in &mut life.places {
        drop(place.traffic.take());
        place.node.kill();
    }
    restore(&mut life, &backup, &key);
    println!("{:?} handshakes of TLS and DTLS, 0 failed", life.handshakes);
}

/// Every node gets the present program, one after another.
fn upgrade(life: &mut Life, present: &PathBuf) {
    for place in 0..life.places.len() {
        life.while_away(place, |node| {
            node.stop();
            node.program.clone_from(present);
            node.start();
        });
        life.settled(0, 5);
    }
    wait_for("the end of the upgrade", || {
        let upgrade = life.node(0).run(&["cluster", "upgrade", "-o", "json"]).json();
        (upgrade["level"] == LEVEL_MAX && upgrade["finalized"] == true).then_some(())
    });
    life.change(4, "upgraded.example");
}

/// A drained node finishes its connections and takes no others until it is resumed.
fn drain(life: &mut Life, place: usize) {
    let address = life.node(place).listener(life.ports[0]);
    let (_, mut open) = probe_stream(address, DOMAIN, rustls::ALL_VERSIONS).unwrap();
    exchange(&mut open);
    life.while_away(place, |node| {
        let name = node.name.clone();
        node.run(&["node", "drain", &name, "--deadline", "60s", "--no-wait"]).ok();
        wait_for("no new connections", || probe(address, DOMAIN).is_err().then_some(()));
        exchange(&mut open);
        open.conn.send_close_notify();
        open.flush().unwrap();
        let mut rest = Vec::new();
        open.read_to_end(&mut rest).unwrap();
        node.run(&["node", "resume", &name]).ok();
    });
}

fn exchange(open: &mut (impl Read + Write)) {
    let mut echo = [0; 13];
    open.write_all(b"are you there").unwrap();
    open.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"are you there");
}

/// A new generation of the keyring, and another authority.
fn turn_keys(life: &Life) {
    let one = life.node(0);
    one.run(&["--timeout", "60s", "keyring", "rotate"]).ok();
    one.wait_quiet();
    one.run(&["--timeout", "60s", "cluster", "rotate-authority"]).ok();
    one.run(&["--timeout", "60s", "cluster", "rotate-authority", "--finish", "--yes"]).ok();
    life.change(1, "turned.example");
}

/// Makes a backup. Returns the paths of the file and of the key that opens it.
fn back_up(life: &Life) -> (String, String) {
    let node = life.node(2);
    let path = |name: &str| node.dir.join(name).display().to_string();
    let (file, key) = (path("life.backup"), path("life.key"));
    let made = node.run(&["backup", "keygen", "--out", &key, "-o", "json"]).json();
    let recipient = made["recipient"].as_str().unwrap();
    node.run(&["backup", "create", "--recipient", recipient, "--out", &file]).ok();
    (file, key)
}

/// Three of four voters are lost, and the last one goes on alone.
fn lose_the_quorum(life: &mut Life) {
    for place in [1, 2, 7, 5, 6] {
        life.leave(place);
        life.places[place].node.kill();
    }
    life.while_away(0, |node| {
        node.kill();
        let config = node.dir.join("node.toml").display().to_string();
        run_alone(&["cluster", "recover", "--config", &config, "--yes"]).ok();
        node.start();
    });
    life.change(0, "recovered.example");
    let all = life.node(0).run(&["domain", "list", "--scope", "shared", "-o", "name"]).ok();
    for name in [DOMAIN, "five.example", "upgraded.example", "moved.example", "turned.example"] {
        assert!(all.lines().any(|line| line == name), "{name}: {all}");
    }
}

/// Everything is gone, and a backup becomes another cluster.
fn restore(life: &mut Life, backup: &str, key: &str) {
    life.add_node(9, "elsewhere", binary("conclave"));
    let place = life.places.len() - 1;
    let node = life.node(place);
    node.run(&["--timeout", "60s", "backup", "restore", backup, "--identity", key]).ok();
    life.watch(place);
    life.change(place, "restored.example");
    life.leave(place);
}
