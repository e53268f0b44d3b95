//! Makes what a release leaves in `fixtures`: its cluster, and samples of its formats.
#![allow(clippy::print_stdout, reason = "its words are for people")]

use std::{path::Path, process::Command};

use clap::Parser;
use conclave_tests::{
    Authority, Cluster, Node, authority, echo_datagrams_at, echo_upstream_at, forge,
    release::{self, HTTPS_PORT, UPSTREAM},
    wait_for,
};
use rcgen::{KeyPair, SanType, date_time_ymd};

/// Makes the fixtures of a release anew.
#[derive(Parser)]
struct Args {
    /// Name of the release, as v0.1.0
    release: String,
}

/// Long enough that the certificates of the cluster are still valid in many years.
const LAST_YEAR: i32 = 2126;

fn main() {
    let Args { release: name } = Args::parse();
    let dir = release::fixtures().join(&name);
    std::fs::create_dir_all(&dir).unwrap();
    make_cluster(&dir);
    println!("{} is made", dir.join("cluster.tar.gz").display());
    // The formats are private to their rooms, whose tests write their samples.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut tests = Command::new(cargo);
    tests.args(["test", "--workspace", "--lib"]).env("CONCLAVE_FIXTURES", &name);
    assert!(tests.status().unwrap().success());
}

fn make_cluster(dir: &Path) {
    let _lock = release::lock();
    let mut cluster = release::new_nodes();
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.found();
    echo_upstream_at(UPSTREAM);
    echo_datagrams_at(UPSTREAM);
    let one = &cluster.nodes[0];
    let root = authority("Fixture Root", None);
    let issuer = authority("Fixture Issuer", Some(&root));
    fill_domains(one, &issuer, &root);
    one.run(&["keyring", "rotate"]).ok();
    fill_after_rotation(one, &issuer, &root);
    fill_trust(one, &issuer, &root);
    fill_listeners(one);
    fill_level_two(one);
    fill_level_three(one);
    fill_level_four(one);
    fill_level_five(one);
    fill_rest(&cluster);
    // Session keys of both uses are made by the leader on its own.
    wait_for("session keys", || has_session_keys(one).then_some(()));
    let told = release::told(one);
    let shown: Vec<_> = cluster.nodes.iter().map(release::shown).collect();
    let facts = serde_json::json!({ "told": told, "shown": shown });
    let mut text = serde_json::to_string_pretty(&facts).unwrap();
    text.push('\n');
    std::fs::write(dir.join("facts.json"), text).unwrap();
    wait_for("equal nodes", || are_equal(&cluster).then_some(()));
    cluster.nodes.iter_mut().for_each(Node::stop);
    for (file, rows) in release::row_files(&cluster) {
        std::fs::write(dir.join(file), rows).unwrap();
    }
    release::pack(&cluster, dir);
}

fn has_session_keys(node: &Node) -> bool {
    let sessions = node.run(&["tls", "sessions", "-o", "json"]).json();
    sessions["keys"]
        .as_array()
        .is_some_and(|keys| keys.len() >= 2 && keys.iter().all(|key| key["active"].is_object()))
}

/// Whether all nodes have applied the same.
fn are_equal(cluster: &Cluster) -> bool {
    let digests: Vec<_> =
        cluster.nodes.iter().map(|node| node.status()["cluster"]["digest"].clone()).collect();
    digests.iter().all(|digest| *digest == digests[0])
}

/// Files of a certificate with its chain, and of its key.
fn issue(
    node: &Node,
    issuer: &Authority,
    root: &Authority,
    key: KeyPair,
    name: &str,
) -> [String; 2] {
    let issued = issuer.issue(key, |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let dns = |name: &str| SanType::DnsName(name.to_owned().try_into().unwrap());
        params.subject_alt_names = vec![dns(name), dns(&format!("*.{name}"))];
        params.not_after = date_time_ymd(LAST_YEAR, 1, 1);
    });
    let bundle = [issued.certificate, issuer.certificate.pem(), root.certificate.pem()].concat();
    [node.file("bundle.pem", bundle.as_bytes()), node.file("key.pem", issued.key.as_bytes())]
}

/// A domain in use, with a certificate.
fn add_domain(node: &Node, by: [&Authority; 2], key: KeyPair, name: &str, more: &[&str]) {
    node.run(&[&["domain", "create", name, "--pki", "enabled"], more].concat()).ok();
    let [bundle, key] = issue(node, by[0], by[1], key, name);
    let scope = if more.contains(&"local") { &["--scope", "local"][..] } else { &[] };
    node.run(&[&["cert", "import", name, &bundle, "--key", &key], scope].concat()).ok();
}

fn ec() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn of(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// An RSA key, which rcgen cannot make.
fn rsa() -> KeyPair {
    let der = std::fs::read(release::fixtures().join("rsa2048.pk8")).unwrap();
    KeyPair::try_from(der).unwrap()
}

fn fill_domains(one: &Node, issuer: &Authority, root: &Authority) {
    let by = [issuer, root];
    let shop = ["--alias", "www.shop.example", "--alias", "*.shop.example", "--ip", "127.83.1.2"];
    add_domain(one, by, ec(), "shop.example", &shop);
    let [bundle, key] = issue(one, issuer, root, rsa(), "shop.example");
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    add_domain(one, by, rsa(), "rsa.example", &[]);
    add_domain(one, by, of(&rcgen::PKCS_ECDSA_P384_SHA384), "p384.example", &[]);
    one.run(&["domain", "create", "off.example", "--pki", "disabled"]).ok();
    one.run(&["domain", "create", "test.example", "--pki", "test", "--ip", "2001:db8::1"]).ok();
    one.run(&["domain", "create", "key.example"]).ok();
    one.run(&["key", "generate", "key.example", "--type", "p384"]).ok();
    one.run(&["domain", "create", "gone.example"]).ok();
    one.run(&["domain", "delete", "gone.example", "--yes"]).ok();
}

/// Secrets that are sealed under the second generation.
fn fill_after_rotation(one: &Node, issuer: &Authority, root: &Authority) {
    let by = [issuer, root];
    add_domain(one, by, of(&rcgen::PKCS_ED25519), "ed25519.example", &[]);
    one.run(&["domain", "create", "self.example", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "self.example"]).ok();
    one.run(&["cert", "self-sign", "self.example", "--days", "3650"]).ok();
    add_domain(one, by, ec(), "old.example", &[]);
    one.run(&["domain", "rename", "old.example", "store.example", "--reason", "a new name"]).ok();
    let alias = ["domain", "alias", "store.example", "--add", "old.example"];
    one.run(&alias).ok();
    one.run(&["domain", "rollback", "store.example", "3"]).ok();
    add_domain(one, by, ec(), "own.example", &["--scope", "local"]);
}

fn fill_trust(one: &Node, issuer: &Authority, root: &Authority) {
    let pem = |authority: &Authority| authority.certificate.pem();
    let partner = authority("Fixture Partner", None);
    let list = partner.revoke_until(7, LAST_YEAR);
    let files = [
        one.file("root.pem", pem(root).as_bytes()),
        one.file("partner.pem", [pem(&partner), list].concat().as_bytes()),
        one.file("issuer.pem", pem(issuer).as_bytes()),
    ];
    for (scope, file) in ["cluster", "domain:shop.example", "server"].into_iter().zip(&files) {
        one.run(&["trust", "add", "--scope", scope, file]).ok();
    }
    let scope = ["--scope", "domain:shop.example", "--no-inherited", "-o", "json"];
    let listed = one.run(&[&["trust", "list"], &scope[..]].concat()).json();
    let rows = listed.as_array().unwrap();
    let partner = rows.iter().find(|row| row["own"] == true && row["revoked"].is_null()).unwrap();
    let issuer = partner["sha256"].as_str().unwrap();
    one.run(&["client-auth", "set", "shop.example", "--issuer", issuer]).ok();
}

fn fill_listeners(one: &Node) {
    let upstream = UPSTREAM.to_string();
    let datagrams = format!("udp:{upstream}");
    let https = format!(":{HTTPS_PORT}");
    let add = |words: &[&str]| one.run(&[&["listener", "add"], words].concat()).ok();
    add(&[
        "https",
        "--bind",
        &https,
        "--upstream",
        &upstream,
        "--alpn",
        "h2,http/1.1",
        "--domain-upstream",
        &format!("rsa.example={upstream}"),
    ]);
    add(&["dtls", "--protocol", "dtls", "--bind", &https, "--upstream", &datagrams]);
    let others =
        ["smtp", "imap", "pop3", "xmpp", "xmpp-server", "ldap", "postgres", "sieve", "ftp"];
    for (protocol, port) in others.into_iter().zip(HTTPS_PORT + 10..) {
        let bind = format!("127.83.1.100:{port}");
        let words = [protocol, "--protocol", protocol, "--bind", &bind, "--upstream", &upstream];
        let more: &[&str] = match protocol {
            "smtp" => &["--require-tls", "--proxy-to", "v1"],
            "imap" => {
                &["--proxy-from", "10.0.0.0/8", "--proxy-from", "fd00::/8", "--proxy-to", "v2"]
            }
            _ => &[],
        };
        add(&[&words[..], more].concat());
    }
    add(&[
        "out",
        "--protocol",
        "outgoing-tls",
        "--bind",
        "127.83.1.100:17462",
        "--upstream",
        &upstream,
        "--starttls",
        "smtp",
        "--server-name",
        "mx.example",
    ]);
    add(&["brief", "--bind", "127.83.1.100:17463", "--upstream", &upstream]);
    one.run(&["listener", "remove", "brief", "--yes"]).ok();
}

/// What members know since 0.2.1.
fn fill_level_two(one: &Node) {
    let request = one.dir.join("pending.csr");
    let request = request.to_str().unwrap();
    one.run(&["csr", "create", "key.example", "--new-key", "p256", "--out", request]).ok();
    one.run(&["listener", "set", "xmpp-server", "--take-server-certificates", "on"]).ok();
    let list = forge("root; ca cn=Long; leaf", Some("long")).crl.unwrap();
    let list = one.file("long.pem", list.as_bytes());
    one.run(&["trust", "add", "--scope", "cluster", &list]).ok();
}

/// What members know since 0.3.0.
fn fill_level_three(one: &Node) {
    one.run(&["node", "set", "node-2", "--zone", "rack-7"]).ok();
    one.run(&["token", "create", "proved", "--role", "admin,security"]).ok();
}

/// What members know since 0.4.0.
fn fill_level_four(one: &Node) {
    let password = one.file("alice.pass", b"correct horse battery staple");
    let words = ["user", "create", "alice", "--role", "operator", "--domain", "shop.example"];
    one.run(&[&words[..], &["--password-file", &password]].concat()).ok();
    one.run(&["user", "create", "bob", "--role", "viewer", "--password-file", &password]).ok();
    one.run(&["user", "delete", "bob", "--yes"]).ok();
    one.run(&["audit", "keep", "100000"]).ok();
}

/// What members know since 0.5.0.
fn fill_level_five(one: &Node) {
    let url = "http://pki.shop.example/certificates/shop.example/smime.crl";
    one.run(&["smime", "self-sign", "shop.example", "--days", "36500"]).ok();
    one.run(&["smime", "set", "shop.example", "--crl-url", url]).ok();
    let recovery = one.file("recovery.pem", release::recovery_key().public_key_pem().as_bytes());
    one.run(&["smime", "recovery", "shop.example", &recovery]).ok();
    one.run(&["smime", "csr", "rsa.example", "--type", "rsa2048"]).ok();
    let passphrase = one.file("account.pass", release::PASSPHRASE.as_bytes());
    let first = one.file("first.pass", b"the first of two");
    let ann = release::ACCOUNT;
    one.run(&["account", "create", ann, "--name", "Ann Lee"]).ok();
    one.run(&["account", "key", "generate", ann, "--passphrase-file", &first]).ok();
    one.run(&["account", "cert", "issue", ann, "--days", "36500"]).ok();
    one.run(&["account", "cert", "revoke", ann, "--yes"]).ok();
    one.run(&["account", "key", "generate", ann, "--passphrase-file", &first]).ok();
    one.run(&["account", "cert", "issue", ann, "--days", "36500"]).ok();
    let words = ["account", "key", "passphrase", ann, "--passphrase-file", &first];
    one.run(&[&words[..], &["--new-passphrase-file", &passphrase]].concat()).ok();
    let dan = "dan@shop.example";
    one.run(&["account", "create", dan]).ok();
    let words = ["account", "key", "generate", dan, "--type", "x25519", "--purpose", "encrypt"];
    one.run(&[&words[..], &["--passphrase-file", &passphrase]].concat()).ok();
    for email in ["eve@www.shop.example", "gone@shop.example"] {
        one.run(&["account", "create", email]).ok();
        one.run(&["account", "invite", email]).ok();
    }
    one.run(&["account", "delete", "gone@shop.example", "--yes"]).ok();
}

fn fill_rest(cluster: &Cluster) {
    let [one, two, three] = &cluster.nodes[..] else { unreachable!() };
    let groups = "X25519MLKEM768,x25519,secp256r1,secp384r1";
    one.run(&["tls", "set", "--ttl", "1h", "--rotation", "10m", "--groups", groups]).ok();
    one.run(&["tls", "flush", "--yes"]).ok();
    one.run(&["token", "create", "deploy", "--role", "admin,security"]).ok();
    one.run(&["token", "create", "brief", "--role", "admin,security", "--expires-in", "1h"]).ok();
    let listed = one.run(&["token", "list", "-o", "json"]).json();
    let brief = listed.as_array().unwrap().iter().find(|token| token["name"] == "brief");
    one.run(&["token", "revoke", brief.unwrap()["id"].as_str().unwrap(), "--yes"]).ok();
    one.run(&["join-token", "create", "--expires-in", "1h"]).ok();
    two.run(&["node", "drain", "node-3", "--no-wait"]).ok();
    three.run(&["node", "resume", "node-3"]).ok();
}
