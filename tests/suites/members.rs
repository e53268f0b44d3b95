//! Members leave, are replaced and change their role, on real processes.

use std::net::{IpAddr, Ipv4Addr};

use conclave_tests::{Cluster, Node, wait_for};

fn names(node: &Node) -> Vec<String> {
    let status = node.status();
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

fn role(node: &Node, name: &str) -> String {
    let status = node.status();
    let mut nodes = status["nodes"].as_array().unwrap().iter();
    let found = nodes.find(|one| one["name"] == name);
    found.map_or_else(String::new, |one| one["role"].as_str().unwrap().to_owned())
}

fn voters(node: &Node) -> u64 {
    node.status()["cluster"]["voters"].as_u64().unwrap()
}

/// Waits until nothing is sealed under an earlier generation.
fn only_generation(node: &Node) -> u64 {
    wait_for("one generation of the keyring", || {
        let keyring = node.run(&["keyring", "status", "-o", "json"]).json();
        (keyring["generations"] == 1).then(|| keyring["generation"].as_u64().unwrap())
    })
}

fn new_node(cluster: &Cluster, name: &str, number: u8) -> Node {
    let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, number));
    let dir = cluster.dir.path().join("new");
    let mut node = Node::new(&dir, name, address, "info");
    node.start();
    node
}

fn join(cluster: &Cluster, node: &Node, more: &[&str]) -> conclave_tests::Ran {
    let (token, member) = (cluster.join_token(node), cluster.nodes[0].quic.to_string());
    let words = ["--timeout", "60s", "cluster", "join", &member, "--token-file", &token];
    node.run(&[&words[..], more].concat())
}

#[test]
fn a_removed_node_is_out_and_its_disk_opens_nothing_later() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["domain", "create", "early.example"]).ok();
    one.run(&["key", "generate", "early.example"]).ok();
    let itself = three.run(&["node", "remove", "node-3", "--yes"]);
    assert_eq!(itself.code, 2, "{}", itself.err);
    let unknown = one.run(&["node", "remove", "node-9", "--yes", "-o", "json"]);
    assert_eq!((unknown.code, unknown.problem()["code"].as_str()), (3, Some("J007")));
    let before = one.run(&["keyring", "status", "-o", "json"]).json()["generation"].as_u64();
    let told = one.run(&["node", "remove", "node-3", "--yes"]);
    assert_eq!(told.code, 0, "{}{}", told.out, told.err);
    assert!(told.err.contains("--exposed-to node-3"), "{}", told.err);
    assert_eq!(names(one), ["node-1", "node-2"]);
    wait_for("two voters", || (voters(two) == 2).then_some(()));
    // Everything is sealed anew under a generation that node-3 never got.
    let after = only_generation(one);
    assert!(Some(after) > before, "{after} {before:?}");
    let tested = two.run(&["key", "test", "early.example"]);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    one.run(&["domain", "create", "late.example"]).ok();
    one.run(&["key", "generate", "late.example"]).ok();
    let late = three.run(&["--timeout", "2s", "domain", "show", "late.example", "--stale"]);
    assert_ne!(late.code, 0, "it is not replicated to any more: {}", late.out);
    let change = three.run(&["--timeout", "2s", "domain", "create", "mine.example"]);
    assert_ne!(change.code, 0, "it orders nothing any more");
    // The keys that it may have kept.
    let exposed = one.run(&["domain", "list", "--exposed-to", "node-3", "-o", "name"]).ok();
    assert_eq!(exposed.trim(), "early.example");
    assert_eq!(one.run(&["domain", "list", "--exposed-to", "node-7"]).code, 3);
    let again = one.run(&["node", "remove", "node-3", "--yes", "--if-exists"]);
    assert_eq!(again.code, 0, "{}", again.err);
}

#[test]
fn a_lost_machine_is_replaced_under_its_name() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[0].run(&["domain", "create", "shop.example"]).ok();
    cluster.nodes[0].run(&["key", "generate", "shop.example"]).ok();
    // While it answers it is not lost.
    let early = new_node(&cluster, "node-3", 13);
    let refused = join(&cluster, &early, &["--replace", "node-3"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("it is not gone"), "{}", refused.err);
    let named = join(&cluster, &early, &[]);
    assert_eq!(named.code, 4, "{}", named.err);
    assert!(named.err.contains("conclave node remove node-3"), "{}", named.err);
    cluster.nodes[2].kill();
    let one = &cluster.nodes[0];
    wait_for("the silence of node-3", || {
        let status = one.status();
        let node = status["nodes"].as_array().unwrap().iter().find(|one| one["name"] == "node-3");
        (node.unwrap()["state"] == "unreachable").then_some(())
    });
    join(&cluster, &early, &["--replace", "node-3", "--zone", "rack-7"]).ok();
    assert_eq!(names(one), ["node-1", "node-2", "node-3"]);
    wait_for("three voters", || {
        (voters(one) == 3 && role(one, "node-3") == "follower").then_some(())
    });
    assert_eq!(one.status()["nodes"][2]["zone"], "rack-7");
    only_generation(one);
    let tested = early.run(&["key", "test", "shop.example"]);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    // One more may fail: the lost one does not count any more.
    cluster.nodes[1].kill();
    cluster.nodes[0].run(&["--timeout", "30s", "domain", "create", "more.example"]).ok();
}

#[test]
fn learners_get_everything_do_not_vote_and_are_promoted() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let two = new_node(&cluster, "node-2", 2);
    let told = join(&cluster, &two, &["--learner"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert_eq!(role(one, "node-2"), "learner");
    one.run(&["domain", "create", "shop.example"]).ok();
    two.run(&["domain", "show", "shop.example"]).ok();
    two.run(&["node", "promote", "node-2"]).ok();
    assert_eq!((role(one, "node-2").as_str(), voters(one)), ("follower", 2));
    assert_eq!(one.run(&["node", "promote", "node-2", "-o", "json"]).json()["changed"], false);
    two.run(&["node", "demote", "node-2"]).ok();
    assert_eq!((role(one, "node-2").as_str(), voters(one)), ("learner", 1));
    let last = two.run(&["node", "demote", "node-1", "-o", "json"]);
    assert_eq!((last.code, last.problem()["code"].as_str()), (4, Some("R012")));
    one.run(&["node", "set", "node-2", "--zone", "rack-1"]).ok();
    assert_eq!(one.status()["nodes"][1]["zone"], "rack-1");
    // The leader may leave too, once another voter is there.
    two.run(&["node", "promote", "node-2"]).ok();
    two.run(&["--timeout", "60s", "node", "remove", "node-1", "--yes"]).ok();
    assert_eq!((names(&two).len(), voters(&two)), (1, 1));
    two.run(&["domain", "create", "after.example"]).ok();
}

#[test]
fn a_voter_that_the_others_need_is_not_removed() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[2].kill();
    let one = &cluster.nodes[0];
    wait_for("the silence of node-3", || {
        let status = one.status();
        let node = status["nodes"].as_array().unwrap().iter().find(|one| one["name"] == "node-3");
        (node.unwrap()["state"] == "unreachable").then_some(())
    });
    let refused = one.run(&["node", "remove", "node-2", "--yes", "-o", "json"]);
    let problem = refused.problem();
    assert_eq!((refused.code, problem["code"].as_str()), (4, Some("R012")), "{problem}");
    assert!(problem["title"].as_str().unwrap().contains("only 1 of the 2"), "{problem}");
    assert_eq!(names(one).len(), 3);
    one.run(&["node", "remove", "node-3", "--yes"]).ok();
    assert_eq!(names(one), ["node-1", "node-2"]);
}

/// A few learners; `CONCLAVE_LEARNERS=50` has as many as a large installation.
#[test]
fn many_learners_get_every_change() {
    let count: u8 =
        std::env::var("CONCLAVE_LEARNERS").map_or(6, |text| text.parse().expect("a number"));
    let cluster = Cluster::start(3);
    let dir = cluster.dir.path().join("learners");
    let mut learners = Vec::new();
    for number in 1..=count {
        let address = IpAddr::from(Ipv4Addr::new(127, 0, 7, number));
        let mut node = Node::new(&dir, &format!("learner-{number}"), address, "info");
        node.start();
        let told = join(&cluster, &node, &["--learner", "--zone", &format!("rack-{}", number % 4)]);
        assert_eq!(told.code, 0, "{}{}", told.out, told.err);
        learners.push(node);
    }
    let one = &cluster.nodes[0];
    let pair = conclave_tests::Pair::make("wide.example");
    let (bundle, key) = one.pair_files(&pair);
    one.run(&["domain", "create", "wide.example", "--pki", "enabled"]).ok();
    let begun = std::time::Instant::now();
    let import = ["--timeout", "60s", "cert", "import", "wide.example", &bundle, "--key", &key];
    let told = one.run(&[&import[..], &["-o", "json"]].concat()).json();
    let served = told["served"]["nodes"].as_array().unwrap().len();
    println!("{count} learners: served by {served} nodes after {:?}", begun.elapsed());
    for node in &learners {
        wait_for("the change on a learner", || {
            let shown = node.run(&["--stale", "cert", "show", "wide.example", "-o", "json"]);
            (shown.code == 0).then_some(())
        });
    }
    let status = one.status();
    assert_eq!(status["cluster"]["learners"], count, "{}", status["cluster"]);
    assert_eq!(status["cluster"]["voters"], 3);
}
