//! The cluster of a release as it lies in `fixtures`: three data directories with their unlock
//! files, and what must be true of them ever after.
//!
//! The addresses of members stand in State and log, so they cannot be chosen anew: the nodes have
//! addresses of the loopback network that nothing else uses, and a lock is held while they run.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process,
};

use conclave_disk::{Disk, DiskOptions};
use conclave_dtls::Connector;
use conclave_store::{command::Command, id::LogIndex, machine, state::State, wire};
use conclave_store_sled::{Home, migrate};
use rcgen::KeyPair;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::{Cluster, DtlsClient, Node, probe, wait::DEADLINE};

/// UDP port of every node for the others.
const QUIC_PORT: u16 = 17_444;
/// Port of the listener for TLS, and of the one for DTLS.
pub const HTTPS_PORT: u16 = 17_443;
/// Where both send what they decrypt.
pub const UPSTREAM: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 83, 1, 100)), 18_080);
/// An account with an earlier key, and the passphrase of both.
pub const ACCOUNT: &str = "ann@shop.example";
/// Passphrase of that account.
pub const PASSPHRASE: &str = "correct horse battery";
/// Names that clients ask for; `-`: none.
const SERVER_NAMES: [&str; 10] = [
    "shop.example",
    "www.shop.example",
    "any.shop.example",
    "rsa.example",
    "p384.example",
    "ed25519.example",
    "self.example",
    "store.example",
    "own.example",
    "-",
];
/// Facts that pass: time, traffic, the order of things among living nodes, and what a program can.
const PASSING: [&str; 21] = [
    // The directory is another one each time.
    "place",
    // The leader seals everything anew under the current generation.
    "generation",
    "generations",
    "days_left",
    "connections",
    "handshakes",
    "started",
    "served_index",
    "lag_entries",
    "digest",
    "clock_ahead_ms",
    "rows",
    "open",
    // Whether a node has a listener: two nodes cannot share an address of one machine.
    "nodes",
    "problems",
    "role",
    "node",
    "invited_until",
    "known_cipher_suites",
    "known_groups",
    "legacy",
];

/// The private recovery key of the accounts of `shop.example`.
pub fn recovery_key() -> KeyPair {
    let der = std::fs::read(fixtures().join("smime/recovery-key.pk8")).unwrap();
    KeyPair::try_from(der).unwrap()
}

/// Directory of what releases left.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Releases that left a cluster, by their directories.
pub fn releases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("cluster.tar.gz").exists()).collect()
}

/// The right to use the addresses; it ends when this is dropped.
pub fn lock() -> File {
    let file = File::create(std::env::temp_dir().join("conclave-fixtures.lock")).unwrap();
    file.lock().unwrap();
    file
}

/// Place of a node in the network.
fn quic(number: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 83, 1, number), QUIC_PORT).into()
}

/// Nodes that were never started.
pub fn new_nodes() -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let node = |number| Node::placed(dir.path(), &format!("node-{number}"), quic(number));
    Cluster { nodes: (1..=3).map(node).collect(), dir }
}

/// The nodes of a release, not started.
pub fn unpack(release: &Path) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let mut tar = process::Command::new("tar");
    tar.arg("-xzf").arg(release.join("cluster.tar.gz")).arg("-C").arg(dir.path());
    assert!(tar.status().unwrap().success());
    let node = |number| {
        let node = Node::existing(dir.path(), &format!("node-{number}"), quic(number));
        let config = node.dir.join("node.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, text.replace("@DIR@", dir.path().to_str().unwrap())).unwrap();
        node
    };
    Cluster { nodes: (1..=3).map(node).collect(), dir }
}

/// Puts the nodes, which have ended, into the directory of a release.
pub fn pack(cluster: &Cluster, release: &Path) {
    let mut tar = process::Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
    tar.args(["--use-compress-program", "gzip -9n"]);
    tar.arg("-cf").arg(release.join("cluster.tar.gz")).arg("-C").arg(cluster.dir.path());
    for node in &cluster.nodes {
        let config = node.dir.join("node.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, text.replace(cluster.dir.path().to_str().unwrap(), "@DIR@"))
            .unwrap();
        let name = &node.name;
        tar.args([format!("{name}/node.toml"), format!("{name}/{name}.unlock.key")]);
        tar.arg(format!("{name}/data"));
    }
    assert!(tar.status().unwrap().success());
}

/// Every row of a scope of a node that has ended: key, index of its last change, content. The
/// scope is the name of its directory, `state` or `local`. That of version 0.1.0 is rewritten, as
/// a start would do, but elsewhere.
pub fn rows(node: &Node, scope: &str) -> String {
    let data = node.dir.join("data");
    let (old, new) = (data.join(scope), data.join(format!("{scope}.v2")));
    let options = DiskOptions::default();
    if !old.exists() {
        return rows_of(&Home::open(&new, options).unwrap().state);
    }
    let copy = tempfile::tempdir().unwrap();
    let (old_copy, rewritten) = (copy.path().join("old"), copy.path().join("new"));
    copy_files(&old, &old_copy);
    // Neither kind of checkpoint is looked at here.
    migrate(&old_copy, &rewritten, &options, |_| Some(0)).unwrap();
    rows_of(&Home::open(&rewritten, options).unwrap().state)
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_files(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

fn rows_of(state: &State) -> String {
    let compacted = |value: serde_json::Result<Value>| compact(value.unwrap());
    let mut text = String::new();
    for (key, row) in state.rows() {
        let key = compacted(serde_json::to_value(key));
        let record = compacted(serde_json::to_value(&row.record));
        writeln!(text, "{key}\t{}\t{record}", row.changed_at).unwrap();
    }
    text
}

/// The rows to which the log of a node that has ended leads, from the first command on.
pub fn replayed_rows(node: &Node) -> String {
    let mut state = State::default();
    for (index, command) in commands(node) {
        state = machine::apply(&state, LogIndex(index), &command).state;
    }
    rows_of(&state)
}

/// Every command of the log of a node that has ended, with the index of its entry.
fn commands(node: &Node) -> Vec<(u64, Command)> {
    let raft = node.dir.join("data/raft");
    if !raft.join("log").exists() {
        let entries = conclave_raft::payloads(&raft).unwrap();
        let commands = entries.into_iter().flat_map(|(index, entry)| {
            let commands = wire::decode_entry(&entry).unwrap();
            commands.into_iter().map(move |command| (index, command))
        });
        return commands.collect();
    }
    let log = Disk::open(&raft.join("log"), DiskOptions::default()).unwrap();
    let entries = log.old_tree("entries").unwrap();
    let commands = entries.range(..).filter_map(|record| {
        let (key, entry) = record.unwrap();
        let index = u64::from_be_bytes(key.as_slice().try_into().unwrap());
        // A command is the end of its entry, behind the head of its own format.
        let at = entry.windows(4).position(|head| head == b"CV\x01\x01")?;
        Some((index, wire::decode_command(&entry[at..]).unwrap()))
    });
    commands.collect()
}

/// Files with the rows of the nodes: all have the same State, and each its own scope.
pub fn row_files(cluster: &Cluster) -> Vec<(String, String)> {
    let of_node = |node: &Node| {
        let local = (format!("{}.local.tsv", node.name), rows(node, "local"));
        [("state.tsv".to_owned(), rows(node, "state")), local]
    };
    cluster.nodes.iter().flat_map(of_node).collect()
}

/// Bytes as digits, so that they are one word.
fn compact(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
            match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) if bytes.len() >= 8 => Value::String(hex(&bytes)),
                _ => items.into_iter().map(compact).collect(),
            }
        }
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, compact(value))).collect()
        }
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a node tells of everything that is in the cluster and in its own scope.
pub fn told(node: &Node) -> Value {
    let mut told = BTreeMap::new();
    let mut ask = |words: &[&str]| {
        let answer = node.run(&[words, &["-o", "json"]].concat()).json();
        told.insert(words.join(" "), lasting(answer));
    };
    let lists: [&[&str]; 11] = [
        &["user", "list"],
        &["smime", "show", "shop.example"],
        &["account", "list", "shop.example"],
        &["listener", "list"],
        &["tls", "show"],
        &["token", "list"],
        &["keyring", "status"],
        &["node", "list"],
        &["trust", "list", "--no-inherited", "--scope", "cluster"],
        &["trust", "list", "--no-inherited", "--scope", "server"],
        &["trust", "list", "--no-inherited", "--scope", "domain:shop.example"],
    ];
    lists.into_iter().for_each(&mut ask);
    let names = node.run(&["domain", "list", "-o", "name"]).ok();
    for name in names.lines() {
        ask(&["domain", "show", name]);
        ask(&["domain", "history", name]);
    }
    json!(told)
}

/// An answer without what passes.
fn lasting(answer: Value) -> Value {
    match answer {
        Value::Object(fields) => {
            // That of a program is a text; those of domains and settings are numbers.
            let is_passing = |name: &str, value: &Value| {
                PASSING.contains(&name) || name == "version" && value.is_string()
            };
            let lasting = fields.into_iter().filter(|(name, value)| !is_passing(name, value));
            lasting.map(|(name, value)| (name, lasting_of(value))).collect()
        }
        other => lasting_of(other),
    }
}

fn lasting_of(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(lasting).collect(),
        object @ Value::Object(_) => lasting(object),
        other => other,
    }
}

/// Panics unless `found` says all that `kept` says; it may say more.
pub fn check_told(place: &str, kept: &Value, found: &Value) {
    match (kept, found) {
        (Value::Object(kept), Value::Object(found)) => {
            // What passes today may not have passed when the facts were kept.
            for (name, value) in kept.iter().filter(|(name, _)| !PASSING.contains(&name.as_str())) {
                let place = format!("{place} . {name}");
                let found = found.get(name).unwrap_or_else(|| panic!("{place} is gone"));
                check_told(&place, value, found);
            }
        }
        (Value::Array(kept), Value::Array(found)) if kept.len() == found.len() => {
            for (number, (kept, found)) in kept.iter().zip(found).enumerate() {
                check_told(&format!("{place}[{number}]"), kept, found);
            }
        }
        _ => assert_eq!(kept, found, "{place}"),
    }
}

/// Hashes of the certificates that a node shows for each name, over TLS and over DTLS.
pub fn shown(node: &Node) -> Value {
    let hashes = |chain: Vec<Vec<u8>>| -> Vec<String> {
        chain.iter().map(|der| hex(digest(&SHA256, der).as_ref())).collect()
    };
    let address = node.listener(HTTPS_PORT);
    let connector = Connector::new(&[]).unwrap();
    let mut shown = BTreeMap::new();
    for name in SERVER_NAMES {
        // A domain of node-1 itself, and one that the address of node-2 means.
        let only_on = match name {
            "own.example" => "node-1",
            "-" => "node-2",
            _ => &node.name,
        };
        if only_on != node.name {
            continue;
        }
        let chain = probe(address, name).map(|shown| hashes(shown.chain));
        shown.insert(format!("tls {name}"), chain.unwrap_or_else(|why| panic!("{name}: {why:?}")));
        let asked = (name != "-").then_some(name);
        let mut client = DtlsClient::begin(&connector, address, asked, 1500);
        // Not every key can be used for DTLS; that is a fact too.
        let chain = client.handshake(DEADLINE).map(|facts| hashes(facts.peer_chain));
        shown.insert(format!("dtls {name}"), chain.unwrap_or_else(|why| vec![why]));
    }
    json!(shown)
}
