//! The audit trail: what was done stays told, whatever happens to a node.

use std::path::Path;

use conclave_disk::DiskOptions;
use conclave_store::{
    change::Change,
    id::LogIndex,
    record::{AuditEntry, Record, RowKey},
    state::{State, StoredRow},
    wire,
};
use conclave_store_sled::Home;
use conclave_tests::{Cluster, Node, run_alone, wait_for};
use serde_json::Value;

fn verify(node: &Node) -> (i32, Value) {
    let ran = node.run(&["audit", "verify", "-o", "json"]);
    (ran.code, serde_json::from_str(&ran.out).unwrap())
}

/// What changes no State is told all the same.
#[test]
fn what_is_done_with_a_node_is_told() {
    let cluster = Cluster::start(3);
    let one = &cluster.nodes[0];
    one.run(&["node", "drain", "node-3"]).ok();
    one.run(&["node", "resume", "node-3"]).ok();
    let leader = cluster.leader();
    let next = cluster.nodes[(leader + 1) % 3].name.clone();
    one.run(&["cluster", "transfer-leader", &next, "--dry-run"]).ok();
    one.run(&["cluster", "transfer-leader", &next]).ok();
    for (event, object) in
        [("node.drain", "node-3"), ("node.resume", "node-3"), ("leader.transfer", next.as_str())]
    {
        let told = wait_for(event, || {
            let all = one.run(&["audit", "list", "-o", "json"]).json();
            let told = all.as_array()?.iter().filter(|entry| entry["event"] == event);
            let told: Vec<Value> = told.cloned().collect();
            (!told.is_empty()).then_some(told)
        });
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["object"], &told[0]["result"]), (&object.into(), &"done".into()));
    }
    // All of a noun, and who did it by the name alone.
    let told = one.run(&["audit", "list", "--event", "leader", "--who", "0", "-o", "json"]).json();
    let [transfer] = &told.as_array().unwrap()[..] else { panic!("{told}") };
    let difference = &transfer["differences"][0];
    assert_eq!((&difference["what"], &difference["after"]), (&"leader".into(), &next.into()));
    assert_eq!(difference["before"], cluster.nodes[leader].name);
    let none = one.run(&["audit", "list", "--event", "lead", "-o", "json"]).json();
    assert_eq!(none.as_array().unwrap().len(), 0);
}

#[test]
fn every_member_tells_the_same_and_a_file_of_it_can_be_checked_anywhere() {
    let cluster = Cluster::start(3);
    let (one, three) = (&cluster.nodes[0], &cluster.nodes[2]);
    one.run(&["domain", "create", "shop.example", "--reason", "a \"new\" shop"]).ok();
    one.run(&["domain", "set", "shop.example", "--pki", "enabled"]).ok();
    let list = ["audit", "list", "--object", "shop.example", "-o", "json"];
    let entries = three.run(&list).json();
    let [set, create] = &entries.as_array().unwrap()[..] else { panic!("{entries}") };
    assert_eq!((&set["event"], &create["event"]), (&"domain.set".into(), &"domain.create".into()));
    assert_eq!(create["reason"], "a \"new\" shop");
    assert_eq!(set["differences"][0]["before"], "test");
    assert_eq!(set["differences"][0]["after"], "enabled");
    let (code, found) = verify(three);
    assert_eq!((code, &found["valid"]), (0, &true.into()), "{found}");
    assert_eq!(found["compared"].as_array().unwrap().len(), 2, "{found}");
    let lines = one.run(&["audit", "tail", "-n", "1000", "-o", "jsonl"]).ok();
    let check = |text: &str| {
        let file = one.file("trail.jsonl", text.as_bytes());
        run_alone(&["audit", "verify", "--file", &file, "-o", "json"]).code
    };
    assert_eq!(check(&lines), 0, "{lines}");
    let all: Vec<&str> = lines.lines().collect();
    assert!(all.len() > 5);
    assert_eq!(check(&lines.replace("shop.example", "shop.examplf")), 9, "changed");
    assert_eq!(check(&[&all[..2], &all[3..]].concat().join("\n")), 9, "removed");
    assert_eq!(check(&[&all[..2], &[all[3], all[2]], &all[4..]].concat().join("\n")), 9, "moved");
    assert_eq!(check(&[&all[..2], &all[1..]].concat().join("\n")), 9, "put in");
}

/// Changes or removes an entry on the disk of a stopped node, with all checksums right.
fn tamper(node: &Node, number: u64, change: impl Fn(AuditEntry) -> Option<AuditEntry>) {
    let home = node.dir.join("data/state.v2");
    let loaded = Home::open(&home, DiskOptions::default()).unwrap();
    let (_, entry) = loaded.state.audit(number..=number).next().unwrap();
    let record = change(entry.clone()).map(|entry| Record::Audit(entry.into()));
    let key = RowKey::Audit(number);
    let key_bytes = wire::encode_key(&key).unwrap();
    let row_bytes = record.as_ref().map(|record| wire::encode_row(LogIndex(1), record).unwrap());
    let others = loaded.state.rows().filter(|(other, _)| **other != key).map(|(other, row)| {
        let bytes = wire::encode_row(row.changed_at, &row.record).unwrap();
        StoredRow::read(&wire::encode_key(other).unwrap(), &bytes).unwrap()
    });
    let changed = row_bytes.iter().map(|bytes| StoredRow::read(&key_bytes, bytes).unwrap());
    let state = State::load(others.chain(changed).collect());
    let change = Change { key, record, key_bytes, row_bytes };
    let checkpoint = loaded.checkpoint.clone().unwrap();
    loaded.home.put([&change], &checkpoint, loaded.index, &state);
    loaded.home.turn().unwrap();
}

#[test]
fn what_was_changed_or_removed_on_the_disk_of_a_member_is_found() {
    let mut cluster = Cluster::start(3);
    for number in 0..6 {
        cluster.nodes[0].run(&["domain", "create", &format!("d{number}.example")]).ok();
    }
    let last = verify(&cluster.nodes[2]).1["last"].as_u64().unwrap();
    cluster.nodes[2].stop();
    tamper(&cluster.nodes[2], last - 2, |mut entry| {
        entry.event.object = "nothing.example".to_owned();
        // With the hash of the new content: then the next entry does not follow it.
        Some(AuditEntry::new(last - 2, entry.previous, entry.event))
    });
    cluster.nodes[2].start();
    let (code, found) = wait_for("the verdict", || {
        let ran = cluster.nodes[2].run(&["audit", "verify", "-o", "json"]);
        let found: Value = serde_json::from_str(&ran.out).ok()?;
        Some((ran.code, found))
    });
    let text = found["faults"].to_string();
    assert_eq!(code, 9, "{found}");
    assert!(text.contains(&format!("entry {} does not follow", last - 1)), "{text}");
    cluster.nodes[2].stop();
    tamper(&cluster.nodes[2], last, |_| None);
    cluster.nodes[2].start();
    let (_, found) = wait_for("the verdict", || {
        let ran = cluster.nodes[2].run(&["audit", "verify", "-o", "json"]);
        let found: Value = serde_json::from_str(&ran.out).ok()?;
        Some((ran.code, found))
    });
    let text = found["faults"].to_string();
    assert!(text.contains("node-1 has entries up to") || text.contains("other entries"), "{text}");
    // The others are as they were.
    assert_eq!(verify(&cluster.nodes[0]).1["first"], 1);
}

/// Copies a directory with what is in it.
fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_member_that_was_put_back_from_an_old_copy_does_not_pass_for_whole() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[2].stop();
    let (data, old) = (cluster.nodes[2].dir.join("data"), cluster.nodes[2].dir.join("old"));
    copy(&data, &old);
    cluster.nodes[2].start();
    for number in 0..5 {
        cluster.nodes[0].run(&["domain", "create", &format!("d{number}.example")]).ok();
    }
    cluster.nodes.iter_mut().for_each(Node::stop);
    std::fs::remove_dir_all(&data).unwrap();
    copy(&old, &data);
    cluster.nodes[2].start();
    // Alone it has what the copy had, and says that it cannot know more.
    let alone = cluster.nodes[2].run(&["audit", "verify", "--stale"]);
    assert_eq!(alone.code, 9, "{}", alone.out);
    assert!(alone.out.contains("too few members answer"), "{}", alone.out);
    assert!(!alone.out.contains("ok  "), "{}", alone.out);
    // With the others it gets what it lacks, and that is checked too.
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    let found = wait_for("the whole trail", || {
        let ran = cluster.nodes[2].run(&["audit", "verify", "-o", "json"]);
        println!("{}: {}{}", ran.code, ran.out, ran.err);
        let found: Value = serde_json::from_str(&ran.out).ok()?;
        (ran.code == 0 && found["compared"].as_array()?.len() == 2).then_some(found)
    });
    let told = cluster.nodes[2].run(&["audit", "list", "--event", "domain.create", "-o", "json"]);
    assert_eq!(told.json().as_array().unwrap().len(), 5, "{found}");
}

#[test]
fn a_backup_has_its_entry() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let key = one.dir.join("backup.key").to_str().unwrap().to_owned();
    let made = one.run(&["backup", "keygen", "--out", &key, "-o", "json"]).json();
    let recipient = made["recipient"].as_str().unwrap();
    let file = one.dir.join("b.backup").to_str().unwrap().to_owned();
    one.run(&["backup", "create", "--recipient", recipient, "--out", &file]).ok();
    let told = one.run(&["audit", "list", "--event", "backup.create", "-o", "json"]).json();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
}
