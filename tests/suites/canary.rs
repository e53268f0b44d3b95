//! A new certificate on one node first, and then everywhere or nowhere.

use conclave_tests::{Cluster, Node, Pair, probe, wait_for};
use serde_json::Value;

const SHOP: &str = "shop.example";

/// Nodes with a domain and its first certificate.
fn cluster(count: u8) -> (Cluster, Pair) {
    let (cluster, pair) = (Cluster::start(count), Pair::make(SHOP));
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", SHOP, "--pki", "enabled"]).ok();
    import(one, &pair, &[]);
    (cluster, pair)
}

fn import(node: &Node, pair: &Pair, more: &[&str]) -> Value {
    let (bundle, key) = node.pair_files(pair);
    let words = ["cert", "import", SHOP, &bundle, "--key", &key, "-o", "json"];
    node.run(&[&words[..], more].concat()).json()
}

/// The certificate that a client of this node is shown.
fn shown(node: &Node, port: u16) -> Vec<u8> {
    probe(node.listener(port), SHOP).unwrap().chain.remove(0)
}

fn domain(node: &Node) -> Value {
    node.run(&["domain", "show", SHOP, "-o", "json"]).json()
}

fn end(node: &Node, how: &str) -> Value {
    node.run(&["cert", "canary", SHOP, how, "-o", "json"]).json()
}

#[test]
fn one_node_serves_it_first_and_then_every_node() {
    let (cluster, old) = cluster(3);
    let (port, new) = (cluster.listen(), Pair::make(SHOP));
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let before = domain(one)["version"].clone();
    let soak = ["--canary", "node-2", "--soak", "1h", "--reason", "tried first"];
    let made = import(one, &new, &soak);
    assert_eq!(made["version"], before, "no version yet: {made}");
    let served = made["served"]["nodes"].as_array().unwrap();
    assert_eq!(served.len(), 3, "{made}");
    let all = || [one, two, three].map(|node| shown(node, port));
    assert_eq!(all(), [&old.der, &new.der, &old.der].map(Clone::clone));
    assert_eq!(domain(three)["canary"]["node"], "node-2");
    assert_eq!(three.status()["canaries"][0]["domain"], SHOP);
    let (bundle, key) = one.pair_files(&Pair::make(SHOP));
    let words = ["cert", "import", SHOP, &bundle, "--key", &key, "--canary", "node-3"];
    let refused = one.run(&[&words[..], &["-o", "json"]].concat()).problem();
    assert_eq!(refused["code"], "V002", "{refused}");

    end(three, "--stop");
    assert_eq!(all(), [&old.der, &old.der, &old.der].map(Clone::clone), "stopped");
    assert_eq!(domain(one)["version"], before);

    import(one, &new, &["--canary", "node-2", "--soak", "8s", "--reason", "tried first"]);
    assert_eq!(all(), [&old.der, &new.der, &old.der].map(Clone::clone));
    // Its keys move to the next generation like all others.
    one.run(&["keyring", "rotate"]).ok();
    wait_for("the new certificate on every node", || {
        assert_eq!(shown(two, port), new.der, "without a gap");
        (all() == [&new.der, &new.der, &new.der].map(Clone::clone)).then_some(())
    });
    let after = domain(one);
    assert_eq!(after["canary"], Value::Null);
    assert_eq!(after["version"].as_u64(), before.as_u64().map(|before| before + 1));
    assert_eq!(after["reason"], "tried first");
    let logs = cluster.nodes.iter().filter(|node| node.log().contains("canary.promoted"));
    assert_eq!(logs.count(), 1, "one node ordered it");
    cluster.wait_quiet();
}

#[test]
fn every_node_keeps_the_old_one_if_the_first_node_fails() {
    let (mut cluster, old) = cluster(3);
    let (port, new) = (cluster.listen(), Pair::make(SHOP));
    let before = domain(&cluster.nodes[0])["version"].clone();
    import(&cluster.nodes[0], &new, &["--canary", "node-2", "--soak", "1h"]);
    assert_eq!(shown(&cluster.nodes[1], port), new.der);
    cluster.nodes[1].kill();
    let others = [0, 2].map(|place| &cluster.nodes[place]);
    wait_for("the end of the canary", || {
        let shown = others[0].run(&["domain", "show", SHOP, "-o", "json"]);
        (shown.code == 0 && shown.json()["canary"] == Value::Null).then_some(())
    });
    for node in others {
        assert_eq!(shown(node, port), old.der, "{}", node.name);
    }
    let said = others.iter().filter(|node| node.log().contains("canary.stopped"));
    assert_eq!(said.count(), 1, "one node ordered it");
    cluster.nodes[1].start();
    wait_for("the old certificate", || (shown(&cluster.nodes[1], port) == old.der).then_some(()));
    assert_eq!(domain(&cluster.nodes[1])["version"], before);
}

#[test]
fn without_a_listener_the_node_speaks_for_itself() {
    let (cluster, _) = cluster(2);
    let one = &cluster.nodes[0];
    let refused = |more: &[&str]| {
        let (bundle, key) = one.pair_files(&Pair::make(SHOP));
        let words = ["cert", "import", SHOP, &bundle, "--key", &key, "-o", "json"];
        one.run(&[&words[..], more].concat()).problem()["code"].clone()
    };
    assert_eq!(refused(&["--canary", "node-9"]), "J007");
    assert_eq!(refused(&["--canary", "node-1", "--soak", "8d"]), "X004");
    let new = Pair::make(SHOP);
    let tried = import(one, &new, &["--canary", "node-1", "--soak", "1s", "--dry-run"]);
    assert!(tried["dry_run"]["differences"].as_array().is_some_and(|all| !all.is_empty()));
    let made = import(one, &new, &["--canary", "node-1", "--soak", "1s"]);
    assert!(made["warnings"].to_string().contains("no listener"), "{made}");
    wait_for("the next version", || {
        let (now, before) = (domain(one)["version"].as_u64(), made["version"].as_u64());
        (now == before.map(|before| before + 1)).then_some(())
    });
    import(one, &Pair::make(SHOP), &["--canary", "node-2"]);
    let promoted = end(one, "--promote");
    assert_eq!(promoted["version"].as_u64(), made["version"].as_u64().map(|version| version + 2));
    let words = ["cert", "canary", SHOP, "--stop", "-o", "json"];
    assert_eq!(one.run(&words).problem()["code"], "X005");
}
