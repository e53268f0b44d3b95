//! What `status` says when something is not as it should be.

use conclave_tests::{Cluster, Node, Pair, wait_for};
use serde_json::{Value, json};

/// Waits until a node's status has a problem with this code and this text; returns it.
fn problem(node: &Node, code: &str, text: &str) -> Value {
    wait_for(&format!("{code} {text}"), || {
        let ran = node.run(&["status", "-o", "json"]);
        let status: Value = serde_json::from_str(&ran.out).ok()?;
        let found = status["problems"].as_array()?.iter().find(|one| {
            one["code"] == code && one["text"].as_str().is_some_and(|said| said.contains(text))
        })?;
        assert_eq!(ran.code, 9, "{status}");
        assert!(!found["hint"].as_str().unwrap().is_empty(), "{found}");
        Some(found.clone())
    })
}

fn wait_until_healthy(node: &Node) {
    wait_for("a healthy cluster", || {
        let ran = node.run(&["status"]);
        (ran.code == 0 && ran.out.starts_with("test: healthy\n")).then_some(())
    });
}

#[test]
fn without_a_quorum_it_says_so_first_and_how_old_the_rest_is() {
    let mut cluster = Cluster::start(3);
    wait_until_healthy(&cluster.nodes[0]);
    cluster.nodes[1].kill();
    let one = &cluster.nodes[0];
    problem(one, "X001", "does not answer");
    cluster.nodes[2].kill();
    let one = &cluster.nodes[0];
    let shown = wait_for("no quorum is said", || {
        let ran = one.run(&["status"]);
        assert_eq!(ran.code, 9, "{}", ran.out);
        ran.out.starts_with("test: NO QUORUM").then_some(ran.out)
    });
    assert!(shown.contains("1 of 3 voters answer node-1, 2 are needed"), "{shown}");
    assert!(shown.contains("changes are impossible, TLS goes on\nas known to node-1, "), "{shown}");
    assert!(shown.contains("leader none"), "{shown}");
    assert!(shown.contains("unsealed on 1 of the 1 nodes that answer"), "{shown}");
    let status = one.status();
    let cluster_part = &status["cluster"];
    assert_eq!(cluster_part["health"], "no-quorum");
    assert_eq!((&cluster_part["leader"], &cluster_part["stale"]), (&Value::Null, &json!(true)));
    assert_eq!(cluster_part["reachable"], 1);
    assert!(cluster_part["stale_s"].is_u64(), "{status}");
    for node in status["nodes"].as_array().unwrap() {
        let is_own = node["name"] == "node-1";
        assert_eq!(node["state"] == "unreachable", !is_own, "{node}");
        assert_ne!(node["role"], "leader", "{node}");
    }
    cluster.nodes[1].start();
    let one = &cluster.nodes[0];
    wait_for("one thing needs attention", || {
        let shown = one.run(&["status"]).out;
        let is_said = shown.starts_with("test: 1 thing needs attention\n");
        (is_said && shown.contains("x  node-3  does not answer")).then_some(())
    });
    cluster.nodes[2].start();
    wait_until_healthy(&cluster.nodes[0]);
}

#[test]
fn what_is_wrong_on_one_node_is_said_by_every_node() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    wait_until_healthy(three);
    // Another program has the port on one of the nodes.
    let port = cluster.free_port();
    let taken = std::net::TcpListener::bind((two.address, port)).unwrap();
    let bind = format!(":{port}");
    let upstream = conclave_tests::echo_upstream().to_string();
    let ran = one.run(&["listener", "add", "tls", "--bind", &bind, "--upstream", &upstream]);
    assert!(ran.err.contains("not yet on node-2"), "the reason is said: {}", ran.err);
    let found = problem(three, "N001", "on node-2: ");
    assert!(found["text"].as_str().unwrap().contains(&port.to_string()), "{found}");
    drop(taken);
    wait_until_healthy(three);

    one.run(&["node", "drain", "node-3", "--deadline", "1s"]).ok();
    let found = problem(one, "R009", "is drained");
    assert_eq!(found["hint"], "conclave node resume node-3");
    one.run(&["node", "resume", "node-3"]).ok();
    wait_until_healthy(one);
}

#[test]
fn domains_that_clients_refuse_are_said_and_ending_ones_by_share_of_life() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let import = |name: &str, pair: &Pair| {
        one.run(&["domain", "create", name]).ok();
        let (bundle, key) = one.pair_files(pair);
        one.run(&["cert", "import", name, &bundle, "--key", &key]).ok();
        one.run(&["domain", "set", name, "--pki", "enabled"]).ok();
    };
    // A certificate of 40 days with 12 left has a normal life; one with 8 left was not renewed.
    import("short.example", &Pair::with_days("short.example", -28, 12));
    wait_until_healthy(one);
    import("late.example", &Pair::with_days("late.example", -32, 8));
    let found = problem(one, "C004", "expires in");
    assert_eq!(found["object"], "late.example");
    assert_eq!(found["hint"], "conclave domain check late.example");
    one.run(&["domain", "delete", "late.example", "--yes"]).ok();

    one.run(&["domain", "alias", "short.example", "--add", "www.short.example"]).ok();
    problem(one, "C006", "does not cover www.short.example");
    one.run(&["domain", "alias", "short.example", "--remove", "www.short.example"]).ok();
    wait_until_healthy(one);

    one.run(&["domain", "create", "bare.example", "--pki", "enabled"]).ok();
    problem(one, "K010", "no private key");
    one.run(&["key", "generate", "bare.example"]).ok();
    problem(one, "C010", "no certificate");
}

#[test]
fn a_change_that_is_not_everywhere_has_a_reason_and_fails_if_that_is_asked() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[2].kill();
    let one = &cluster.nodes[0];
    let ran = one.run(&["domain", "create", "a.example"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("not yet on node-3: "), "{}", ran.err);
    let ran = one.run(&["domain", "create", "b.example", "--require-all", "-o", "json"]);
    assert_eq!((ran.problem()["code"].as_str(), ran.code), (Some("R011"), 6), "{}", ran.err);
    assert!(ran.err.contains("node-3"), "{}", ran.err);
    // It is done, and nothing pretends otherwise.
    assert_eq!(one.run(&["domain", "show", "b.example"]).code, 0);
    // The node that was asked keeps who asked, for what, and from where.
    let log = one.log();
    let is_change = |line: &&str| line.contains("api.change") && line.contains("/v1/domains");
    let line = log.lines().find(is_change).unwrap_or_else(|| panic!("{log}"));
    for part in ["who=uid ", "from=\"the admin socket\"", "method=POST", "path=\"/v1/domains\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // A reason cannot make a change look like a trial.
    let before = one.log().matches("api.change").count();
    let body = r#"{"name":"c.example","aliases":[],"addresses":[]}"#;
    let (status, done) = one.ask("POST", "domains?reason=dry_run=true", body);
    assert!(status == 200, "{status}: {done}");
    assert_eq!(one.log().matches("api.change").count(), before + 1);
}

#[test]
fn what_is_there_already_is_served_by_all_also_after_a_restart() {
    let mut cluster = Cluster::start(3);
    let port = cluster.listen();
    let upstream = conclave_tests::echo_upstream().to_string();
    let bind = format!(":{port}");
    cluster.nodes[0].run(&["domain", "create", "shop.example"]).ok();
    for node in &mut cluster.nodes {
        node.stop();
        node.start();
    }
    let one = &cluster.nodes[0];
    wait_until_healthy(one);
    let listener = ["listener", "add", "tls", "--bind", &bind, "--upstream", &upstream];
    for words in [&listener[..], &["domain", "create", "shop.example"]] {
        let words = [words, &["--if-missing", "--require-all", "-o", "json"]].concat();
        let done = one.run(&words).json();
        assert_eq!(done["changed"], false, "{done}");
        assert_eq!(done["served"]["nodes"].as_array().unwrap().len(), 3, "{done}");
    }
}

#[test]
fn an_ambiguous_or_wrong_word_is_an_error_even_if_nothing_need_exist() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let root = conclave_tests::forge("root; leaf", None).anchors;
    let root = one.file("root.pem", root.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    let listed = one.run(&["trust", "list", "--scope", "cluster", "-o", "json"]).json();
    let own = listed.as_array().unwrap().iter().find(|one| one["set"] == "cluster").unwrap();
    let short = &own["sha256"].as_str().unwrap()[..2];
    let ran = one.run(&["trust", "remove", "--scope", "cluster", "--yes", "--if-exists", short]);
    assert!(ran.code == 2 && ran.err.contains("not clear"), "{}{}", ran.out, ran.err);
    let ran = one.run(&["token", "revoke", "deploy", "--yes", "--if-exists"]);
    assert!(ran.code == 2 && ran.err.contains("not the id of a token"), "{}", ran.err);
}
