//! The control plane of TLS: settings, session keys, client certificates, listeners, revocation.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use conclave_tests::{Cluster, Node, forge, probe, probe_stream, wait_for};
use serde_json::{Value, json};

/// The error of a command that must fail.
fn refused(node: &Node, words: &[&str]) -> (i32, Value) {
    let ran = node.run(&[words, &["-o", "json"]].concat());
    assert_ne!(ran.code, 0, "{words:?} is possible: {}", ran.out);
    (ran.code, ran.problem())
}

fn json_of(node: &Node, words: &[&str]) -> Value {
    node.run(&[words, &["-o", "json"]].concat()).json()
}

#[test]
fn settings_hold_for_all_nodes_and_old_switches_refuse_with_their_reason() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let before = json_of(three, &["tls", "show"]);
    assert_eq!((&before["min_version"], &before["ttl_s"]), (&json!("1.2"), &json!(7200)));
    let words = [
        "tls",
        "set",
        "--min-version",
        "1.3",
        "--ttl",
        "8h",
        "--rotation",
        "2h",
        "--log-level",
        "debug",
        "--process-target-domain",
        "off",
        "--abort-on-wrong-client-certificate",
        "off",
        "--groups",
        "x25519,secp256r1",
        "--cipher-suites",
        "tls_aes_128_gcm_sha256",
    ];
    let done = json_of(one, &words);
    assert_eq!(done["served"]["nodes"].as_array().unwrap().len(), 3, "{done}");
    let after = json_of(three, &["tls", "show"]);
    for (setting, expected) in [
        ("min_version", json!("1.3")),
        ("ttl_s", json!(28_800)),
        ("rotation_s", json!(7_200)),
        ("log_level", json!("debug")),
        ("process_target_domain", json!(false)),
        ("abort_on_wrong_client_certificate", json!(false)),
        ("groups", json!(["x25519", "secp256r1"])),
        ("cipher_suites", json!(["TLS_AES_128_GCM_SHA256"])),
    ] {
        assert_eq!(after[setting], expected, "{setting}");
    }
    assert_eq!(after["version"], done["version"]);
    // What is not given stays; what is off already changes nothing.
    let version = after["version"].to_string();
    let off = json_of(two, &["tls", "set", "--weak-ciphers", "off", "--if-version", &version]);
    assert_eq!(off["version"], after["version"], "nothing changed");
    for (words, reason) in [
        (&["--cbc-ciphers-for-old-tls", "on"][..], "RFC 9325"),
        (&["--weak-ciphers", "on"], "RFC 7465"),
        (&["--accept-sslv2-hello", "on"], "RFC 6176"),
        (&["--min-version", "1.0"], "RFC 8996"),
        (&["--min-version", "1.1"], "RFC 8996"),
    ] {
        let (code, problem) = refused(two, &[&["tls", "set"], words].concat());
        assert_eq!((code, &problem["code"]), (2, &json!("F003")), "{words:?}");
        assert!(problem["why"].as_str().unwrap().contains(reason), "{words:?}: {problem}");
        let shown = one.run(&["tls", "show"]).ok();
        let line = shown.lines().find(|line| line.contains(reason)).unwrap();
        assert!(line.contains("off - not offered by this server"), "{line}");
    }
    for words in [
        &["--ttl", "8d"][..],
        &["--ttl", "200h"],
        &["--rotation", "0s"],
        &["--rotation", "1s", "--ttl", "8h"],
        &["--min-version", "1.4"],
        &["--groups", "sect571r1"],
        &["--cipher-suites", "TLS_RSA_WITH_RC4_128_SHA"],
        &["--cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
    ] {
        assert_eq!(one.run(&[&["tls", "set"], words].concat()).code, 2, "{words:?}");
    }
    assert_eq!(one.run(&["tls", "set", "--ttl", "1h", "--if-version", "0"]).code, 4);
    let tried = json_of(one, &["tls", "set", "--ttl", "1h", "--dry-run"]);
    let changed = tried["dry_run"]["differences"].as_array().unwrap();
    let ttl = changed.iter().find(|one| one["what"] == "time to live").unwrap();
    assert_eq!((&ttl["before"], &ttl["after"]), (&json!("28800 s"), &json!("3600 s")));
    assert_eq!(json_of(two, &["tls", "show"])["ttl_s"], json!(28_800), "only tried");
    two.run(&["tls", "flush", "--yes"]).ok();
    assert_eq!(json_of(three, &["tls", "sessions"])["flushes"], json!(1));
}

/// The active key of tickets, once there is one.
fn active(node: &Node) -> Option<String> {
    let sessions = json_of(node, &["--stale", "tls", "sessions"]);
    let of = |one: &&Value| one["use"] == "ticket";
    let ticket = sessions["keys"].as_array().unwrap().iter().find(of).unwrap().clone();
    ticket["active"]["id"].as_str().map(ToOwned::to_owned)
}

#[test]
fn session_keys_change_in_time_also_with_a_dead_node_and_a_new_leader() {
    let mut cluster = Cluster::start(3);
    let first = wait_for("a first key", || active(&cluster.nodes[0]));
    // The key is old by the new setting at once.
    cluster.nodes[0].run(&["tls", "set", "--rotation", "1s", "--ttl", "10m"]).ok();
    let second =
        wait_for("its successor", || active(&cluster.nodes[1]).filter(|found| *found != first));
    let leader = cluster.leader();
    cluster.nodes[leader].kill();
    let rest: Vec<&Node> =
        cluster.nodes.iter().enumerate().filter(|(at, _)| *at != leader).map(|(_, n)| n).collect();
    wait_for("one by the next leader, with a dead node", || {
        active(rest[0]).filter(|found| ![&first, &second].contains(&found))
    });
    wait_for("the same on the other node, or a newer one", || {
        active(rest[1]).filter(|found| ![&first, &second].contains(&found))
    });
    // A new generation of the keyring, which a removed node would not have, brings a new key.
    rest[0].run(&["--timeout", "30s", "tls", "set", "--rotation", "24h"]).ok();
    let last = json_of(rest[0], &["tls", "sessions"])["keys"][0]["active"]["id"].clone();
    rest[0].run(&["--timeout", "30s", "keyring", "rotate"]).ok();
    wait_for("a newer key under generation 2", || {
        let sessions = json_of(rest[0], &["tls", "sessions"]);
        let active = &sessions["keys"][0]["active"];
        (active["generation"] == 2 && active["id"] != last).then_some(())
    });
    // Nothing to be done: nothing is written.
    rest[0].wait_quiet();
    let sessions = json_of(rest[0], &["tls", "sessions"]);
    assert_eq!(
        (&sessions["keys"][0]["count"], &sessions["keys"][1]["count"]),
        (&json!(1), &json!(1))
    );
    let commit = |node: &Node| node.status()["cluster"]["commit_index"].as_u64().unwrap();
    let (started, before) = (std::time::Instant::now(), commit(rest[0]));
    wait_for("two seconds", || (started.elapsed().as_secs() >= 2).then_some(()));
    assert_eq!(commit(rest[0]), before, "an idle cluster writes nothing");
}

#[test]
fn client_certificates_are_asked_of_a_trusted_issuer_only() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["domain", "create", "shop.example"]).ok();
    let issuer = forge("root cn=Clients; leaf", None).anchors;
    let file = one.file("issuer.pem", issuer.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &file]).ok();
    let listed = json_of(one, &["trust", "list", "--scope", "domain:shop.example"]);
    let find = |set: &str| {
        let found = listed.as_array().unwrap().iter().find(|one| one["set"] == set).unwrap();
        found["sha256"].as_str().unwrap().to_owned()
    };
    let (clients, builtin) = (find("cluster"), find("builtin"));
    let set = ["client-auth", "set", "shop.example", "--issuer"];
    let (code, problem) = refused(two, &[&set[..], &["00000000"]].concat());
    assert_eq!((code, &problem["code"]), (3, &json!("T001")));
    let (_, problem) = refused(two, &[&set[..], &[""]].concat());
    assert!(problem["title"].as_str().unwrap().contains("not clear"), "{problem}");
    let done = json_of(two, &[&set[..], &[&clients[..16], "--required"]].concat());
    assert_eq!(done["version"], 2);
    let shown = json_of(three, &["client-auth", "show", "shop.example"]);
    let asked = &shown["client_auth"];
    assert_eq!((&asked["required"], &asked["set"]), (&json!(true), &json!("cluster")));
    assert!(asked["subject"].as_str().unwrap().contains("Clients"), "{shown}");
    assert!(three.run(&["domain", "show", "shop.example"]).ok().contains("is required"));
    let told = json_of(one, &[&set[..], &[&builtin]].concat());
    assert!(told["warnings"].to_string().contains("public authority"), "{told}");
    one.run(&[&set[..], &[&clients]].concat()).ok();
    // Its issuer gone, no client certificate is valid: said where the domain is shown.
    one.run(&["trust", "remove", "--scope", "cluster", "--yes", &clients]).ok();
    let shown = json_of(three, &["client-auth", "show", "shop.example"]);
    assert!(shown["problems"][0].as_str().unwrap().contains("no longer trusted"), "{shown}");
    one.run(&["client-auth", "clear", "shop.example"]).ok();
    let shown = json_of(three, &["client-auth", "show", "shop.example"]);
    assert_eq!(shown["client_auth"], Value::Null);
    // A local domain is verified by the node's set, not by the cluster's.
    one.run(&["--scope", "local", "domain", "create", "own.example"]).ok();
    one.run(&["trust", "add", "--scope", "cluster", &file]).ok();
    let own = ["client-auth", "set", "own.example", "--issuer", &clients];
    assert_eq!(refused(one, &own).0, 3);
    one.run(&["trust", "add", "--scope", "server", &file]).ok();
    one.run(&own).ok();
}

#[test]
fn listeners_take_what_goes_with_their_protocol() {
    let cluster = Cluster::start(3);
    let [one, two, _] = &cluster.nodes[..] else { unreachable!() };
    let add = |name: &str, words: &[&str]| {
        let bind = format!(":{}", cluster.free_port());
        let all = [&["listener", "add", name, "--bind", &bind], words, &["-o", "json"]].concat();
        one.run(&all)
    };
    let backend = conclave_tests::echo_upstream().to_string();
    let full = add(
        "web",
        &[
            "--upstream",
            &backend,
            "--upstream",
            "backend.example:80",
            "--domain-upstream",
            "shop.example=10.0.0.1:80",
            "--domain-upstream",
            "shop.example=10.0.0.2:80",
            "--alpn",
            "h2,http/1.1",
            "--proxy-from",
            "10.0.0.0/8",
            "--proxy-from",
            "192.0.2.1",
            "--proxy-to",
            "v2",
        ],
    );
    let warnings = full.json()["warnings"].to_string();
    assert!(warnings.contains("shop.example is no shared domain"), "{warnings}");
    let listed = json_of(two, &["listener", "list"]);
    let web = listed.as_array().unwrap().iter().find(|one| one["name"] == "web").unwrap();
    for (what, expected) in [
        ("protocol", json!("tls")),
        ("upstreams", json!([backend, "backend.example:80"])),
        ("domain_upstreams", json!({"shop.example": ["10.0.0.1:80", "10.0.0.2:80"]})),
        ("alpn", json!(["h2", "http/1.1"])),
        ("proxy_from", json!(["10.0.0.0/8", "192.0.2.1/32"])),
        ("proxy_to", json!("v2")),
    ] {
        assert_eq!(web[what], expected, "{what}");
    }
    assert!(two.run(&["listener", "list"]).ok().contains("proxy-to v2"));
    let warned = |words: &[&str], expected: &str| {
        let told = add("tried", &[words, &["--dry-run"]].concat()).json();
        assert!(told["warnings"].to_string().contains(expected), "{words:?}: {told}");
    };
    let smtp = ["--protocol", "smtp", "--upstream", "127.0.0.1:25"];
    warned(&smtp, "--proxy-to v2");
    warned(&smtp, "XCLIENT");
    warned(&["--protocol", "ftp", "--upstream", "10.0.0.1:21"], "data connections");
    warned(&["--upstream", "10.0.0.1:80", "--proxy-to", "v1"], "no place for facts of TLS");
    warned(&["--upstream", "10.0.0.1:80", "--proxy-from", "0.0.0.0/0"], "believes everybody");
    let told = add("tried", &[&smtp[..], &["--proxy-to", "v2", "--dry-run"]].concat()).json();
    assert!(told["warnings"].is_null(), "the cure is taken: {told}");
    let no = |words: &[&str], expected: &str| {
        let ran = add("tried", words);
        assert_eq!(ran.problem()["code"].as_str(), Some(expected), "{words:?}");
        assert_eq!(ran.code, 2, "{words:?}");
    };
    no(&["--protocol", "gopher", "--upstream", "10.0.0.1:70"], "N006");
    no(&["--upstream", "10.0.0.1:80", "--require-tls"], "N006");
    no(&["--upstream", "10.0.0.1:80", "--starttls", "smtp"], "N006");
    no(&["--upstream", "10.0.0.1:80", "--server-name", "a.example"], "N006");
    no(&["--upstream", "udp:10.0.0.1:80"], "N006");
    no(&["--protocol", "dtls", "--upstream", "10.0.0.1:80"], "N006");
    no(&["--protocol", "dtls", "--upstream", "udp:10.0.0.1:80", "--proxy-to", "v1"], "N006");
    let proxied = ["--protocol", "dtls", "--upstream", "udp:10.0.0.1:80", "--proxy-from", "::1"];
    no(&proxied, "N006");
    no(&["--protocol", "outgoing-tls", "--upstream", "a.example:25", "--starttls", "tls"], "N006");
    no(&["--protocol", "outgoing-tls", "--upstream", "a.example:25", "--proxy-to", "v2"], "N006");
    no(&["--upstream", "10.0.0.1:80", "--proxy-to", "v3"], "N003");
    no(&["--upstream", "10.0.0.1:80", "--proxy-from", "10.0.0.0/33"], "N003");
    no(&["--upstream", "10.0.0.1:80", "--alpn", "h2, http/1.1"], "N003");
    no(&["--upstream", "10.0.0.1:80", "--domain-upstream", "a.example=169.254.169.254:80"], "N003");
    no(&["--upstream", "unix:/run/not-listed.sock"], "N003");
    let admin = format!("unix:{}", one.dir.join("admin.sock").display());
    no(&["--upstream", &admin], "N003");
    // Every protocol can be asked for.
    let dtls = ["--protocol", "dtls", "--upstream", "udp:10.0.0.1:5000", "--proxy-to", "v2"];
    add("tried", &[&dtls[..], &["--dry-run"]].concat()).json();
    for protocol in ["imap", "pop3", "xmpp", "xmpp-server", "ldap", "postgres", "sieve", "ftp"] {
        let words = ["--protocol", protocol, "--upstream", "10.0.0.1:99", "--require-tls"];
        add("tried", &[&words[..], &["--dry-run"]].concat()).json();
    }
    let outgoing = [
        "--protocol",
        "outgoing-tls",
        "--upstream",
        "mail.example:25",
        "--starttls",
        "smtp",
        "--server-name",
        "mx.example",
        "--dry-run",
    ];
    add("tried", &outgoing).json();
}

#[test]
fn revocation_lists_stand_in_sets_and_revoke_there() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["domain", "create", "shop.example"]).ok();
    let forged = forge("root; ca; leaf", Some("revoked"));
    let crl = forged.crl.clone().unwrap();
    let both = one.file("both.pem", format!("{}{crl}", forged.anchors).as_bytes());
    one.run(&["trust", "add", "--scope", "domain:shop.example", &both]).ok();
    let listed = json_of(three, &["trust", "list", "--scope", "domain:shop.example"]);
    let lists: Vec<&Value> =
        listed.as_array().unwrap().iter().filter(|one| one["type"] == "crl").collect();
    assert_eq!(lists.len(), 1, "{listed}");
    assert_eq!((&lists[0]["set"], &lists[0]["revoked"]), (&json!("domain"), &json!(1)));
    let table = two.run(&["trust", "list", "--scope", "domain:shop.example"]).ok();
    assert!(table.contains("revocation list of"), "{table}");
    let chain =
        one.file("chain.pem", format!("{}{}", forged.leaf, forged.intermediates).as_bytes());
    let at = jiff::Timestamp::from_second(i64::try_from(conclave_tests::NOON).unwrap()).unwrap();
    let at = at.to_string();
    let verify = |command: &str| {
        let scope = ["--scope", "domain:shop.example", "--at", &at, "-o", "json"];
        let ran = two.run(&[&["trust", command, &chain], &scope[..]].concat());
        let verdict: Value = serde_json::from_str(&ran.out).unwrap();
        (ran.code, verdict["reason"].clone())
    };
    assert_eq!(verify("verify"), (8, json!("C009")), "by the list of the set");
    assert_eq!(verify("explain"), (8, json!("C009")));
    // It says nothing about what another authority of the set issued.
    let other = forge("root cn=Other; leaf", None);
    let root = one.file("other.pem", other.anchors.as_bytes());
    one.run(&["trust", "add", "--scope", "domain:shop.example", &root]).ok();
    let leaf = one.file("other-leaf.pem", other.leaf.as_bytes());
    let scope = ["--scope", "domain:shop.example", "--at", &at];
    two.run(&[&["trust", "verify", &leaf], &scope[..]].concat()).ok();
    let issuer = lists[0]["sha256"].as_str().unwrap();
    let remove = ["trust", "remove", "--scope", "domain:shop.example", "--yes", &issuer[..12]];
    two.run(&remove).ok();
    assert_eq!(verify("verify"), (0, Value::Null), "nothing revokes it any more");
    assert_eq!(two.run(&remove).code, 3);
}

#[test]
fn a_long_revocation_list_counts_like_a_short_one() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let forged = forge("root; ca; leaf", Some("large-revoked"));
    let roots = one.file("roots.pem", forged.anchors.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &roots]).ok();
    let crl = two.file("crl.pem", forged.crl.clone().unwrap().as_bytes());
    let add = ["trust", "add", "--scope", "cluster", &crl, "-o", "json"];
    let tried = two.run(&[&add[..], &["--dry-run"]].concat()).json();
    assert!(tried["dry_run"].to_string().contains("revocation list"), "{tried}");
    let revoked = |node: &Node| {
        let listed = json_of(node, &["trust", "list", "--scope", "cluster"]);
        let lists = listed.as_array().unwrap();
        lists.iter().find(|one| one["type"] == "crl").map(|one| one["revoked"].clone())
    };
    assert_eq!(revoked(two), None, "nothing was done");
    assert_eq!(two.run(&add).json()["changed"], true);
    assert_eq!(revoked(three), Some(json!(0xe001)));
    let digest = || one.status()["cluster"]["digest"].clone();
    let before = digest();
    assert_eq!(one.run(&add).json()["changed"], false, "the same again");
    assert_eq!(digest(), before);
    let chain = format!("{}{}", forged.leaf, forged.intermediates);
    let chain = three.file("chain.pem", chain.as_bytes());
    let at = jiff::Timestamp::from_second(i64::try_from(conclave_tests::NOON).unwrap()).unwrap();
    let at = at.to_string();
    let words = ["trust", "explain", &chain, "--scope", "cluster", "--at", &at, "-o", "json"];
    let verdict: Value = serde_json::from_str(&three.run(&words).out).unwrap();
    assert_eq!(verdict["reason"], "C009", "{verdict}");
    let exported = one.file("exported.toml", one.run(&["export"]).ok().as_bytes());
    let applied = two.run(&["apply", "-f", &exported]).ok();
    assert!(applied.contains("0 changed"), "{applied}");
    // Also in the scope of one node, and never beside others in one file.
    let local = ["trust", "add", "--scope", "server", &crl];
    one.run(&local).ok();
    let mixed = format!("{}{}", forged.anchors, forged.crl.unwrap());
    let mixed = one.file("mixed.pem", mixed.as_bytes());
    let ran = one.run(&["trust", "add", "--scope", "cluster", &mixed]);
    assert!(ran.code == 4 && ran.err.contains("a file without others"), "{}", ran.err);
}

#[test]
fn long_lists_that_two_add_at_once_to_one_set_are_both_there() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let add = |node: &Node, ca: &str| {
        let forged = forge(&format!("root; ca cn={ca}; leaf"), Some("large-revoked"));
        let crl = node.file("crl.pem", forged.crl.unwrap().as_bytes());
        node.run(&["trust", "add", "--scope", "cluster", &crl]).ok();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| add(one, "First"));
        scope.spawn(|| add(two, "Second"));
    });
    let listed = json_of(three, &["trust", "list", "--scope", "cluster"]);
    let lists = listed.as_array().unwrap().iter().filter(|one| one["type"] == "crl");
    assert_eq!(lists.count(), 2);
}

#[test]
fn revocation_lists_that_would_not_work_are_refused_by_name() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let add = |crl: &str| {
        let forged = forge("root; ca; leaf", Some(crl));
        let file = one.file("crl.pem", forged.crl.unwrap().as_bytes());
        one.run(&["trust", "add", "--scope", "cluster", &file, "-o", "json"])
    };
    let no = |crl: &str, code: &str, words: &str| {
        let ran = add(crl);
        let problem = ran.problem();
        assert_eq!(problem["code"].as_str(), Some(code), "{crl}: {problem}");
        assert!(problem["title"].as_str().unwrap().contains(words), "{crl}: {problem}");
    };
    no("delta", "H008", "is a delta");
    no("far-future", "H008", "is not valid before");
    let told = add("expired").json();
    assert!(told["warnings"].to_string().contains("has expired"), "{told}");
    let told = add("no-next").json();
    assert!(told["warnings"].to_string().contains("RFC 5280 §5.1.2.5"), "{told}");
    // What is wrong with a list is said where it counts, and nowhere else.
    let said = one.run(&["status"]).out;
    assert!(
        said.contains("x  cluster trust  the revocation list of CN=ca 1 does not say"),
        "{said}"
    );
    let forged = forge("root; ca; leaf", None);
    let known =
        one.file("known.pem", format!("{}{}", forged.anchors, forged.intermediates).as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &known]).ok();
    one.run(&["domain", "create", "shop.example"]).ok();
    let listed = json_of(one, &["trust", "list", "--scope", "cluster"]);
    for (subject, is_below) in [("CN=root 0", true), ("CN=ca 1", true), ("CN=Own", false)] {
        if !is_below {
            let own = one.file("own.pem", forge("root cn=Own; leaf", None).anchors.as_bytes());
            one.run(&["trust", "add", "--scope", "cluster", &own]).ok();
        }
        let listed = if is_below {
            listed.clone()
        } else {
            json_of(one, &["trust", "list", "--scope", "cluster"])
        };
        let of = |one: &&Value| one["type"] == "certificate" && one["subject"] == subject;
        let issuer = listed.as_array().unwrap().iter().find(of).unwrap()["sha256"].clone();
        one.run(&["client-auth", "set", "shop.example", "--issuer", issuer.as_str().unwrap()]).ok();
        let shown = json_of(one, &["client-auth", "show", "shop.example"]);
        assert_eq!(
            shown["problems"].to_string().contains("CN=ca 1 does not say"),
            is_below,
            "{subject}: {shown}"
        );
    }
    let cut = forge("root; ca; leaf", Some("good")).crl.unwrap().replace("X509 CRL", "X509 CRX");
    let file = one.file("odd.pem", cut.as_bytes());
    assert_eq!(one.run(&["trust", "add", "--scope", "cluster", &file]).code, 8);
}

#[test]
fn a_drained_node_lets_connections_end_takes_no_new_ones_and_serves_again() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let port = cluster.listen();
    let here = three.listener(port);
    one.run(&["domain", "create", "shop.example"]).ok();
    let open = || probe_stream(here, "shop.example", rustls::ALL_VERSIONS).unwrap().1;
    let (mut ends, mut stays) = (open(), open());
    let state = |node: &Node| {
        let nodes = json_of(node, &["node", "list"]);
        nodes[2]["state"].as_str().unwrap().to_owned()
    };
    let begun = json_of(one, &["node", "drain", "node-3", "--deadline", "10m", "--no-wait"]);
    assert_eq!((&begun["state"], &begun["remaining"]), (&json!("draining"), &json!(2)), "{begun}");
    wait_for("its socket is closed", || TcpStream::connect(here).err());
    wait_for("others know", || (state(two) == "draining").then_some(()));
    probe(two.listener(port), "shop.example").unwrap();
    // What stands goes on, also while the others change things.
    two.run(&["domain", "create", "new.example"]).ok();
    stays.write_all(b"still here").unwrap();
    let mut back = [0; 10];
    stays.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still here");
    ends.conn.send_close_notify();
    ends.flush().unwrap();
    let mut rest = Vec::new();
    let _ = ends.read_to_end(&mut rest);
    drop(ends);
    // A new deadline counts: now the rest is closed.
    let done = json_of(two, &["node", "drain", "node-3", "--deadline", "1s"]);
    assert_eq!((&done["state"], &done["closed"]), (&json!("drained"), &json!(1)), "{done}");
    assert_eq!(done["finished"], 1, "{done}");
    assert!(matches!(stays.read(&mut back), Ok(0) | Err(_)), "closed at the deadline");
    let back = json_of(two, &["node", "resume", "node-3"]);
    assert_eq!(back["state"], "serving");
    probe(here, "shop.example").unwrap();
    wait_for("others know it", || (state(one) == "ready").then_some(()));
    let (code, problem) = refused(one, &["node", "drain", "node-9"]);
    assert_eq!((code, &problem["code"]), (3, &json!("X005")));
}
