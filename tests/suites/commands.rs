//! Every command, through the binary, as table and as JSON, on the socket and over HTTPS.

use conclave_tests::{Cluster, Pair, binary};

#[test]
fn every_command_does_its_work_and_speaks_json() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let port = cluster.listen();
    let made =
        one.run(&["domain", "create", "shop.example", "--ip", "192.0.2.7", "-o", "json"]).json();
    assert_eq!((made["kind"].as_str(), made["version"].as_u64()), (Some("Change"), Some(1)));
    two.run(&[
        "domain",
        "set",
        "shop.example",
        "--pki",
        "enabled",
        "--alias",
        "www.shop.example",
        "--reason",
        "opening",
    ])
    .ok();
    let shown = three.run(&["domain", "show", "shop.example", "-o", "json"]).json();
    assert_eq!(shown["reason"].as_str(), Some("opening"));
    assert_eq!(shown["aliases"][0].as_str(), Some("www.shop.example"));
    assert_eq!(shown["addresses"][0].as_str(), Some("192.0.2.7"));
    for kind in ["p384", "ed25519", "rsa2048", "p256"] {
        two.run(&["key", "generate", "shop.example", "--type", kind]).ok();
        assert!(one.run(&["key", "show", "shop.example"]).ok().contains("SHA-256"));
        two.run(&[
            "cert",
            "self-sign",
            "shop.example",
            "--organization",
            "ACME",
            "--country",
            "US",
        ])
        .ok();
        assert!(one.run(&["cert", "show", "shop.example"]).ok().contains("O=ACME"));
        conclave_tests::probe(one.listener(port), "shop.example").unwrap();
        one.run(&["key", "remove", "shop.example", "--yes"]).ok();
        let shown = two.run(&["domain", "show", "shop.example", "-o", "json"]).json();
        assert_eq!(shown["credentials"], serde_json::json!([]), "both go");
    }
    let pair = Pair::make("shop.example");
    let key = one.file("k.pem", pair.key.as_bytes());
    one.run(&["key", "import", "shop.example", &key]).ok();
    let certificate = one.file("c.pem", pair.certificate.as_bytes());
    one.run(&["cert", "import", "shop.example", &certificate]).ok();
    let chain = one.file("chain.pem", pair.chain.as_bytes());
    one.run(&["chain", "set", "shop.example", &chain]).ok();
    assert!(two.run(&["chain", "show", "shop.example"]).ok().contains("Test Issuer"));
    let exported = three.run(&["cert", "export", "shop.example", "--chain"]).ok();
    assert_eq!(exported.matches("BEGIN CERTIFICATE").count(), 2);
    two.run(&["chain", "remove", "shop.example", "--yes"]).ok();
    two.run(&["cert", "remove", "shop.example", "--yes"]).ok();
    assert_eq!(two.run(&["cert", "show", "shop.example"]).code, 3);
    assert!(one.run(&["domain", "list", "-o", "name"]).ok().contains("shop.example\n"));
    assert!(one.run(&["listener", "list"]).ok().contains("127.0.0.1"));
    let listed = two.run(&["listener", "list", "-o", "json"]).json();
    assert_eq!(listed[0]["protocol"].as_str(), Some("tls"));
    let root = one.file("root.pem", conclave_tests::forge("root; leaf", None).anchors.as_bytes());
    one.run(&["trust", "add", "--scope", "domain:shop.example", &root]).ok();
    let scope = ["trust", "list", "--scope", "domain:shop.example", "-o", "json"];
    let issuer = two.run(&scope).json()[0]["sha256"].as_str().unwrap().to_owned();
    let set = ["client-auth", "set", "shop.example", "--issuer", &issuer, "-o", "json"];
    assert_eq!(one.run(&set).json()["kind"].as_str(), Some("Change"));
    assert!(two.run(&["client-auth", "show", "shop.example"]).ok().contains("asked for"));
    let shown = two.run(&["client-auth", "show", "shop.example", "-o", "json"]).json();
    assert_eq!(shown["kind"].as_str(), Some("ClientAuth"));
    one.run(&["client-auth", "clear", "shop.example"]).ok();
    two.run(&["tls", "set", "--ttl", "1h"]).ok();
    assert!(one.run(&["tls", "show"]).ok().contains("Time to live of sessions           1h"));
    let shown = one.run(&["tls", "show", "-o", "json"]).json();
    assert_eq!(shown["kind"].as_str(), Some("TlsSettings"));
    assert!(one.run(&["tls", "sessions"]).ok().contains("resume within 1h"));
    let sessions = two.run(&["tls", "sessions", "-o", "json"]).json();
    assert_eq!(sessions["keys"].as_array().unwrap().len(), 2);
    two.run(&["tls", "flush", "--yes"]).ok();
    let drained = one.run(&["node", "drain", "node-2", "--deadline", "1s", "-o", "json"]).json();
    assert_eq!(drained["kind"].as_str(), Some("Drain"));
    assert!(one.run(&["node", "resume", "node-2"]).ok().contains("serves again"));
    let rotated = two.run(&["keyring", "rotate", "-o", "json"]).json();
    assert_eq!(rotated["object"].as_str(), Some("generation 2"));
    let keyring = three.run(&["keyring", "status", "-o", "json"]).json();
    assert_eq!(
        (keyring["generation"].as_u64(), keyring["members"].as_array().unwrap().len()),
        (Some(2), 3)
    );
    two.run(&["key", "generate", "node-2.main"]).ok();
    assert_eq!(one.run(&["node", "list", "-o", "json"]).json().as_array().unwrap().len(), 3);
    let status = one.status();
    assert_eq!(status["cluster"]["voters"].as_u64(), Some(3));
    one.run(&["domain", "delete", "shop.example", "--yes"]).ok();
    one.run(&["listener", "remove", "tls", "--yes"]).ok();
    assert!(one.run(&["explain", "K002"]).ok().contains("passphrase"));
}

#[test]
fn https_needs_a_token_of_this_cluster() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let said = one.said();
    let url = said.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let run = |token: &str, words: &[&str]| {
        let file = one.file("access", token.as_bytes());
        let output = std::process::Command::new(binary("conclave"))
            .args(["--address", url, "--token-file", &file, "-o", "json", "--timeout", "3s"])
            .args(words)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let made =
        one.run(&["token", "create", "deploy", "--role", "admin,security", "-o", "json"]).json();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(run(token, &["domain", "create", "shop.example"]).0, 0);
    let shown = one.run(&["domain", "show", "shop.example", "-o", "json"]).json();
    assert_eq!(shown["changed_by"].as_str(), Some("token deploy"));
    let fields: Vec<&str> = token.split('.').collect();
    let foreign = format!("{}.{}.{}", fields[0], fields[1], "00".repeat(32));
    assert_eq!(run(&foreign, &["domain", "list"]).0, 6, "another authority is not trusted");
    let guessed = format!("{}.{}.{}", fields[0], "00".repeat(32), fields[2]);
    assert_eq!(run(&guessed, &["domain", "list"]).0, 5);
    one.run(&["token", "revoke", id, "--yes"]).ok();
    assert_eq!(run(token, &["domain", "list"]).0, 5, "revoked");
}

#[test]
fn the_configuration_that_is_printed_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        std::process::Command::new(binary("conclave")).args(words).output().unwrap()
    };
    let file = dir.path().join("conclave.toml");
    std::fs::write(&file, run(&["config", "init"]).stdout).unwrap();
    let checked = run(&["config", "check", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn completion_and_manual_pages_are_made_from_the_commands() {
    let script = conclave_tests::run_alone(&["completion", "bash"]).ok();
    assert!(script.contains("join-token") && script.contains("complete -F"), "{script}");
    let dir = tempfile::tempdir().unwrap();
    conclave_tests::run_alone(&["man", dir.path().to_str().unwrap()]).ok();
    let page = std::fs::read_to_string(dir.path().join("conclave-domain-create.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("alias"), "{page}");
    let nowhere = conclave_tests::run_alone(&["man", "/nonexistent"]);
    assert!(nowhere.code == 2 && nowhere.err.contains("/nonexistent"), "{}", nowhere.err);
}
