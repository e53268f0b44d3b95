//! `--dry-run`: the answer that the change would have had, and no change.

use conclave_tests::{Cluster, Node, Pair, forge};
use serde_json::Value;

/// What a change would change on one node: the cluster's State, its own domains and trust.
fn everything(node: &Node) -> (Value, Vec<(Value, Value)>, Value) {
    let list = |words: &[&str]| node.run(&[words, &["-o", "json"]].concat()).json();
    let domains = list(&["domain", "list"]);
    let domains = domains.as_array().unwrap().iter();
    let versions = domains.map(|one| (one["name"].clone(), one["version"].clone())).collect();
    let trusted = list(&["trust", "list", "--scope", "server", "--no-inherited"]);
    (node.status()["cluster"]["digest"].clone(), versions, trusted)
}

#[test]
fn an_import_is_told_with_all_its_differences() {
    let cluster = Cluster::start(3);
    let [one, two, _] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let (first, second) = (Pair::make("shop.example"), Pair::make("shop.example"));
    let (bundle, key) = one.pair_files(&first);
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    let root = two.file("root.pem", second.chain.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    let shown = || one.run(&["cert", "show", "shop.example", "-o", "json"]).json();
    let before = shown();
    let (bundle, key) = two.pair_files(&second);
    let import = ["cert", "import", "shop.example", &bundle, "--key", &key];
    let ran = two.run(&[&import[..], &["--dry-run"]].concat());
    assert!(!ran.err.contains("Undo"), "nothing is done: {}", ran.err);
    let told = ran.ok();
    let file = two.run(&["cert", "show", "--file", &bundle, "-o", "json"]).json();
    let new = file[0]["serial"].as_str().unwrap();
    let old = before["serial"].as_str().unwrap();
    for line in [
        "Would change shop.example (version 2 -> 3):",
        "  PKI services     unchanged (enabled)",
        "  names            unchanged (shop.example)",
        &format!("  certificate    - serial {old} until "),
        &format!("                 + serial {new} until "),
        "  CA chain       - CN=Test Issuer (SHA-256 ",
        "                 + CN=Test Issuer (SHA-256 ",
        "Checks: key matches, names match, dates fine, chain leads to CN=Test Issuer (cluster trust)",
    ] {
        assert!(told.contains(line), "{line:?} in\n{told}");
    }
    assert_eq!(shown(), before);
    let json = two.run(&[&import[..], &["--dry-run", "-o", "json"]].concat()).json();
    assert_eq!((json["index"].as_u64(), json["version"].as_u64()), (Some(0), Some(3)));
    assert_eq!(json["dry_run"]["version"].as_u64(), Some(2));
    assert_eq!(json["served"]["nodes"], serde_json::json!([]));
    let problems = || two.run(&["domain", "show", "shop.example", "-o", "json"]).json();
    assert_eq!(problems()["version"].as_u64(), Some(2));
    // The same words without it do what was told, and say how to go back.
    let ran = two.run(&import);
    assert!(ran.err.contains("Undo: conclave domain rollback shop.example 2"), "{}", ran.err);
    assert_eq!(shown()["serial"].as_str(), Some(new));
    one.run(&["domain", "rollback", "shop.example", "2"]).ok();
    assert_eq!(shown()["sha256"], before["sha256"]);
    // What ends the service says so, and does not say that all is fine.
    for (mode, said) in [("test", "test certificate of each node"), ("disabled", "is refused")] {
        let told = one.run(&["domain", "set", "shop.example", "--pki", mode, "--dry-run"]).ok();
        assert!(told.contains(said) && !told.contains("Checks:"), "{told}");
    }
}

#[test]
fn every_change_can_be_tried_and_changes_nothing() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.run(&["domain", "create", "shop.example", "--alias", "www.shop.example"]).ok();
    one.run(&["domain", "create", "new.example"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    one.run(&["cert", "self-sign", "shop.example"]).ok();
    let pair = Pair::make("new.example");
    let (bundle, key) = one.pair_files(&pair);
    let root = forge("root; leaf", None).anchors;
    let root = one.file("root.pem", root.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    let listed = one.run(&["trust", "list", "--scope", "cluster", "-o", "json"]).json();
    let fingerprint = listed[0]["sha256"].as_str().unwrap();
    let issuer = one.file("issuer.pem", pair.chain.as_bytes());
    let made =
        one.run(&["token", "create", "deploy", "--role", "admin,security", "-o", "json"]).json();
    let token = made["id"].as_str().unwrap();
    let port = cluster.listen();
    let bind = format!(":{}", cluster.free_port());
    let words: [&[&str]; 24] = [
        &["domain", "create", "third.example", "--pki", "enabled"],
        &["domain", "create", "third.example", "--scope", "local"],
        &["domain", "set", "shop.example", "--pki", "enabled", "--ip", "192.0.2.1"],
        &["domain", "alias", "shop.example", "--add", "shop.test", "--remove", "www.shop.example"],
        &["domain", "rename", "shop.example", "store.example"],
        &["domain", "rollback", "shop.example", "1"],
        &["domain", "delete", "shop.example"],
        &["key", "generate", "new.example"],
        &["key", "import", "new.example", &key],
        &["key", "remove", "shop.example"],
        &["cert", "self-sign", "shop.example", "--days", "9"],
        &["cert", "refresh", "shop.example"],
        &["cert", "import", "new.example", &bundle, "--key", &key],
        &["cert", "remove", "shop.example"],
        &["chain", "set", "shop.example", &issuer, "--allow-broken-chain"],
        &["trust", "add", "--scope", "cluster", &issuer],
        &["trust", "add", "--scope", "server", &issuer],
        &["trust", "add", "--scope", "domain:shop.example", &issuer],
        &["trust", "remove", "--scope", "cluster", fingerprint],
        &["listener", "add", "more", "--bind", &bind, "--upstream", "127.0.0.1:9"],
        &["listener", "remove", "tls"],
        &["token", "revoke", token],
        &["keyring", "rotate"],
        &["domain", "set", "node-2.main", "--pki", "disabled"],
    ];
    let before: Vec<_> = cluster.nodes.iter().map(everything).collect();
    for words in words {
        let ran = two.run(&[words, &["--dry-run"]].concat());
        assert_eq!(ran.code, 0, "{words:?}: {}{}", ran.out, ran.err);
        assert!(ran.out.starts_with("Would change "), "{words:?}: {}", ran.out);
        assert!(ran.out.lines().count() > 1, "{words:?} says what: {}", ran.out);
        assert!(!ran.err.contains("Next:") && !ran.err.contains("Undo:"), "{}", ran.err);
    }
    let after: Vec<_> = cluster.nodes.iter().map(everything).collect();
    assert_eq!(after, before);
    conclave_tests::probe(one.listener(port), "shop.example").unwrap();
    // What would be refused is refused, by the same rule.
    let ran = three.run(&["domain", "create", "shop.example", "--dry-run", "-o", "json"]);
    assert_eq!((ran.problem()["code"].as_str(), ran.code), (Some("D003"), 4));
    let stale = ["domain", "set", "shop.example", "--if-version", "1", "--dry-run", "-o", "json"];
    assert_eq!(three.run(&stale).problem()["code"], "V002");
}

#[test]
fn what_cannot_be_tried_says_so() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    for words in [
        &["join-token", "create"][..],
        &["token", "create", "deploy", "--role", "admin,security"],
        &["cluster", "init", "--name", "x"],
        &["csr", "create", "node-1.main"],
    ] {
        let ran = one.run(&[words, &["--dry-run"]].concat());
        assert!(ran.code == 2 && ran.err.contains("--dry-run"), "{words:?}: {}", ran.err);
    }
    for (path, body) in [("join-tokens", "{}"), ("tokens", "{\"name\":\"deploy\"}")] {
        let (status, answer) = one.ask("POST", &format!("{path}?dry_run=true"), body);
        assert!(status == 400 && answer.to_string().contains("dry_run"), "{answer}");
    }
}
