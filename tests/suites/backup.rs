//! Backups, as operators make, test and restore them.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use conclave_tests::{Cluster, Ends, Node, Pair, has_program, probe, wait_for};
use serde_json::{Value, json};

/// Makes a key pair beside a node; gives the recipient and the path of the private key.
fn keygen(node: &Node, name: &str) -> (String, String) {
    let path = node.dir.join(name).display().to_string();
    let made = node.run(&["backup", "keygen", "--out", &path, "-o", "json"]).json();
    (made["recipient"].as_str().unwrap().to_owned(), path)
}

fn backup(node: &Node, recipient: &str, name: &str) -> (String, Value) {
    let path = node.dir.join(name).display().to_string();
    let words = ["backup", "create", "--recipient", recipient, "--out", &path, "-o", "json"];
    (path.clone(), node.run(&words).json())
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(node: &Node) -> Vec<String> {
    let all = node.run(&["domain", "list", "--scope", "shared", "-o", "json"]).json();
    all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// A cluster of `members`, and behind them nodes that belong to none.
fn with_strangers(members: u8, strangers: u8) -> Cluster {
    let mut cluster = Cluster::unfounded(members + strangers);
    let strangers = cluster.nodes.split_off(members.into());
    cluster.found();
    cluster.nodes.extend(strangers);
    cluster
}

/// A cluster with one of everything that a backup holds. Gives the earlier and the present pair of
/// shop.example.
fn fill(cluster: &Cluster) -> (Pair, Pair) {
    let one = &cluster.nodes[0];
    let (earlier, present) = (Pair::make("shop.example"), Pair::make("shop.example"));
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let import = |pair: &Pair| {
        let (bundle, key) = one.pair_files(pair);
        one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    };
    import(&earlier);
    // Secrets of two generations of the keyring.
    one.run(&["keyring", "rotate"]).ok();
    import(&present);
    one.run(&["domain", "create", "self.example", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "self.example"]).ok();
    one.run(&["cert", "self-sign", "self.example"]).ok();
    // A key that waits for its certificate.
    one.run(&["csr", "create", "self.example", "--new-key"]).ok();
    let root = one.file("root.pem", Pair::make("root.example").bundle().as_bytes());
    let _ = one.run(&["trust", "add", &root]);
    one.run(&["tls", "set", "--ttl", "17m"]).ok();
    (earlier, present)
}

#[test]
fn a_backup_of_a_follower_under_writes_is_restored_into_a_new_cluster() {
    let cluster = with_strangers(3, 2);
    let port = cluster.listen();
    let (earlier, present) = fill(&cluster);
    let old_join = std::fs::read_to_string(cluster.join_token(&cluster.nodes[3])).unwrap();
    cluster.nodes[0].run(&["token", "create", "script", "--role", "admin,security"]).ok();
    let follower = (0..3).find(|place| *place != cluster.leader()).unwrap();
    let (follower, fresh) = (&cluster.nodes[follower], &cluster.nodes[3]);
    let (recipient, identity) = keygen(follower, "backup.key");
    assert_eq!(mode(&identity), 0o600);
    let again = follower.run(&["backup", "keygen", "--out", &identity]);
    assert_eq!(again.code, 2, "a key is never replaced");

    let before = names(follower);
    let is_over = Arc::new(AtomicBool::new(false));
    let (path, made) = std::thread::scope(|scope| {
        let _ends = Ends(&is_over);
        let (writer, ends) = (&cluster.nodes[0], Arc::clone(&is_over));
        scope.spawn(move || {
            let mut number = 0;
            while !ends.load(Ordering::Relaxed) {
                writer.run(&["domain", "create", &format!("w{number}.example")]).ok();
                number += 1;
            }
        });
        let made = backup(follower, &recipient, "test.backup");
        is_over.store(true, Ordering::Relaxed);
        made
    });
    assert_eq!(mode(&path), 0o600);
    assert!(!Path::new(&format!("{path}.part")).exists());
    let status = cluster.nodes[0].status();
    assert_eq!(status["backup"]["node"], follower.name.as_str(), "{status}");
    assert_eq!(status["backup"]["index"], made["index"]);
    let shown = fresh.run(&["backup", "inspect", &path, "-o", "json"]).json();
    assert_eq!(shown["authority"], status["cluster"]["fingerprint"]);
    assert_eq!((&shown["rows"], &shown["node"]), (&made["rows"], &json!(follower.name)));

    // Only the shared domains can be in it; nothing of a private key is readable.
    let file = std::fs::read(&path).unwrap();
    for needle in [&present.key_der[36..68], b"shop.example"] {
        assert!(!file.windows(needle.len()).any(|part| part == needle));
    }
    let verified = fresh.run(&["backup", "verify", &path, "--identity", &identity]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);

    let restored =
        fresh.run(&["backup", "restore", &path, "--identity", &identity, "-o", "json"]).json();
    assert_eq!(restored["from_cluster_id"], shown["cluster_id"]);
    assert_ne!(restored["id"], shown["cluster_id"]);
    assert_ne!(restored["fingerprint"], shown["authority"]);
    let now = fresh.status();
    assert_eq!(now["nodes"].as_array().unwrap().len(), 1, "{now}");
    assert_eq!((&now["keyring"]["generation"], &now["backup"]), (&json!(1), &Value::Null));
    let after = names(fresh);
    assert!(before.iter().filter(|name| !name.contains("main")).all(|name| after.contains(name)));

    let served = |name: &str| probe(fresh.listener(port), name).ok().map(|shown| shown.chain);
    wait_for("the restored key", || served("shop.example").filter(|chain| chain[0] == present.der));
    assert!(served("self.example").is_some());
    let settings = |node: &Node| node.run(&["tls", "show", "-o", "json"]).json()["ttl_s"].clone();
    assert_eq!(settings(fresh), settings(follower));
    let history = |node: &Node| {
        let all = node.run(&["domain", "history", "shop.example", "-o", "json"]).json();
        all.as_array().unwrap().len()
    };
    assert_eq!(history(fresh), history(follower));
    let tested = fresh.run(&["key", "test", "self.example"]);
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    // Version 2 has the pair from before the rotation.
    fresh.run(&["domain", "rollback", "shop.example", "2"]).ok();
    wait_for("the earlier key", || served("shop.example").filter(|chain| chain[0] == earlier.der));

    // What let nodes and scripts into the old cluster lets nobody into this one.
    assert_eq!(fresh.run(&["token", "list", "-o", "json"]).json(), json!([]));
    let joiner = &cluster.nodes[4];
    let file = joiner.file("old.token", old_join.as_bytes());
    let refused = joiner.run(&[
        "cluster",
        "join",
        &fresh.quic.to_string(),
        "--token-file",
        &file,
        "-o",
        "json",
    ]);
    assert_eq!(refused.problem()["code"], "J001", "{}", refused.err);
    let made = fresh.run(&["join-token", "create", "-o", "json"]).json();
    let file = joiner.file("token", made["token"].as_str().unwrap().as_bytes());
    let words = ["--timeout", "60s", "cluster", "join", &fresh.quic.to_string()];
    joiner.run(&[&words[..], &["--token-file", &file]].concat()).ok();
    wait_for("the restored key on a new member", || {
        probe(joiner.listener(port), "self.example").ok()
    });
}

#[test]
fn a_changed_backup_and_a_wrong_identity_are_refused_before_anything_is_done() {
    let cluster = with_strangers(1, 1);
    let [one, fresh] = &cluster.nodes[..] else { unreachable!() };
    one.run(&["domain", "create", "shop.example"]).ok();
    let (recipient, identity) = keygen(one, "backup.key");
    let (_, other) = keygen(one, "other.key");
    let (path, _) = backup(one, &recipient, "test.backup");
    let whole = std::fs::read(&path).unwrap();
    let refused = |path: &str, identity: &str, code: &str| {
        let verified = fresh.run(&["backup", "verify", path, "--identity", identity]);
        assert_eq!(verified.code, 9, "{}{}", verified.out, verified.err);
        assert!(verified.out.contains(code), "{}", verified.out);
        let words = ["backup", "restore", path, "--identity", identity, "-o", "json"];
        let restored = fresh.run(&words);
        assert_eq!((restored.code, &restored.problem()["code"]), (8, &json!(code)));
        assert_eq!(fresh.status()["cluster"], Value::Null, "no cluster was founded");
    };
    refused(&path, &other, "B002");
    for place in [0, 60, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        let path = one.file("flipped.backup", &flipped);
        let inspected = fresh.run(&["backup", "inspect", &path, "-o", "json"]);
        assert_eq!((inspected.code, &inspected.problem()["code"]), (8, &json!("B001")), "{place}");
        refused(&path, &identity, "B001");
    }
    let cut = one.file("cut.backup", &whole[..whole.len() - 5]);
    refused(&cut, &identity, "B001");
    let authority = "11".repeat(32);
    let words = ["backup", "inspect", &path, "--authority", &authority, "-o", "json"];
    assert_eq!(fresh.run(&words).problem()["code"], "B007");
    // A member takes no backup of another cluster.
    let words = ["backup", "restore", &path, "--identity", &identity, "-o", "json"];
    assert_eq!(one.run(&words).problem()["code"], "R007");
    for (recipient, code) in [("age1nothing", "B003"), ("AGE-SECRET-KEY-1ABC", "B003")] {
        let words = ["backup", "create", "--recipient", recipient, "--out", "/nowhere/x"];
        assert_eq!(one.run(&words).code, 2, "{recipient}: {code}");
    }
}

#[test]
fn an_interrupted_restore_goes_on_where_it_was() {
    let mut cluster = with_strangers(1, 1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    let (recipient, identity) = keygen(one, "backup.key");
    let (path, _) = backup(one, &recipient, "test.backup");
    let begun = cluster.nodes[1].ask("POST", "restore", r#"{"name":"test","keys":[]}"#);
    assert_eq!(begun.0, 200, "{}", begun.1);
    let status = cluster.nodes[1].status();
    assert!(status["problems"].to_string().contains("B009"), "{status}");
    cluster.nodes[1].kill();
    cluster.nodes[1].start();
    let fresh = &cluster.nodes[1];
    // The keys of the backup were in memory only.
    let rows = wait_for("the restarted node", || {
        Some(fresh.ask("POST", "restore/rows", "")).filter(|(status, _)| *status != 503)
    });
    assert_eq!(rows.1["code"], "B006", "{}", rows.1);
    let words = ["--timeout", "60s", "backup", "restore", &path, "--identity", &identity];
    fresh.run(&words).ok();
    assert!(names(fresh).contains(&"shop.example".to_owned()));
    assert_eq!(fresh.run(&["key", "test", "shop.example"]).code, 0);
    assert!(!fresh.status()["problems"].to_string().contains("B009"));
    let again = fresh.run(&["backup", "restore", &path, "--identity", &identity, "-o", "json"]);
    assert_eq!(again.problem()["code"], "R007", "{}", again.err);
}

#[test]
fn the_oldest_backups_of_a_cluster_are_removed_and_nothing_else() {
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    let (recipient, _) = keygen(one, "backup.key");
    let dir = one.dir.join("backups");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("damaged.backup"), "not a backup").unwrap();
    std::fs::write(dir.join("notes.txt"), "mine").unwrap();
    let shown = dir.display().to_string();
    let create = || {
        one.run(&[
            "backup",
            "create",
            "--recipient",
            &recipient,
            "--out-dir",
            &shown,
            "--keep",
            "2",
            "-o",
            "json",
        ])
        .json()
    };
    let mut made = Vec::new();
    for number in 0..3 {
        one.run(&["domain", "create", &format!("d{number}.example")]).ok();
        made.push(create()["file"].as_str().unwrap().to_owned());
    }
    let kept: Vec<bool> = made.iter().map(|path| Path::new(path).exists()).collect();
    assert_eq!(kept, [false, true, true], "{made:?}");
    assert!(made.iter().all(|path| path.contains("/test-") && path.ends_with(".backup")));
    assert!(dir.join("damaged.backup").exists() && dir.join("notes.txt").exists());
}

#[test]
fn the_tool_of_age_opens_a_backup() {
    if !has_program("age") || !has_program("zstd") {
        return;
    }
    let cluster = Cluster::start(1);
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example"]).ok();
    let identity = one.dir.join("age.key").display().to_string();
    let made = Command::new("age-keygen").args(["-o", &identity]).output().unwrap();
    assert!(made.status.success());
    let text = std::fs::read_to_string(&identity).unwrap();
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let (path, _) = backup(one, recipient, "test.backup");
    let shown = one.run(&["backup", "inspect", &path, "-o", "json"]).json();
    let (from, count) = (shown["body_offset"].as_u64().unwrap() + 1, &shown["body_bytes"]);
    let pipe = format!(
        "tail -c +{from} {path} | head -c {count} | age -d -i {identity} | zstd -d | grep -qa shop.example"
    );
    assert!(Command::new("sh").args(["-c", &pipe]).status().unwrap().success(), "{pipe}");
    assert_eq!(one.run(&["backup", "verify", &path, "--identity", &identity]).code, 0);
}
