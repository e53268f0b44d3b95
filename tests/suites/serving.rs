//! What clients see: names, modes, versions, refusals, bytes.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

use conclave_tests::{Cluster, Pair, Refused, has_program, openssl, probe, probe_stream};
use rustls::AlertDescription;

#[test]
fn the_domain_is_chosen_by_name_and_mode() {
    let cluster = Cluster::start(1);
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    let address = one.listener(port);
    let aliases = ["--alias", "www.shop.example", "--alias", "*.apps.example"];
    one.run(&[&["domain", "create", "shop.example", "--pki", "enabled"][..], &aliases].concat())
        .ok();
    let refused = probe(address, "shop.example").unwrap_err();
    assert_eq!(refused, Refused::Alert(AlertDescription::AccessDenied), "incomplete");
    one.run(&["key", "generate", "shop.example"]).ok();
    one.run(&["cert", "self-sign", "shop.example"]).ok();
    let own = probe(address, "shop.example").unwrap();
    for name in ["www.shop.example", "SHOP.example", "a.apps.example"] {
        assert_eq!(probe(address, name).unwrap(), own, "{name}");
    }
    let main = probe(address, "unknown.example").unwrap();
    assert_ne!(main, own, "an unknown name gets the Main Domain, in test mode");
    assert_eq!(probe(address, "a.b.apps.example").unwrap(), main, "a wildcard covers one part");
    assert_eq!(probe(address, "-").unwrap(), main, "no name");
    one.run(&["domain", "set", "shop.example", "--pki", "test"]).ok();
    assert_eq!(probe(address, "shop.example").unwrap(), main, "test mode: the node's certificate");
    one.run(&["domain", "set", "shop.example", "--pki", "disabled"]).ok();
    let refused = probe(address, "shop.example").unwrap_err();
    assert_eq!(refused, Refused::Alert(AlertDescription::AccessDenied), "disabled");
    one.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
    assert_eq!(probe(address, "shop.example").unwrap(), own, "key and certificate were kept");
    one.run(&["domain", "delete", "node-1.main", "--yes"]).ok();
    let refused = probe(address, "unknown.example").unwrap_err();
    assert_eq!(refused, Refused::Alert(AlertDescription::UnrecognisedName), "no Main Domain");
    assert!(one.log().contains("tls.refused"), "refusals are logged");
}

#[test]
fn both_versions_carry_bytes_and_each_direction_ends_by_itself() {
    let cluster = Cluster::start(1);
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (_, mut stream) = probe_stream(one.listener(port), "node-1.main", &[version]).unwrap();
        let sent: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
        let mut got = vec![0; sent.len()];
        for (part, back) in sent.chunks(10_000).zip(got.chunks_mut(10_000)) {
            stream.write_all(part).unwrap();
            stream.read_exact(back).unwrap();
        }
        assert_eq!(sent, got);
        // The client ends its direction; the upstream notices, and its last words arrive.
        stream.conn.send_close_notify();
        stream.conn.write_tls(&mut stream.sock).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bye");
    }
}

#[test]
fn a_dead_upstream_ends_the_connection_cleanly() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let (port, dead) = (cluster.free_port(), cluster.free_port());
    let (bind, upstream) = (format!(":{port}"), format!("127.0.0.1:{dead}"));
    one.run(&["listener", "add", "dead", "--bind", &bind, "--upstream", &upstream]).ok();
    let (_, mut stream) =
        probe_stream(one.listener(port), "node-1.main", rustls::ALL_VERSIONS).unwrap();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap(), 0, "close_notify, not a cut");
    one.run(&["listener", "remove", "dead", "--yes"]).ok();
    assert!(probe(one.listener(port), "node-1.main").is_err(), "the socket is closed");
}

/// A file under `dir` that holds these bytes.
fn holder_of(dir: &Path, bytes: &[u8]) -> Option<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| {
        if path.is_dir() {
            return holder_of(&path, bytes);
        }
        let content = std::fs::read(&path).unwrap();
        content.windows(bytes.len()).any(|part| part == bytes).then_some(path)
    })
}

#[test]
fn the_test_certificate_is_made_afresh_at_each_start() {
    let mut cluster = Cluster::start(1);
    let port = cluster.listen();
    let address = cluster.nodes[0].listener(port);
    let before = probe(address, "node-1.main").unwrap();
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    let after = conclave_tests::wait_for("it serves again", || probe(address, "node-1.main").ok());
    assert_ne!(before, after);
    assert_eq!(after.chain.len(), 2, "with the test authority behind it");
    for der in after.chain.iter().chain(&before.chain) {
        let holder = holder_of(&cluster.nodes[0].dir.join("data"), der);
        assert_eq!(holder, None, "it is never stored");
    }
    if !has_program("openssl") {
        return;
    }
    let leaf = cluster.nodes[0].file("leaf.der", &after.chain[0]);
    let text = openssl(&["x509", "-inform", "der", "-in", &leaf, "-noout", "-subject", "-issuer"]);
    assert!(text.contains("subject=CN = node-1.main"), "{text}");
    assert!(text.contains("issuer=CN = Conclave"), "{text}");
    let days = 24 * 60 * 60;
    let ends = |seconds: i64| {
        let seconds = seconds.to_string();
        let words = ["x509", "-inform", "der", "-in", &leaf, "-noout", "-checkend", &seconds];
        std::process::Command::new("openssl").args(words).output().unwrap().status.code()
    };
    assert_eq!((ends(30 * days - 600), ends(30 * days + 600)), (Some(0), Some(1)), "30 days");
}

#[test]
fn local_domains_stay_on_their_node_and_shared_ones_win() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let [one, two, _] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["domain", "create", "own.example", "--scope", "local", "--pki", "enabled"]).ok();
    let pair = Pair::make("own.example");
    let (certificate, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "own.example", &certificate, "--key", &key]).ok();
    let shown = probe(one.listener(port), "own.example").unwrap();
    assert_eq!(shown.chain[0], pair.der);
    assert_ne!(probe(two.listener(port), "own.example").unwrap().chain[0], pair.der);
    assert_eq!(two.run(&["domain", "show", "own.example"]).code, 3);
    two.run(&["domain", "create", "own.example", "--pki", "test"]).ok();
    assert_ne!(probe(one.listener(port), "own.example").unwrap().chain[0], pair.der);
    let listed = one.run(&["domain", "list", "-o", "json"]).ok();
    assert!(listed.contains("a shared domain of this name is served instead"), "{listed}");
}
