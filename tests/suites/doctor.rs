//! `conclave doctor`: what is wrong with a node, its machine and its cluster.

use std::{
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use conclave_tests::{Cluster, Node, binary, run_alone, wait_for};
use serde_json::Value;

fn config(node: &Node) -> String {
    node.dir.join("node.toml").to_str().unwrap().to_owned()
}

/// What a doctor found, whatever its exit code.
fn examined(node: &Node) -> (i32, Value) {
    let ran = run_alone(&["doctor", "--config", &config(node), "-o", "json"]);
    let found = serde_json::from_str(&ran.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err));
    (ran.code, found)
}

fn has(found: &Value, of: &str, part: &str) -> bool {
    let texts = found[of].as_array().unwrap().iter();
    texts.filter_map(Value::as_str).any(|text| text.contains(part))
}

#[test]
fn a_doctor_looks_at_machine_node_and_cluster() {
    let cluster = Cluster::start(3);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let port = cluster.listen();
    wait_for("a node without a problem", || {
        let (_, found) = examined(one);
        found["problems"].as_array().unwrap().is_empty().then_some(())
    });
    let (_, found) = examined(one);
    assert_eq!(found["kind"], "Examination");
    for right in [
        "configuration ",
        "data directory ",
        "unlock key ",
        "node node-1 runs, process ",
        "cluster test: 3 of 3 voters, leader ",
        "clocks of the nodes within ",
        "listeners: all open",
        "certificates: ",
    ] {
        assert!(has(&found, "checks", right), "{right}: {found:#}");
    }
    let text = one.run(&["doctor", "--config", &config(one)]);
    assert!(text.out.contains("ok  configuration "), "{}", text.out);

    // A port that another process has on one node, as seen from another node.
    two.run(&["node", "drain", "node-2", "--deadline", "1s"]).ok();
    let taken =
        wait_for("the port of the drained node", || TcpListener::bind(two.listener(port)).ok());
    two.run(&["node", "resume", "node-2"]);
    let (code, found) = wait_for("the closed listener", || {
        let (code, found) = examined(one);
        has(&found, "problems", "on node-2: ").then_some((code, found))
    });
    assert_eq!(code, 9);
    assert!(!has(&found, "checks", "listeners: all open"), "{found:#}");
    drop(taken);

    let data = one.dir.join("data");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, found) = examined(one);
    assert!(has(&found, "warnings", "chmod 700 ") && code == 9, "{found:#}");
}

#[test]
fn a_start_that_would_be_sealed_is_foreseen() {
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    let key = node.dir.join("node-1.unlock.key");
    let away = node.dir.join("away");
    assert!(has(&examined(node).1, "checks", "unlock.key opens the node, mode 0600"));
    std::fs::rename(&key, &away).unwrap();
    let foreseen = |node: &Node, hint: &str| {
        let (code, found) = examined(node);
        let of_key = |part: &str| has(&found, "problems", part);
        assert!(of_key("node-1.unlock.key does not exist: the next start is sealed"), "{found:#}");
        assert!(of_key(hint) && code == 9, "{found:#}");
        assert!(!has(&found, "checks", "unlock key "), "{found:#}");
    };
    foreseen(node, "without one: conclave keyring rekey --passphrase");
    node.stop();
    foreseen(node, "without one: conclave node remove node-1 on another node");
    std::fs::write(&key, format!("{}\n", "ab".repeat(32))).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(has(&examined(node).1, "problems", "is the key of another node"));
    std::fs::rename(&away, &key).unwrap();
    // A group may read it: secret stores mount files so.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (_, found) = examined(node);
    assert!(has(&found, "checks", "opens the node"), "{found:#}");
}

/// What this user may not see is neither missing nor right.
#[test]
fn what_may_not_be_looked_at_is_said_to_be_unknown() {
    let mut cluster = Cluster::unfounded(1);
    let node = &mut cluster.nodes[0];
    let away = tempfile::tempdir().unwrap();
    let rights = std::fs::Permissions::from_mode;
    std::fs::set_permissions(away.path(), rights(0o755)).unwrap();
    let config = away.path().join("node.toml");
    std::fs::copy(node.dir.join("node.toml"), &config).unwrap();
    std::fs::set_permissions(&config, rights(0o644)).unwrap();
    std::fs::set_permissions(&node.dir, rights(0o000)).unwrap();
    let mut command = match std::fs::metadata(&config).unwrap().uid() {
        0 => {
            let mut command = Command::new("setpriv");
            let other = ["--reuid=65534", "--regid=65534", "--clear-groups"];
            command.args(other).arg(binary("conclave"));
            command
        }
        _ => Command::new(binary("conclave")),
    };
    let ran = command.args(["doctor", "--config", config.to_str().unwrap()]).output().unwrap();
    std::fs::set_permissions(&node.dir, rights(0o700)).unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    for part in [
        "!   data directory",
        "was not looked at: Permission denied",
        "!   it is not known whether a node answers at ",
        "sudo conclave doctor",
    ] {
        assert!(said.contains(part), "{part}: {said}{}", String::from_utf8_lossy(&ran.stderr));
    }
    assert!(!said.contains("no node answers") && !said.contains("not there yet"), "{said}");
}

#[test]
fn a_stopped_node_and_a_wrong_file_are_examined_too() {
    let mut cluster = Cluster::unfounded(1);
    let node = &mut cluster.nodes[0];
    let (code, found) = examined(node);
    assert!(has(&found, "warnings", "belongs to no cluster yet") && code == 9, "{found:#}");
    node.stop();
    let (code, found) = examined(node);
    assert!(has(&found, "warnings", "no node answers at ") && code == 9, "{found:#}");
    assert!(has(&found, "checks", "data directory "), "{found:#}");
    node.configure("node", "nam = \"x\"");
    let (code, found) = examined(node);
    assert!(has(&found, "problems", "node.toml:2:1") && code == 9, "{found:#}");
    let none = run_alone(&["doctor", "--config", "/nowhere/node.toml"]);
    assert!(none.out.contains("x   configuration: cannot read") && none.code == 9, "{}", none.out);
    assert!(none.err.contains("1 problem, 0 warnings"), "{}", none.err);
}
