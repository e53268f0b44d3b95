//! Addresses, aliases and Main Domains of three nodes together (A17).

use conclave_tests::{Cluster, Pair, probe};

#[test]
fn names_addresses_and_main_domains_choose_the_domain_on_each_node() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    // Each node's Main Domain has its own certificate, and is its own.
    let mains: Vec<Pair> = cluster
        .nodes
        .iter()
        .map(|node| {
            let name = format!("{}.main", node.name);
            let pair = Pair::make(&name);
            let (bundle, key) = node.pair_files(&pair);
            node.run(&["cert", "import", &name, &bundle, "--key", &key]).ok();
            node.run(&["domain", "set", &name, "--pki", "enabled"]).ok();
            pair
        })
        .collect();
    // A shared domain for the address of the second node only, with aliases.
    let shop = Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&shop);
    let address = cluster.nodes[1].address.to_string();
    let aliases = ["--alias", "www.shop.example", "--alias", "*.apps.example"];
    let create = ["domain", "create", "shop.example", "--pki", "enabled", "--ip", &address];
    one.run(&[&create[..], &aliases].concat()).ok();
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    let leaf = |node: &conclave_tests::Node, name: &str| {
        probe(node.listener(port), name).unwrap().chain[0].clone()
    };
    for (node, main) in cluster.nodes.iter().zip(&mains) {
        for name in ["shop.example", "WWW.shop.example", "a.apps.example"] {
            assert_eq!(leaf(node, name), shop.der, "{name} on {}", node.name);
        }
        assert_eq!(leaf(node, &format!("{}.main", node.name)), main.der);
        // No name, or one that nobody has: the address counts, then the Main Domain.
        let expected = if node.address.to_string() == address { &shop.der } else { &main.der };
        for name in ["-", "unknown.example"] {
            assert_eq!(&leaf(node, name), expected, "{name} on {}", node.name);
        }
    }
    // The name of another node's Main Domain means nothing on this one.
    assert_eq!(leaf(one, "node-2.main"), mains[0].der);
    // An address can move, and an alias can go, without the others.
    let other = cluster.nodes[2].address.to_string();
    one.run(&["domain", "set", "shop.example", "--ip", &other]).ok();
    assert_eq!(leaf(&cluster.nodes[1], "-"), mains[1].der);
    assert_eq!(leaf(&cluster.nodes[2], "-"), shop.der);
    let change = ["--remove", "www.shop.example", "--add", "shop.test", "--add", "shop2.test"];
    one.run(&[&["domain", "alias", "shop.example"][..], &change].concat()).ok();
    let shown = cluster.nodes[2].run(&["domain", "show", "shop.example", "-o", "json"]).json();
    assert_eq!(shown["aliases"], serde_json::json!(["*.apps.example", "shop.test", "shop2.test"]));
    for (node, main) in cluster.nodes.iter().zip(&mains) {
        assert_eq!(leaf(node, "shop2.test"), shop.der);
        let expected = if node.address.to_string() == other { &shop.der } else { &main.der };
        assert_eq!(&leaf(node, "www.shop.example"), expected, "on {}", node.name);
    }
    let gone = ["domain", "alias", "shop.example", "--remove", "www.shop.example", "-o", "json"];
    let refused = one.run(&gone);
    assert_eq!((refused.problem()["code"].as_str(), refused.code), (Some("D002"), 3));
}

#[test]
fn a_local_domain_has_all_the_settings_of_a_shared_one() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let [one, two, _] = &cluster.nodes[..] else { panic!("three nodes") };
    let local = |words: &[&str]| one.run(&[words, &["--scope", "local"]].concat()).ok();
    local(&["domain", "create", "own.example", "--pki", "enabled"]);
    local(&["key", "generate", "own.example"]);
    let tested: serde_json::Value =
        serde_json::from_str(&local(&["key", "test", "own.example", "-o", "json"])).unwrap();
    assert_eq!(tested["items"].as_array().unwrap().len(), 1, "on its own node only: {tested}");
    assert!(local(&["csr", "create", "own.example"]).contains("BEGIN CERTIFICATE REQUEST"));
    local(&["cert", "self-sign", "own.example", "--reason", "first"]);
    let first = probe(one.listener(port), "own.example").unwrap();
    local(&["cert", "refresh", "own.example", "--days", "9"]);
    assert_ne!(probe(one.listener(port), "own.example").unwrap(), first);
    assert!(local(&["domain", "history", "own.example"]).contains("first"));
    local(&["domain", "rollback", "own.example", "3"]);
    assert_eq!(probe(one.listener(port), "own.example").unwrap(), first);
    local(&["domain", "alias", "own.example", "--add", "www.own.example"]);
    assert_eq!(probe(one.listener(port), "www.own.example").unwrap(), first);
    let pair = Pair::make("own.example");
    let (bundle, key) = one.pair_files(&pair);
    local(&["cert", "import", "own.example", &bundle, "--key", &key]);
    let issuer = one.file("issuer.pem", pair.chain.as_bytes());
    local(&["chain", "remove", "own.example", "--yes"]);
    local(&["chain", "set", "own.example", &issuer]);
    one.run(&["trust", "add", "--scope", "domain:own.example", &issuer]).ok();
    let shown = local(&["domain", "show", "own.example"]);
    assert!(shown.contains("leads to CN=Test Issuer (domain trust)"), "{shown}");
    local(&["domain", "rename", "own.example", "mine.example"]);
    let renamed = probe(one.listener(port), "mine.example").unwrap();
    assert_eq!(renamed.chain, [pair.der, pair.chain_der]);
    assert_eq!(two.run(&["domain", "show", "mine.example"]).code, 3, "nobody else has it");
    local(&["cert", "remove", "mine.example", "--yes"]);
    local(&["key", "remove", "mine.example", "--yes"]);
    local(&["domain", "delete", "mine.example", "--yes"]);
}

#[test]
fn the_name_of_any_nodes_main_domain_is_never_shared() {
    let mut cluster = Cluster::start(3);
    let refused = |node: &conclave_tests::Node, words: &[&str]| {
        let ran = node.run(&[words, &["-o", "json"]].concat());
        assert_eq!((ran.problem()["code"].as_str(), ran.code), (Some("D003"), 4), "{words:?}");
        ran.problem()["title"].as_str().unwrap().to_owned()
    };
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example"]).ok();
    assert!(!one.log().contains("main_domain_taken"), "{}", one.log());
    for main in ["node-1.main", "node-2.main", "node-3.main"] {
        for node in [one, two, three] {
            let title = refused(node, &["domain", "create", main, "--scope", "shared"]);
            assert!(title.contains(&main[..6]) && title.contains("Main Domain"), "{title}");
            refused(node, &["domain", "rename", "shop.example", main, "--scope", "shared"]);
            refused(node, &["domain", "alias", "shop.example", "--add", main]);
            refused(node, &["domain", "create", main, "--scope", "shared", "--dry-run"]);
        }
    }
    refused(one, &["domain", "rename", "node-1.main", "other.main", "--scope", "local"]);
    // Another name in the configuration counts after the restart, and frees the old one.
    let config = two.dir.join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("node-2.main", "node-2.new")).unwrap();
    cluster.nodes[1].kill();
    cluster.nodes[1].start();
    let one = &cluster.nodes[0];
    conclave_tests::wait_for("the new name is known", || {
        let ran = one.run(&["domain", "create", "node-2.new", "--dry-run"]);
        (ran.code == 4).then_some(())
    });
    one.run(&["domain", "create", "node-2.main"]).ok();
    // A name that is shared already: the node says so, and goes on.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("node-2.new", "shop.example")).unwrap();
    cluster.nodes[1].kill();
    cluster.nodes[1].start();
    let status = conclave_tests::wait_for("it is in the cluster", || {
        let status = cluster.nodes[1].status();
        status["problems"].to_string().contains("D003").then_some(status)
    });
    let problems = status["problems"].to_string();
    assert!(problems.contains("the name of the shared domain shop.example"), "{problems}");
}
