//! An answer means what it says: done, not done, or unknown; and who serves it.

use std::sync::atomic::{AtomicUsize, Ordering};

use conclave_tests::{Cluster, wait_for};

/// Files and directories of a data directory whose name begins so.
fn entries(cluster: &Cluster, node: usize, prefix: &str) -> Vec<String> {
    let data = cluster.nodes[node].dir.join("data");
    let names = std::fs::read_dir(data).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}

#[test]
fn changes_that_name_no_version_all_succeed_through_all_nodes() {
    const WRITERS: usize = 16;
    const CHANGES: usize = 4;
    let cluster = Cluster::start(3);
    let domains: Vec<String> = (0..4).map(|number| format!("d{number}.example")).collect();
    for name in &domains {
        cluster.nodes[0].run(&["domain", "create", name]).ok();
    }
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (node, name) = (&cluster.nodes[writer % 3], &domains[writer % 4]);
            scope.spawn(move || {
                for change in 0..CHANGES {
                    let alias = format!("w{writer}c{change}.{name}");
                    let words = ["--timeout", "60s", "domain", "alias", name, "--add", &alias];
                    node.run(&words).ok();
                }
            });
        }
    });
    for name in &domains {
        let shown = cluster.nodes[1].run(&["domain", "show", name, "-o", "json"]).json();
        let aliases = shown["aliases"].as_array().unwrap().len();
        assert_eq!(aliases, WRITERS / domains.len() * CHANGES, "{name}: {shown}");
    }
}

#[test]
fn a_leader_that_stops_under_load_leaves_no_change_undone_that_it_could_repeat() {
    const WRITERS: usize = 6;
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let made = AtomicUsize::new(0);
    let mut nodes: Vec<_> = (0..3).collect();
    nodes.retain(|node| *node != leader);
    let stopped = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (node, made) = (&cluster.nodes[nodes[writer % 2]], &made);
            scope.spawn(move || {
                for change in 0..10 {
                    let name = format!("w{writer}c{change}.example");
                    node.run(&["--timeout", "60s", "domain", "create", &name]).ok();
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        wait_for("some changes", || (made.load(Ordering::Relaxed) > WRITERS).then_some(()));
        cluster.nodes[leader].signal("TERM");
        leader
    });
    assert!(wait_for("the handover", || {
        cluster.nodes[stopped].log().contains("raft.handed_over").then_some(true)
    }));
    cluster.nodes[stopped].kill();
    cluster.nodes[stopped].start();
    let listed = cluster.nodes[stopped].run(&["domain", "list", "-o", "json"]).json();
    let shared = listed.as_array().unwrap().iter().filter(|one| one["scope"] == "shared");
    assert_eq!(shared.count(), WRITERS * 10);
}

#[test]
fn a_founding_that_cannot_be_noted_acknowledges_nothing() {
    let mut cluster = Cluster::unfounded(1);
    let blocked = cluster.nodes[0].dir.join("data/membership.json.new");
    std::fs::create_dir(&blocked).unwrap();
    let refused = cluster.nodes[0].run(&["cluster", "init", "--name", "test", "-o", "json"]);
    assert_eq!(refused.problem()["code"], "X007", "{}", refused.err);
    let create = cluster.nodes[0].run(&["domain", "create", "precious.example", "-o", "json"]);
    assert_eq!(create.problem()["code"], "R006", "{}", create.err);
    std::fs::remove_dir(&blocked).unwrap();
    cluster.nodes[0].run(&["cluster", "init", "--name", "test"]).ok();
    cluster.nodes[0].run(&["domain", "create", "precious.example"]).ok();
    cluster.nodes[0].stop();
    cluster.nodes[0].start();
    cluster.nodes[0].run(&["domain", "show", "precious.example"]).ok();
}

#[test]
fn what_an_unfinished_founding_left_is_put_aside_and_a_whole_cluster_is_refused() {
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].run(&["domain", "create", "precious.example"]).ok();
    cluster.nodes[0].stop();
    let path = cluster.nodes[0].dir.join("data/membership.json");
    let membership = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let config = cluster.nodes[0].dir.join("node.toml");
    let started =
        conclave_tests::run_alone(&["server", "run", "--config", config.to_str().unwrap()]);
    assert_ne!(started.code, 0);
    assert!(started.err.contains("F002"), "{}", started.err);
    std::fs::write(&path, &membership).unwrap();
    cluster.nodes[0].start();
    cluster.nodes[0].run(&["domain", "show", "precious.example"]).ok();
    cluster.nodes[0].stop();
    // As format 2 had it, without a checksum.
    let mut founding: serde_json::Value = serde_json::from_str(&membership).unwrap();
    founding.as_object_mut().unwrap().remove("checksum").unwrap();
    (founding["format"], founding["founding"]) = (2.into(), true.into());
    std::fs::write(&path, founding.to_string()).unwrap();
    cluster.nodes[0].start();
    assert!(!path.exists());
    assert_eq!(entries(&cluster, 0, "raft.abandoned-").len(), 1);
    assert_eq!(entries(&cluster, 0, "state.v2.abandoned-").len(), 1);
    cluster.nodes[0].run(&["cluster", "init", "--name", "again"]).ok();
}
