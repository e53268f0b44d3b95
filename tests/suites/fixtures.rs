//! What earlier releases left on disk is read by this one, and means what it meant.
//! The bytes of single formats are read in their rooms, see `src/samples.rs`.

use std::{collections::BTreeSet, path::Path};

use conclave_tests::{
    Node, Pair, echo_datagrams_at, echo_upstream_at, probe,
    release::{self, ACCOUNT, HTTPS_PORT, PASSPHRASE, UPSTREAM, check_told},
    wait_for,
};
use serde_json::Value;

#[test]
fn the_cluster_of_every_release_goes_on_under_this_one() {
    assert!(!release::releases().is_empty());
    echo_upstream_at(UPSTREAM);
    echo_datagrams_at(UPSTREAM);
    for dir in release::releases() {
        let _lock = release::lock();
        println!("{}", dir.display());
        let mut cluster = release::unpack(&dir);
        for (file, rows) in release::row_files(&cluster) {
            assert_rows(&std::fs::read_to_string(dir.join(file)).unwrap(), &rows);
        }
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.leader();
        let facts = std::fs::read_to_string(dir.join("facts.json")).unwrap();
        let facts: Value = serde_json::from_str(&facts).unwrap();
        wait_for("three nodes that are up", || cluster.nodes.iter().all(is_whole).then_some(()));
        check_told("told", &facts["told"], &release::told(&cluster.nodes[0]));
        for (node, kept) in cluster.nodes.iter().zip(facts["shown"].as_array().unwrap()) {
            check_told(&node.name, kept, &release::shown(node));
        }
        change_is_served(&cluster.nodes);
        accounts_are_opened(&cluster.nodes[2]);
    }
}

/// An upgraded node replays the log that it shares with older ones, so every release must make the
/// same of it, byte for byte.
#[test]
fn the_log_of_every_release_leads_to_the_state_that_it_led_to() {
    for dir in release::releases() {
        let cluster = release::unpack(&dir);
        let kept = std::fs::read_to_string(dir.join("state.tsv")).unwrap();
        for node in &cluster.nodes {
            assert_rows(&kept, &release::replayed_rows(node));
        }
    }
}

fn assert_rows(kept: &str, found: &str) {
    for (kept, found) in kept.lines().zip(found.lines()) {
        assert_eq!(kept, found);
    }
    assert_eq!(kept.lines().count(), found.lines().count());
}

/// Whether the node knows of nobody that is away, and lags behind nobody.
fn is_whole(node: &Node) -> bool {
    let status = node.status();
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    nodes.len() == 3 && nodes.iter().all(|node| node["state"] == "ready")
}

/// A new domain, sealed under the old keyring, is served by all nodes at once.
fn change_is_served(nodes: &[Node]) {
    let pair = Pair::make("new.example");
    let (bundle, key) = nodes[1].pair_files(&pair);
    nodes[1].run(&["domain", "create", "new.example", "--pki", "enabled"]).ok();
    nodes[1].run(&["cert", "import", "new.example", &bundle, "--key", &key]).ok();
    for node in nodes {
        let shown = probe(node.listener(HTTPS_PORT), "new.example").unwrap();
        assert!(shown.chain[0] == pair.der, "{}", node.name);
    }
}

/// The keys of an account are opened by its passphrase, and by the recovery key of its domain.
fn accounts_are_opened(node: &Node) {
    if node.run(&["account", "show", ACCOUNT]).code != 0 {
        println!("from before accounts");
        return;
    }
    let passphrase = node.file("account.pass", PASSPHRASE.as_bytes());
    let recovery = node.file("recovery.key", release::recovery_key().serialize_pem().as_bytes());
    let account = node.run(&["account", "show", ACCOUNT, "-o", "json"]).json();
    let earlier = account["earlier"][0]["sha256"].as_str().unwrap();
    for key in [account["key"]["sha256"].as_str().unwrap(), earlier] {
        let words = ["account", "key", "export", ACCOUNT, "--key", key, "--out", "key.p12"];
        let by = ["--passphrase-file", &passphrase, "--export-passphrase-file", &passphrase];
        node.run(&[&words[..], &by].concat()).ok();
        let words = ["account", "key", "recover", ACCOUNT, "--key", key, "--out", "key.p12"];
        let by = ["--recovery-key", &recovery, "--export-passphrase-file", &passphrase];
        node.run(&[&words[..], &by].concat()).ok();
    }
}

/// What gives away that a file makes or reads bytes that outlive the program.
const MARKS: [&str; 13] = [
    "const MAGIC",
    "const FORMAT",
    "const EXPORTER_LABEL",
    "fn from_byte",
    "b\"conclave",
    "\"conclave-seal",
    "bincode::serde",
    "serde_json::to_vec",
    "crc32fast::",
    "hmac::",
    "to_be_bytes",
    "\"cv",
    "const API_VERSION",
];

/// What shows each format: files of samples, the cluster, or why there is none of our own.
const SHOWN_BY: [(&str, &str); 63] = [
    ("store/src/wire.rs", "store-command store-outcome store-entry store-key store-row"),
    ("store/src/snapshot.rs", "store-snapshot"),
    ("store/src/state.rs", "store-snapshot"),
    ("store/src/record/chain.rs", "cluster"),
    ("store/src/record/domain.rs", "store-row"),
    ("store/backup/src/lib.rs", "backup"),
    ("store/backup/src/header.rs", "backup"),
    ("store/backup/src/frame.rs", "backup"),
    ("store/backup/src/write.rs", "backup"),
    // Only lengths around rows, which have samples of their own.
    ("store/backup/src/part.rs", "none"),
    ("store/disk/src/marker.rs", "disk-marker"),
    ("store/disk/src/record.rs", "disk-piece"),
    ("store/sled/src/home.rs", "home-layout"),
    ("store/sled/src/layout.rs", "home-layout"),
    ("store/sled/src/migrate.rs", "sled-layout"),
    ("raft/src/wire.rs", "raft-message"),
    ("raft/src/migrate.rs", "raft-message"),
    ("raft/src/types.rs", "raft-segment"),
    ("raft/src/segments/format.rs", "raft-segment"),
    ("raft/src/snapshot.rs", "raft-message"),
    ("raft/src/network/frame.rs", "raft-message"),
    ("raft/src/network/identity.rs", "raft-greeting"),
    ("raft/src/network/lane.rs", "raft-greeting"),
    ("node/cluster/src/replica/call.rs", "node-request node-answer"),
    ("node/cluster/src/life/admission.rs", "node-join"),
    ("node/cluster/src/life/join.rs", "node-join"),
    ("node/cluster/src/membership.rs", "node-membership"),
    ("node/cluster/src/recovered.rs", "node-recovered"),
    ("node/cluster/src/token.rs", "node-token"),
    ("node/keys/src/stored.rs", "node-keys node-keys-made"),
    ("node/keys/src/share.rs", "node-keys-made"),
    ("node/keys/src/seal.rs", "node-sealed"),
    ("node/keys/src/wrap.rs", "node-wrapped"),
    ("node/keys/src/proof.rs", "node-proof"),
    ("node/keys/src/code.rs", "public: RFC 6238"),
    ("node/api/src/openapi.rs", "public: OpenAPI 3.1"),
    ("node/edge/src/tls/tickets.rs", "node-ticket"),
    ("node/dtls/src/ticket.rs", "dtls-ticket"),
    ("node/dtls/src/cookie.rs", "dtls-cookie"),
    ("node/cluster/src/local.rs", "cluster"),
    ("node/api/src/lib.rs", "cluster"),
    ("cli/client/src/address.rs", "node-token"),
    ("node/preface/src/proxy_protocol/write.rs", "public: docs/proxy-protocol.md"),
    ("node/preface/src/starttls/ldap.rs", "public: RFC 4511"),
    ("node/preface/src/starttls/postgres.rs", "public: PostgreSQL's SSLRequest"),
    ("node/dtls/src/hello.rs", "public: RFC 6347"),
    ("node/dtls/src/door.rs", "public: RFC 6347"),
    ("node/dtls/src/queue.rs", "public: RFC 6347"),
    ("store/pki/src/issue/revocations.rs", "public: RFC 5280"),
    ("store/smime/src/cms/cipher.rs", "public: RFC 5084"),
    ("store/smime/src/cms/scheme.rs", "public: RFC 5753"),
    ("store/smime/src/pkcs12/derive.rs", "public: RFC 7292"),
    ("store/smime/src/pkcs12/mac.rs", "public: RFC 7292"),
    ("store/smime/src/pkcs12/write.rs", "public: RFC 7292"),
    ("store/smime/src/lock.rs", "cluster"),
    ("store/smime/src/lock/recovery.rs", "cluster"),
    // The hash of a request is compared with its repetition only.
    ("node/admin/src/asked.rs", "none"),
    // Forms, cookies and requests to the API of the same process: nothing keeps them.
    ("node/page/src/backup.rs", "none"),
    ("node/page/src/form.rs", "none"),
    ("node/page/src/login.rs", "none"),
    ("node/page/src/owner.rs", "none"),
    ("node/page/src/wish.rs", "none"),
    ("node/system/src/files.rs", "node-membership node-keys"),
];

#[test]
fn every_format_has_a_sample() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut dirs: Vec<_> = ["store", "raft", "node", "cli"].map(|room| root.join(room)).into();
    let mut marked = BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let shown = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let is_test = shown.contains("/tests") || shown.contains("/samples");
            if path.is_dir() {
                dirs.push(path);
            } else if shown.ends_with(".rs") && !is_test && is_marked(&path) {
                marked.insert(shown);
            }
        }
    }
    let known: BTreeSet<String> = SHOWN_BY.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(marked, known, "a file with a format is not in SHOWN_BY, or has none any more");
    let releases = release::releases();
    for (file, samples) in SHOWN_BY.iter().filter(|(_, by)| !by.starts_with("public: ")) {
        for sample in samples.split(' ').filter(|by| !["cluster", "none"].contains(by)) {
            let path = format!("samples/{sample}.tsv");
            let is_kept = releases.iter().any(|dir| dir.join(&path).exists());
            assert!(is_kept, "{file}: no release has {path}");
        }
    }
}

/// Whether the code of a file, without its tests and comments, has one of the marks.
fn is_marked(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.any(|line| MARKS.iter().any(|mark| line.contains(mark)))
}
