//! Rolling upgrades: the end of one is a decision, and releases work together before it.

use std::process::Command;

use conclave_store::record::LEVEL_MAX;
use conclave_tests::{Cluster, Node, binary, earlier_program, release, wait_for};
use serde_json::Value;

fn upgrade(node: &Node) -> Value {
    node.run(&["cluster", "upgrade", "-o", "json"]).json()
}

/// The cluster of the last release of level 2, started by this program.
fn earlier_cluster() -> Cluster {
    let mut cluster = release::unpack(&release::fixtures().join("v0.2.1"));
    for node in &mut cluster.nodes {
        node.configure("cluster", "finalize = \"manual\"");
        node.start();
    }
    cluster
}

#[test]
fn an_upgrade_is_finalized_by_hand_when_every_node_knows_the_new_rules() {
    let _lock = release::lock();
    let mut cluster = earlier_cluster();
    wait_for("three nodes that answer", || {
        let found = upgrade(&cluster.nodes[0]);
        let nodes = found["nodes"].as_array().unwrap().iter();
        nodes.clone().all(|node| node["level"] == LEVEL_MAX).then_some(())
    });
    let one = &cluster.nodes[0];
    let found = upgrade(one);
    assert_eq!((&found["level"], &found["since"]), (&2.into(), &"0.2.1".into()), "{found}");
    assert_eq!(
        (&found["possible"], &found["finalized"]),
        (&LEVEL_MAX.into(), &false.into()),
        "{found}"
    );
    let shown = one.run(&["cluster", "upgrade"]);
    assert!(shown.err.contains("No way back afterwards"), "{}{}", shown.out, shown.err);
    let status = one.run(&["status"]).out;
    assert!(status.contains("not finalized    conclave cluster upgrade --finalize"), "{status}");
    let early = one.run(&["node", "set", "node-2", "--zone", "rack-1", "-o", "json"]);
    let problem = early.problem();
    assert_eq!(problem["code"], "V001", "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("cluster upgrade"), "{problem}");
    // A node that is away could still come back as an earlier version.
    cluster.nodes[2].kill();
    let one = &cluster.nodes[0];
    wait_for("a node that is known to be away", || {
        upgrade(one)["nodes"][2]["level"].is_null().then_some(())
    });
    let refused = one.run(&["cluster", "upgrade", "--finalize", "--yes", "-o", "json"]).problem();
    assert_eq!(refused["code"], "V001", "{refused}");
    assert!(refused["title"].as_str().unwrap().contains("node-3 does not answer"), "{refused}");
    cluster.nodes[2].start();
    let one = &cluster.nodes[0];
    wait_for("three nodes that answer", || {
        upgrade(one)["nodes"][2]["level"].is_number().then_some(())
    });
    let asked = one.run(&["--no-input", "cluster", "upgrade", "--finalize"]);
    assert_eq!(asked.code, 2, "{}", asked.err);
    let tried = one.run(&["cluster", "upgrade", "--finalize", "--dry-run"]);
    assert_eq!((tried.code, &upgrade(one)["level"]), (0, &2.into()), "{}", tried.err);
    one.run(&["cluster", "upgrade", "--finalize", "--yes"]).ok();
    for node in &cluster.nodes {
        wait_for("the new level", || (upgrade(node)["level"] == LEVEL_MAX).then_some(()));
    }
    one.run(&["node", "set", "node-2", "--zone", "rack-1"]).ok();
    let again = one.run(&["cluster", "upgrade", "--finalize", "--yes", "-o", "json"]).json();
    assert_eq!(again["changed"], false, "{again}");
    // Between reports a member that answers may be missing.
    wait_for("the end of the upgrade", || {
        let told = one.run(&["cluster", "upgrade"]);
        told.err.contains("Finished").then_some(())
    });
}

/// Writers, readers and TLS clients go on through both directions of an upgrade.
#[test]
fn releases_work_together_and_a_node_can_go_back_until_the_upgrade_is_final() {
    let Some(earlier) = earlier_program("0.4.0") else { return };
    let store = tempfile::tempdir().unwrap();
    let mut jepsen = Command::new(binary("conclave-jepsen"));
    jepsen.args(["upgrade", "--back", "--earlier"]).arg(earlier).arg("--store").arg(store.path());
    let output = jepsen.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.trim_end().ends_with("valid"), "{told}");
    println!("{told}");
}
