//! The certificates of nodes and of their admin APIs, and the authority that issues them.

use std::{net::SocketAddr, process::Command};

use conclave_pki::certificate::Certificate;
use conclave_tests::{Cluster, Node, Ran, openssl_chain_of, run_alone, wait_for};

/// Where the admin API of a node answers over HTTPS, as it said last.
fn admin(node: &Node) -> SocketAddr {
    let said = node.said();
    let url = said.split_whitespace().filter_map(|word| word.strip_prefix("https://")).next_back();
    url.unwrap().parse().unwrap()
}

/// A command over HTTPS, with a token in a file.
fn over_https(at: &str, token: &str, words: &[&str]) -> Ran {
    let all = ["--address", at, "--token-file", token, "-o", "json"];
    run_alone(&[&all[..], words].concat())
}

fn token(node: &Node, name: &str) -> String {
    let made =
        node.run(&["token", "create", name, "--role", "admin,security", "-o", "json"]).json();
    node.file(&format!("{name}.token"), made["token"].as_str().unwrap().as_bytes())
}

/// The chain that an admin API shows, the node's certificate first.
fn chain(node: &Node) -> Vec<Vec<u8>> {
    openssl_chain_of(admin(node), &["-tls1_3"])
}

fn names(der: &[u8]) -> Vec<String> {
    Certificate::from_der(der).unwrap().names()
}

fn days(der: &[u8]) -> u64 {
    let certificate = Certificate::from_der(der).unwrap();
    (certificate.not_after() - certificate.not_before()) / 86_400
}

/// The process that founded a cluster renews its certificate, and forgets nothing by it.
#[test]
fn a_founder_is_a_member_also_after_a_renewal() {
    let mut cluster = Cluster::start(1);
    let one = &mut cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    one.run(&["cluster", "rotate-authority"]).ok();
    wait_for("a new certificate", || one.log().contains("certificate.renewed").then_some(()));
    one.stop();
    one.start();
    let names = one.run(&["domain", "list", "-o", "name"]).ok();
    assert!(names.lines().any(|name| name == "shop.example"), "{names}");
}

#[test]
fn an_admin_api_has_a_certificate_of_its_own_for_its_names_only() {
    let mut cluster = Cluster::start(2);
    cluster.nodes[1].configure("admin", "names = [\"two.example\"]");
    cluster.nodes[1].stop();
    cluster.nodes[1].start();
    let [one, two] = &cluster.nodes[..] else { unreachable!() };
    let token = token(one, "deploy");
    let shown = chain(two);
    let found = names(&shown[0]);
    for name in ["node-2", "two.example", "node-2.conclave.internal", &two.address.to_string()] {
        assert!(found.iter().any(|one| one == name), "{name}: {found:?}");
    }
    assert_eq!(days(&shown[0]), 8, "a week, and a day for clocks that differ");
    let at = |node: &Node| format!("https://{}", admin(node));
    let status = over_https(&at(two), &token, &["status"]);
    assert!([0, 9].contains(&status.code), "{}", status.err);
    // By another name it is not the node that is meant, and gets no token.
    let named = ["--node-name", "node-1", "status"];
    let problem = over_https(&at(two), &token, &named).problem();
    assert_eq!((&problem["code"], &problem["exit_code"]), (&"X010".into(), &6.into()), "{problem}");
    let why = problem.to_string();
    assert!(why.contains("not the node that is meant") && why.contains("node-2"), "{problem}");
    let right = over_https(&at(two), &token, &["--node-name", "two.example", "status"]);
    assert!([0, 9].contains(&right.code), "{}", right.err);
}

/// The key of a node, which a thief may have, does not make an admin API.
#[test]
fn the_identity_of_a_node_is_no_admin_api() {
    let mut cluster = Cluster::start(2);
    let token = token(&cluster.nodes[0], "deploy");
    let two = &mut cluster.nodes[1];
    two.stop();
    // Without its unlock key it is sealed and has only its identity to show.
    let unlock = two.dir.join(format!("{}.unlock.key", two.name));
    std::fs::rename(&unlock, two.dir.join("away")).unwrap();
    two.start();
    let [_, two] = &cluster.nodes[..] else { unreachable!() };
    assert_eq!(names(&chain(two)[0]), ["node-2.conclave.internal"]);
    let at = format!("https://{}", admin(two));
    let problem = over_https(&at, &token, &["status"]).problem();
    assert_eq!(problem["code"], "X010", "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("sealed node"), "{problem}");
}

fn fingerprint(node: &Node) -> String {
    node.status()["cluster"]["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn an_authority_is_replaced_while_the_one_before_is_trusted() {
    let cluster = Cluster::start(3);
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let (old, before) = (token(one, "old"), fingerprint(one));
    let open = one.run(&["join-token", "create", "-o", "json"]).json();
    let rotated = one.run(&["cluster", "rotate-authority", "-o", "json"]).json();
    assert!(rotated["warnings"].to_string().contains("join token"), "{rotated}");
    wait_for("the new authority", || (fingerprint(three) != before).then_some(()));
    let new = token(one, "new");
    let at = |node: &Node| format!("https://{}", admin(node));
    for node in [one, two, three] {
        wait_for("a certificate by the new authority", || (chain(node).len() == 4).then_some(()));
        for token in [&old, &new] {
            let status = over_https(&at(node), token, &["status"]);
            assert!([0, 9].contains(&status.code), "{}", status.err);
        }
    }
    // OpenSSL follows the same way from either authority.
    let pem = |der: &[u8], name: &str| {
        let path = one.file(name, der);
        let text = Command::new("openssl")
            .args(["x509", "-inform", "DER", "-in", &path])
            .output()
            .unwrap()
            .stdout;
        one.file(&format!("{name}.pem"), &text)
    };
    let shown = chain(two);
    let files: Vec<String> = ["leaf", "authority", "cross", "earlier"]
        .iter()
        .zip(&shown)
        .map(|(n, d)| pem(d, n))
        .collect();
    for words in [
        vec!["verify", "-CAfile", &files[1], &files[0]],
        vec!["verify", "-CAfile", &files[3], "-untrusted", &files[2], &files[0]],
    ] {
        let told = Command::new("openssl").args(&words).output().unwrap();
        assert!(told.status.success(), "{words:?}: {}", String::from_utf8_lossy(&told.stderr));
    }
    let twice = one.run(&["cluster", "rotate-authority", "-o", "json"]).problem();
    assert_eq!(twice["code"], "J008", "{twice}");
    let mut late =
        Node::new(&cluster.dir.path().join("new"), "node-4", [127, 0, 0, 4].into(), "info");
    late.start();
    let spent = late.file("spent", open["token"].as_str().unwrap().as_bytes());
    let member = one.quic.to_string();
    let refused = late.run(&["cluster", "join", &member, "--token-file", &spent, "-o", "json"]);
    assert_eq!(refused.problem()["code"], "J002", "{}", refused.err);
    let fresh = cluster.join_token(&late);
    late.run(&["--timeout", "60s", "cluster", "join", &member, "--token-file", &fresh]).ok();
    let done = one.run(&["cluster", "rotate-authority", "--finish", "--yes", "-o", "json"]).json();
    assert!(done["warnings"].to_string().contains("old"), "{done}");
    for node in [one, two, three] {
        wait_for("the end of the earlier one", || {
            let problem = over_https(&at(node), &old, &["status"]);
            (problem.code == 6 && problem.problem()["code"] == "X010").then_some(())
        });
        assert!([0, 9].contains(&over_https(&at(node), &new, &["status"]).code));
    }
    let again = one.run(&["cluster", "rotate-authority", "--finish", "--yes", "-o", "json"]).json();
    assert_eq!(again["changed"], false, "{again}");
    // Whole again after a restart of everything, with what lies on the disks.
    let mut cluster = cluster;
    cluster.nodes.iter_mut().for_each(Node::stop);
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.nodes[1].run(&["--timeout", "60s", "domain", "create", "after.example"]).ok();
}
