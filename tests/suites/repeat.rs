//! Repeating is safe and quiet: the second run of anything changes nothing.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Instant,
};

use conclave_tests::{
    Cluster, Ends, Node, Pair, binary, forge, has_program, openssl, probe, sign, wait_for,
};
use serde_json::Value;

/// What a change would change: State, and the versions of all domains, those of the node too.
fn everything(node: &Node) -> (Value, Vec<(Value, Value)>) {
    let listed = node.run(&["domain", "list", "-o", "json"]).json();
    let domains = listed.as_array().unwrap().iter();
    let versions = domains.map(|one| (one["name"].clone(), one["version"].clone())).collect();
    (node.status()["cluster"]["digest"].clone(), versions)
}

/// Runs all on both nodes in turn; returns whether each one changed something.
fn played(nodes: [&Node; 2], script: &[Vec<&str>]) -> Vec<bool> {
    let run = |(place, words): (usize, &Vec<&str>)| {
        let words = [&words[..], &["-o", "json"]].concat();
        let ran = nodes[place % 2].run(&words);
        assert_eq!(ran.code, 0, "{words:?}: {}{}", ran.out, ran.err);
        let told: Value = serde_json::from_str(&ran.out).unwrap();
        let changed = told["changed"].as_bool().or(told["change"]["changed"].as_bool());
        changed.unwrap_or_else(|| panic!("{words:?}: {told}"))
    };
    script.iter().enumerate().map(run).collect()
}

#[test]
fn a_script_that_is_run_twice_changes_nothing_the_second_time() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let pair = Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&pair);
    let root = one.file("root.pem", forge("root; leaf", None).anchors.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &root]).ok();
    let listed = one.run(&["trust", "list", "--scope", "cluster", "-o", "json"]).json();
    let issuer = listed[0]["sha256"].as_str().unwrap().to_owned();
    let issuing = one.file("issuing.pem", pair.chain.as_bytes());
    let upstream = conclave_tests::echo_upstream().to_string();
    let bind = format!(":{}", cluster.free_port());
    let token = cluster.join_token(one);
    let script: Vec<Vec<&str>> = vec![
        vec!["cluster", "init", "--name", "test", "--if-missing"],
        vec!["trust", "add", "--scope", "cluster", &root],
        vec!["trust", "add", "--scope", "server", &issuing],
        vec!["domain", "create", "shop.example", "--pki", "enabled", "--if-missing"],
        vec!["domain", "alias", "shop.example", "--add", "www.shop.example"],
        vec!["domain", "alias", "shop.example", "--remove", "old.shop.example", "--if-exists"],
        vec!["domain", "set", "shop.example", "--ip", "192.0.2.7"],
        vec!["cert", "import", "shop.example", &bundle, "--key", &key],
        vec!["chain", "set", "shop.example", &issuing],
        vec!["client-auth", "set", "shop.example", "--issuer", &issuer],
        vec!["domain", "create", "new.example", "--if-missing"],
        vec!["key", "generate", "new.example", "--if-missing"],
        vec!["key", "import", "shop.example", &key],
        vec!["listener", "add", "https", "--bind", &bind, "--upstream", &upstream, "--if-missing"],
        vec!["listener", "set", "https", "--alpn", "http/1.1"],
        vec!["tls", "set", "--ttl", "2h"],
        vec!["token", "create", "deploy", "--role", "admin,security", "--if-missing"],
        vec!["domain", "delete", "gone.example", "--yes", "--if-exists"],
        vec!["listener", "remove", "gone", "--yes", "--if-exists"],
        vec!["key", "remove", "gone.example", "--yes", "--if-exists"],
        vec!["cert", "remove", "new.example", "--yes", "--if-exists"],
        vec!["chain", "remove", "new.example", "--yes", "--if-exists"],
        vec!["client-auth", "clear", "new.example", "--if-exists"],
        vec!["trust", "remove", "--scope", "cluster", "00000000", "--yes", "--if-exists"],
        vec!["token", "revoke", "0000000000000000", "--yes", "--if-exists"],
        vec!["key", "remove", "new.example", "--pending", "--yes", "--if-exists"],
    ];
    // The server set and the local domains are of one node, so each word has its own node.
    let first = played([one, two], &script);
    assert!(first.iter().filter(|changed| **changed).count() >= 10, "{first:?}");
    let before: Vec<_> = cluster.nodes.iter().map(everything).collect();
    let second = played([one, two], &script);
    let wrong = script.iter().zip(&second).filter(|(_, changed)| **changed);
    assert_eq!(wrong.map(|(words, _)| words).collect::<Vec<_>>(), Vec::<&Vec<&str>>::new());
    let after: Vec<_> = cluster.nodes.iter().map(everything).collect();
    assert_eq!(after, before);
    for words in [&script[3], &script[7], &script[9], &script[13], &script[15]] {
        let told = three.run(words).ok();
        assert!(told.contains("unchanged"), "{words:?}: {told}");
        let ran = three.run(&[&words[..], &["--dry-run"]].concat());
        assert!(ran.out.contains("unchanged") && !ran.out.contains("Would"), "{}", ran.out);
    }
    let member = two.quic.to_string();
    for more in [&["--if-missing"][..], &[]] {
        let again = ["cluster", "join", &member, "--token-file", &token, "-o", "json"];
        let again = three.run(&[&again[..], more].concat()).json();
        let told = (again["changed"].as_bool(), again["cluster"].as_str());
        assert_eq!(told, (Some(false), Some("test")), "{more:?}");
    }
    assert_eq!(cluster.nodes.iter().map(everything).collect::<Vec<_>>(), before);
}

#[test]
fn what_exists_with_other_settings_is_said() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--alias", "a.example"]).ok();
    let create = ["domain", "create", "shop.example", "--alias", "b.example", "--if-missing"];
    let ran = one.run(&create);
    assert!(
        ran.code == 0 && ran.err.contains("other aliases: a.example, not b.example"),
        "{}",
        ran.err
    );
    let upstream = "127.0.0.1:9";
    let (here, there) = (format!(":{}", cluster.free_port()), format!(":{}", cluster.free_port()));
    one.run(&["listener", "add", "x", "--bind", &here, "--upstream", upstream]).ok();
    let ran = one.run(&["listener", "add", "x", "--bind", &there, "--upstream", upstream]);
    assert_eq!(ran.code, 4, "without the word it is a conflict: {}", ran.out);
    let words = ["listener", "add", "x", "--bind", &there, "--upstream", upstream, "--if-missing"];
    let ran = one.run(&words);
    assert!(ran.code == 0 && ran.err.contains("other settings: address"), "{}", ran.err);
    // An absent domain is no absent alias.
    let alias = ["domain", "alias", "no.example", "--add", "c.example", "--if-exists"];
    assert_eq!(one.run(&alias).code, 3);
}

#[test]
fn a_key_waits_for_its_certificate_while_the_other_is_served() {
    let mut cluster = Cluster::start(2);
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let port = cluster.listen();
    let name = "shop.example";
    one.run(&["domain", "create", name, "--pki", "enabled"]).ok();
    one.run(&["key", "generate", name]).ok();
    one.run(&["cert", "self-sign", name]).ok();
    let shown =
        |node: &Node| wait_for("the certificate", || probe(node.listener(port), name).ok()).chain;
    let before = (shown(two), one.run(&["domain", "show", name, "-o", "json"]).json());
    let refused = one.run(&["key", "generate", name]);
    assert!(refused.err.contains("csr create shop.example --new-key"), "{}", refused.err);
    let (csr, again) = (one.file("a.csr", b""), one.file("b.csr", b""));
    one.run(&["csr", "create", name, "--new-key", "--out", &csr]).ok();
    two.run(&["csr", "create", name, "--new-key", "--out", &again]).ok();
    let domain = two.run(&["domain", "show", name, "-o", "json"]).json();
    assert_eq!(domain["version"], before.1["version"], "nothing in use has changed");
    let pending = domain["pending_keys"][0]["sha256"].as_str().unwrap().to_owned();
    assert!(one.run(&["key", "show", name]).ok().contains(&pending));
    assert_eq!(shown(two), before.0);
    // A rotation of the keyring and a restart leave it usable.
    one.run(&["keyring", "rotate"]).ok();
    for node in &mut cluster.nodes {
        node.stop();
        node.start();
    }
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    assert_eq!(shown(two), before.0);
    let certificate = sign(one, &again, "90");
    let done = one.run(&["cert", "import", name, &certificate, "-o", "json"]).json();
    assert_eq!(done["version"].as_u64(), before.1["version"].as_u64().map(|one| one + 1));
    let domain = two.run(&["domain", "show", name, "-o", "json"]).json();
    assert_eq!(domain["credentials"][0]["key"]["sha256"].as_str(), Some(pending.as_str()));
    assert!(domain.get("pending_keys").is_none(), "{domain}");
    assert_ne!(shown(two), before.0);
    // Dropped, it can be made anew.
    one.run(&["csr", "create", name, "--new-key"]).ok();
    let twice = one.run(&["csr", "create", name, "--new-key", "p384"]);
    assert_eq!(twice.code, 4, "{}", twice.out);
    two.run(&["key", "remove", name, "--pending", "--yes"]).ok();
    one.run(&["csr", "create", name, "--new-key", "p384"]).ok();
}

#[test]
fn a_listener_is_changed_without_a_refused_connection() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let port = cluster.listen();
    let (address, is_over, asked) =
        (one.listener(port), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&is_over);
        let client = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                std::net::TcpStream::connect(address).expect("never refused");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..20 {
            let upstream = conclave_tests::echo_upstream().to_string();
            let alpn = if round % 2 == 0 { "http/1.1" } else { "" };
            let words = ["listener", "set", "tls", "--upstream", &upstream, "--alpn", alpn];
            one.run(&words).ok();
        }
        is_over.store(true, Ordering::Relaxed);
        client.join().unwrap();
    });
    assert!(asked.load(Ordering::Relaxed) > 20);
    // Another port: open as soon as the answer is there, and the old one is closed.
    let moved = cluster.free_port();
    one.run(&["listener", "set", "tls", "--bind", &format!(":{moved}")]).ok();
    let shown = one.run(&["listener", "show", "tls", "-o", "json"]).json();
    assert_eq!(shown["bind"].as_str(), Some(format!(":{moved}").as_str()));
    std::net::TcpStream::connect(one.listener(moved)).unwrap();
    wait_for("the old port to close", || std::net::TcpStream::connect(address).err());
    assert_eq!(one.run(&["listener", "set", "tls"]).code, 2, "nothing to set");
    assert_eq!(one.run(&["listener", "show", "no"]).code, 3);
}

/// Runs apply with a document on standard input.
fn apply(node: &Node, document: &str, words: &[&str]) -> (i32, String, String) {
    apply_at(&address(node), document, words)
}

fn address(node: &Node) -> String {
    format!("unix:{}", node.dir.join("admin.sock").display())
}

fn apply_at(address: &str, document: &str, words: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(binary("conclave"))
        .args(["--address", address, "--timeout", "60s"])
        .args(["apply", "-f", "-"])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_is_exported_and_applied_changes_nothing() {
    let cluster = Cluster::start(2);
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let pair = Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&pair);
    let root = one.file("root.pem", forge("root; leaf", None).anchors.as_bytes());
    let issuing = one.file("issuing.pem", pair.chain.as_bytes());
    let port = cluster.listen();
    for words in [
        &["domain", "create", "shop.example", "--alias", "*.shop.example"][..],
        &["cert", "import", "shop.example", &bundle, "--key", &key],
        &["key", "generate", "shop.example", "--type", "rsa2048"],
        &["cert", "self-sign", "shop.example", "--family", "rsa"],
        &["domain", "set", "shop.example", "--pki", "enabled", "--ip", "192.0.2.7"],
        &["domain", "create", "bare.example", "--pki", "disabled"],
        &["domain", "create", "own.example", "--scope", "local"],
        &["trust", "add", "--scope", "cluster", &root],
        &["trust", "add", "--scope", "server", &issuing],
        &["trust", "add", "--scope", "domain:shop.example", &root],
        &["tls", "set", "--ttl", "1h", "--min-version", "1.3"],
        &["listener", "set", "tls", "--domain-upstream", "shop.example=127.0.0.1:9"],
    ] {
        one.run(words).ok();
    }
    let listed = one.run(&["trust", "list", "--scope", "domain:shop.example", "-o", "json"]).json();
    let issuer = listed[0]["sha256"].as_str().unwrap();
    one.run(&["client-auth", "set", "shop.example", "--issuer", issuer, "--required"]).ok();
    let before: Vec<_> = cluster.nodes.iter().map(everything).collect();
    let toml = one.run(&["export"]).ok();
    assert!(!toml.contains("PRIVATE KEY"));
    let json = one.run(&["export", "-o", "json"]).ok();
    for document in [&toml, &json] {
        for words in [&[][..], &["--prune", "--yes"], &["--dry-run"]] {
            let (code, out, err) = apply(one, document, words);
            assert_eq!((code, err.as_str()), (0, ""), "{out}");
            assert!(
                out.contains(" 0 changed")
                    || out.starts_with("0 changed")
                    || out.contains("Would change 0"),
                "{out}"
            );
        }
    }
    let dir = one.dir.join("exported");
    one.run(&["export", "--dir", dir.to_str().unwrap()]).ok();
    let file = dir.join("conclave.toml");
    let told = one.run(&["apply", "-f", file.to_str().unwrap(), "-o", "json"]).json();
    assert_eq!((told["changed"].as_bool(), &told["counts"]["changed"]), (Some(false), &0.into()));
    // The other node has other local domains.
    let (code, out, err) = apply(two, &toml, &["--prune", "--yes"]);
    assert!(code == 0 && out.contains("0 changed"), "{out}{err}");
    assert!(err.contains("2 local domains and the trust set server of node-1"), "{err}");
    assert_eq!(cluster.nodes.iter().map(everything).collect::<Vec<_>>(), before);
    // Removed, it comes back, except the key: a document holds none.
    one.run(&["listener", "remove", "tls", "--yes"]).ok();
    one.run(&["domain", "delete", "bare.example", "--yes"]).ok();
    one.run(&["tls", "set", "--ttl", "5m"]).ok();
    let (code, out, err) = apply(one, &toml, &["--dry-run"]);
    assert!(code == 0 && out.contains("+ domain bare.example"), "{out}{err}");
    assert!(out.contains("~ tls") && out.contains("Would change 3"), "{out}");
    let (code, out, err) = apply(one, &toml, &[]);
    assert!(code == 0 && out.contains("3 changed"), "{out}{err}");
    assert!(std::net::TcpStream::connect(one.listener(port)).is_ok());
    one.run(&["key", "remove", "shop.example", "--family", "rsa", "--yes"]).ok();
    let (code, _, err) = apply(one, &toml, &[]);
    assert!(code == 3 && err.contains("does not have the key"), "{err}");
}

#[test]
fn a_document_settles_whatever_the_form_of_its_settings() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let document = format!(
        "[tls]\ncipher_suites = [\"tls_aes_128_gcm_sha256\", \"TLS_AES_128_GCM_SHA256\"]\n\
         groups = [\"X25519\"]\n\
         [[listeners]]\nname = \"Web\"\nbind = \"127.0.0.1:0{}\"\n\
         upstreams = [\"b\u{fc}cher.example:80\"]\nproxy_to = \"\"\n\
         proxy_from = [\"10.0.0.7\", \"2001:DB8::1\", \"FD00::/8\"]\n\
         domain_upstreams = {{ \"B\u{fc}cher.example\" = [\"B\u{dc}CHER.example.:81\"] }}\n\
         [[listeners]]\nname = \"v6\"\nbind = \"[::FFFF:127.0.0.1]:{}\"\n\
         upstreams = [\"[2001:DB8::1]:80\"]\n\
         [[listeners]]\nname = \"out\"\nprotocol = \"outgoing-tls\"\nbind = \":{}\"\n\
         upstreams = [\"mail.example:465\"]\nserver_name = \"M\u{dc}LLER.example.\"\n",
        cluster.free_port(),
        cluster.free_port(),
        cluster.free_port()
    );
    let (code, out, err) = apply(one, &document, &[]);
    assert!(code == 0 && out.contains("4 changed"), "{out}{err}");
    let shown = one.run(&["listener", "show", "v6", "-o", "json"]).json();
    assert!(shown["bind"].as_str().unwrap().starts_with("[::ffff:127.0.0.1]:"), "{shown}");
    let exported = one.run(&["export"]).ok();
    for document in [&document, &exported] {
        let (code, out, err) = apply(one, document, &["--dry-run"]);
        assert!(code == 0 && out.contains("Would change 0"), "{out}{err}");
        let (code, out, err) = apply(one, document, &[]);
        assert!(code == 0 && out.contains("0 changed, "), "{out}{err}");
    }
}

#[test]
fn pruning_removes_what_is_not_named_and_names_move() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let (here, there) = (cluster.free_port(), cluster.free_port());
    for words in [
        &["domain", "create", "old.example", "--alias", "www.example"][..],
        &["domain", "create", "a.example", "--alias", "x.example"],
        &["domain", "create", "b.example", "--alias", "y.example"],
        &["listener", "add", "old", "--bind", &format!(":{here}"), "--upstream", "127.0.0.1:9"],
        &["listener", "add", "stays", "--bind", &format!(":{there}"), "--upstream", "127.0.0.1:9"],
    ] {
        one.run(words).ok();
    }
    let document = format!(
        "domains = [\n\
         {{ name = \"new.example\", aliases = [\"www.example\"] }},\n\
         {{ name = \"a.example\", aliases = [\"y.example\"] }},\n\
         {{ name = \"b.example\", aliases = [\"x.example\"] }},\n]\n\
         [[listeners]]\nname = \"new\"\nbind = \":{here}\"\nupstreams = [\"127.0.0.1:9\"]\n\
         [[listeners]]\nname = \"stays\"\nbind = \":{there}\"\nupstreams = [\"127.0.0.1:9\"]\n"
    );
    let (code, _, err) = apply(one, &document, &["--prune"]);
    assert!(code == 2 && err.contains("confirmation"), "{err}");
    let (code, out, _) = apply(one, &document, &["--prune", "--dry-run"]);
    assert!(code == 0 && out.contains("- domain old.example"), "{out}");
    let (code, out, err) = apply(one, &document, &["--prune", "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    let names = one.run(&["domain", "list", "-o", "name"]).ok();
    assert_eq!(names, "a.example\nb.example\nnew.example\nnode-1.main\n");
    let b = one.run(&["domain", "show", "b.example", "-o", "json"]).json();
    assert_eq!(b["aliases"], serde_json::json!(["x.example"]));
    let listeners = one.run(&["listener", "list", "-o", "name"]).ok();
    assert_eq!(listeners, "new\nstays\n");
    let (code, out, _) = apply(one, &document, &["--prune", "--yes"]);
    assert!(code == 0 && out.contains("0 changed"), "{out}");
}

#[test]
fn pruning_keeps_what_is_named_in_any_form_and_asks_for_parts_too() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let root = one.file("root.pem", forge("root; leaf", None).anchors.as_bytes());
    for words in [
        &["domain", "create", "b\u{fc}cher.example", "--alias", "*.b\u{fc}cher.example"][..],
        &["domain", "create", "shop.example"],
        &["key", "generate", "shop.example"],
        &["domain", "create", "own.example", "--scope", "local"],
        &["trust", "add", "--scope", "cluster", &root],
    ] {
        one.run(words).ok();
    }
    let domains = "[[domains]]\nname = \"B\u{dc}CHER.example.\"\n\
        aliases = [\"*.b\u{fc}cher.example\"]\n[[domains]]\nname = \"shop.example\"\n";
    let keyless = format!("{domains}credentials = []\n");
    // No object is removed, but parts of some.
    for document in [&keyless, &format!("[trust]\ncluster = \"\"\n{domains}")] {
        let (code, out, err) = apply(one, document, &["--prune"]);
        assert!(code == 2 && err.contains("confirmation"), "{out}{err}");
        let (code, out, err) = apply(one, document, &["--prune", "--yes"]);
        assert!(code == 0 && out.contains("1 changed"), "{out}{err}");
        assert!(err.contains("1 local domain(s) of node-1 stay"), "{err}");
        let (code, out, err) = apply(one, document, &["--prune"]);
        assert!(code == 0 && out.contains("0 changed"), "{out}{err}");
    }
    let names = || one.run(&["domain", "list", "-o", "name"]).ok();
    let kept = "node-1.main\nown.example\nshop.example\nxn--bcher-kva.example\n";
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(sorted(names()), kept);
    let (code, out, err) =
        apply(one, &format!("node = \"node-1\"\n{domains}"), &["--prune", "--yes"]);
    assert!(code == 0 && out.contains("domain own.example: removed"), "{out}{err}");
    // Among several addresses, what is local goes to the node that answers first.
    let several = format!("unix:/nonexistent/admin.sock,{}", address(one));
    let document = "[[domains]]\nname = \"here.example\"\nscope = \"local\"\n";
    let (code, out, err) = apply_at(&several, document, &[]);
    assert!(code == 0 && out.contains("domain here.example: added"), "{out}{err}");
    let words = ["--address", &several, "domain", "create", "x.example", "--scope", "local"];
    let ran = Command::new(binary("conclave")).args(words).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(2) && err.contains("2 addresses are given"), "{err}");
}

#[test]
fn a_part_that_fails_is_named_and_the_rest_is_done() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let document = "domains = [{ name = \"a.example\" }, { name = \"bad name\" }]\n\
        [[listeners]]\nname = \"x\"\nbind = \":0\"\nupstreams = [\"127.0.0.1:9\"]\n";
    let (code, out, err) = apply(one, document, &[]);
    assert!(code == 2 && out.contains("1 changed, 0 unchanged, 1 failed, 1 not tried"), "{out}");
    assert!(err.contains("domain bad name: ") && err.contains("not done again"), "{err}");
    let (code, out, err) = apply(one, "[[domains]]\nnam = \"a\"\n", &[]);
    assert!(code == 2 && err.contains("-:2"), "{out}{err}");
}

#[test]
fn a_local_and_a_shared_domain_of_one_name_are_two_objects() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let shared = "node = \"node-1\"\n[[domains]]\nname = \"twin.example\"\n";
    let both = format!("{shared}[[domains]]\nname = \"twin.example\"\nscope = \"local\"\n");
    let (code, out, err) = apply(one, &both, &[]);
    let has = |line: &str| out.lines().any(|found| found == line);
    assert!(has("domain twin.example: added") && has("local domain twin.example: added"), "{out}");
    assert!(code == 0 && out.contains("2 changed, 0 unchanged"), "{out}{err}");
    let (code, out, err) = apply(one, shared, &["--prune", "--yes"]);
    assert!(code == 0 && out.contains("local domain twin.example: removed"), "{out}{err}");
    assert!(out.contains("1 changed, 1 unchanged"), "{out}");
    // What is left out is counted by objects, and these have two steps each.
    for (name, alias) in [("a.example", "x.example"), ("b.example", "y.example")] {
        one.run(&["domain", "create", name, "--alias", alias]).ok();
    }
    let leaf = Pair::make("shop.example").certificate;
    let document = format!(
        "domains = [\n{{ name = \"a.example\", aliases = [\"y.example\"] }},\n\
         {{ name = \"b.example\", aliases = [\"x.example\"] }},\n]\n\
         [trust]\ncluster = \"\"\"\n{leaf}\"\"\"\n"
    );
    let (code, out, _) = apply(one, &document, &[]);
    let counts = "0 changed, 0 unchanged, 1 failed, 2 not tried";
    assert!(code == 8 && out.contains(counts), "{out}");
}

#[test]
fn files_of_a_document_are_read_in_every_form_or_named() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let pair = Pair::make("shop.example");
    let root = one.file("root.cer", &pair.chain_der);
    let trusted = format!("[trust]\ncluster = {{ file = \"{root}\" }}\n");
    for counts in ["1 changed, 0 unchanged", "0 changed, 1 unchanged"] {
        let (code, out, err) = apply(one, &trusted, &[]);
        assert!(code == 0 && out.contains(counts), "{out}{err}");
    }
    let (bundle, key) = one.pair_files(&pair);
    let (der, p12) = (one.file("shop.cer", &pair.der), one.file("shop.p12", b""));
    let pack = ["pkcs12", "-export", "-passout", "pass:", "-inkey", &key, "-in", &bundle];
    openssl(&[&pack[..], &["-out", &p12]].concat());
    for (key, certificate, name, hint) in [
        (&key, &der, "DER", format!("-in {der}")),
        (&key, &p12, "PKCS#12", format!("-in {p12}")),
        (&p12, &bundle, "PKCS#12", format!("-in {p12}")),
    ] {
        let document = format!(
            "[[domains]]\nname = \"shop.example\"\n[[domains.credentials]]\n\
             key = {{ file = \"{key}\" }}\ncertificate = {{ file = \"{certificate}\" }}\n"
        );
        let (code, out, err) = apply(one, &document, &[]);
        assert!(code == 8 && out.is_empty(), "{out}{err}");
        assert!(err.contains(name) && err.contains(&hint), "{err}");
    }
    assert_eq!(one.run(&["domain", "list", "-o", "name"]).ok(), "node-1.main\n");
}

#[test]
fn apply_is_quiet_or_names_what_changed_and_a_pending_key_stays_as_it_is() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let document = "[[domains]]\nname = \"a.example\"\n";
    let said = |document: &str, words: &[&str]| apply(one, document, words);
    let silent = (0, String::new(), String::new());
    assert_eq!(said(document, &["-q"]), silent);
    let two = format!("{document}[[domains]]\nname = \"b.example\"\n");
    assert_eq!(said(&two, &["-o", "name"]), (0, "b.example\n".to_owned(), String::new()));
    assert_eq!(said(&two, &["-o", "name"]), silent);
    one.run(&["key", "generate", "a.example"]).ok();
    one.run(&["csr", "create", "a.example", "--new-key"]).ok();
    let domain = one.run(&["domain", "show", "a.example", "-o", "json"]).json();
    let pending = domain["pending_keys"][0]["sha256"].as_str().unwrap();
    let waits = format!("{document}credentials = [{{ key = {{ sha256 = \"{pending}\" }} }}]\n");
    for words in [&[][..], &[], &["--dry-run"]] {
        let (code, out, err) = said(&waits, words);
        assert!(code == 0 && out.lines().count() == 1, "{out}{err}");
        assert!(out.contains("0 changed, 1 unchanged") || out.contains("change 0, 1 "), "{out}");
    }
    let after = one.run(&["domain", "show", "a.example", "-o", "json"]).json();
    assert_eq!(after, domain);
    // A directory that cannot be is a file that cannot be used.
    let below = format!("{}/x", one.file("plain", b"kept"));
    let ran = one.run(&["export", "--dir", &below, "-o", "json"]);
    assert_eq!((ran.code, &ran.problem()["code"]), (2, &"X008".into()), "{}", ran.err);
}

/// A document of domains with their own certificates; the keys lie in files.
fn many(node: &Node, count: usize) -> String {
    let pair = Pair::make("*.many.example");
    let (bundle, key) = node.pair_files(&pair);
    let one = |number: usize| {
        format!(
            "[[domains]]\nname = \"d{number}.many.example\"\npki = \"enabled\"\n\
             aliases = [\"www.d{number}.example\"]\n\
             [[domains.credentials]]\nkey = {{ file = \"{key}\" }}\n\
             certificate = {{ file = \"{bundle}\" }}\n"
        )
    };
    (0..count).map(one).collect()
}

#[test]
fn many_domains_are_applied_at_once() {
    let count = std::env::var("CONCLAVE_APPLY_DOMAINS").ok();
    let count = count.and_then(|text| text.parse().ok()).unwrap_or(100);
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    let document = many(one, count);
    let started = Instant::now();
    let (code, out, err) = apply(one, &document, &["-q"]);
    println!("{count} domains: {} ms", started.elapsed().as_millis());
    assert_eq!(code, 0, "{out}{err}");
    let started = Instant::now();
    let (code, out, err) = apply(one, &document, &[]);
    println!("{count} domains again: {} ms", started.elapsed().as_millis());
    assert!(code == 0 && out.contains(&format!("0 changed, {count} unchanged")), "{out}{err}");
}
