//! What was acknowledged survives; who was away catches up.

use std::process::Command;

use conclave_tests::{Cluster, has_program, wait_for};

#[test]
fn kill_9_of_all_nodes_loses_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::start(3);
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        for change in 0..4 {
            let name = format!("r{round}c{change}.example");
            let node = &cluster.nodes[change % 3];
            node.run(&["domain", "create", &name, "--wait", "committed"]).ok();
            node.run(&["key", "generate", &name, "--wait", "committed"]).ok();
            node.run(&["cert", "self-sign", &name, "--wait", "committed"]).ok();
            acknowledged.push(name);
        }
        cluster.nodes.iter_mut().for_each(|node| node.kill());
        cluster.nodes.iter_mut().for_each(|node| node.start());
        let listed =
            cluster.nodes[round % 3].run(&["--timeout", "30s", "domain", "list", "-o", "json"]);
        let listed = listed.json();
        for name in &acknowledged {
            let found = listed.as_array().unwrap().iter().find(|one| one["name"] == name.as_str());
            let found = found.unwrap_or_else(|| panic!("{name} is lost"));
            assert!(found["credentials"][0]["certificate"].is_object(), "{found}");
        }
        same_digest(&cluster);
    }
}

/// All nodes come to hold the same rows.
fn same_digest(cluster: &Cluster) {
    wait_for("the same digest everywhere", || {
        let digests: Vec<_> =
            cluster.nodes.iter().map(|node| node.status()["cluster"]["digest"].clone()).collect();
        (digests[0].is_string() && digests.iter().all(|one| *one == digests[0])).then_some(())
    });
}

#[test]
fn an_acknowledged_write_is_synced_first() {
    if !has_program("strace") {
        return;
    }
    let mut cluster = Cluster::start(1);
    cluster.nodes[0].kill();
    let trace = cluster.dir.path().join("trace");
    let trace_path = trace.to_str().unwrap().to_owned();
    let wrapper = [
        "strace",
        "-f",
        "-s",
        "256",
        "-e",
        "trace=fsync,fdatasync,write,sendto,writev",
        "-o",
        &trace_path,
    ];
    cluster.nodes[0].start_under(&wrapper);
    let one = &cluster.nodes[0];
    one.run(&["--timeout", "60s", "domain", "create", "before.example"]).ok();
    let synced_before = count_syncs(&std::fs::read_to_string(&trace).unwrap());
    one.run(&["--timeout", "60s", "domain", "create", "traced.example"]).ok();
    let text = std::fs::read_to_string(&trace).unwrap();
    let answered = text.find("\\\"traced.example\\\"").expect("the answer is in the trace");
    let synced = count_syncs(&text[..answered]);
    assert!(
        synced >= synced_before + 2,
        "log and state are synced before the answer: {synced_before}, then {synced}"
    );
    cluster.nodes[0].kill();
    let _ = Command::new("pkill").args(["-9", "-f", cluster.dir.path().to_str().unwrap()]).status();
}

fn count_syncs(trace: &str) -> usize {
    // A call that another thread interrupts is written in two lines; the second has the result.
    let is_sync = |line: &&str| line.contains("sync(") || line.contains("sync resumed");
    trace.lines().filter(is_sync).filter(|line| line.contains("= 0")).count()
}

#[test]
fn a_follower_that_was_away_comes_back_by_snapshot() {
    // More than one snapshot (2,500 entries) and the entries kept behind it (500). Changes that
    // wait at the same time share an entry, so there are few writers.
    const CHANGES: usize = 4_000;
    const WRITERS: usize = 2;
    let mut cluster = Cluster::with_short_log(3);
    cluster.nodes[2].kill();
    let one = cluster.nodes[0].dir.join("admin.sock");
    let slowest = write_many(&one, CHANGES, WRITERS);
    println!("{CHANGES} changes, slowest {slowest:?}");
    let purged = wait_for("the log is purged", || {
        cluster.nodes[cluster.leader()].status()["cluster"]["purged_index"]
            .as_u64()
            .filter(|index| *index > 1_000)
    });
    cluster.nodes[2].start();
    wait_for("it has caught up", || {
        let listed = cluster.nodes[2].run(&[
            "domain",
            "show",
            &format!("d{}.example", CHANGES - 1),
            "--stale",
        ]);
        (listed.code == 0).then_some(())
    });
    // The State shows a moment before Raft reports where it came from.
    wait_for("it came by snapshot", || {
        let snapshot = cluster.nodes[2].status()["cluster"]["snapshot_index"].as_u64();
        snapshot.filter(|index| *index >= purged)
    });
    same_digest(&cluster);
}

/// Writes through one node, some at a time; gives the longest time that one took.
fn write_many(socket: &std::path::Path, count: usize, writers: usize) -> std::time::Duration {
    use conclave_api::domain::{Create, Pki};
    use conclave_client::{Address, Change, Client, Options};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = Options { timeout: std::time::Duration::from_secs(60), ..Options::default() };
    let client = Client::new(&Address::Unix(socket.to_owned()), None, options).unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..writers {
            let client = client.clone();
            tasks.spawn(async move {
                let mut slowest = std::time::Duration::ZERO;
                let change = Change { is_committed_enough: true, ..Change::default() };
                for number in (worker..count).step_by(writers) {
                    let create = Create {
                        name: format!("d{number}.example"),
                        aliases: Vec::new(),
                        addresses: Vec::new(),
                        scope: None,
                        pki: Some(Pki::Test),
                    };
                    let started = std::time::Instant::now();
                    client.create_domain(&create, &change).await.unwrap();
                    slowest = slowest.max(started.elapsed());
                }
                slowest
            });
        }
        tasks.join_all().await.into_iter().max().unwrap()
    })
}
