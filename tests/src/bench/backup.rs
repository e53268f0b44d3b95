//! What a backup of many domains costs the writes beside it, and how long its restore takes.

use std::time::{Duration, Instant};

use conclave_tests::{Cluster, Node, probe, wait_for};

use crate::{
    disturbed::{Writing, are_ready, split, tell},
    writes::client,
};

#[expect(clippy::disallowed_methods, reason = "measures without a backup for a while")]
pub(crate) fn run(time: Duration, domains: u64) {
    let mut cluster = Cluster::unfounded(4);
    let fresh = cluster.nodes.pop().unwrap();
    cluster.nodes[0].run(&["cluster", "init", "--name", "test"]).ok();
    cluster.nodes[0].stop();
    conclave_node::testing::fill(&cluster.nodes[0].dir.join("node.toml"), 0..domains).unwrap();
    cluster.nodes[0].start();
    cluster.join_others();
    wait_for("all are ready", || are_ready(&cluster.nodes[0], 3));
    let port = cluster.listen();
    let path = |name: &str| cluster.dir.path().join(name).display().to_string();
    let (key, file) = (path("backup.key"), path("bench.backup"));
    let recipient = cluster.nodes[0].run(&["-q", "backup", "keygen", "--out", &key]).ok();
    let words = ["backup", "create", "--recipient", recipient.trim(), "--out", &file];
    let leader = cluster.leader();
    for (place, whose) in [(leader, "backup of leader"), ((leader + 1) % 3, "of a follower")] {
        let writing = Writing::start(client(&cluster, leader), whose.rsplit(' ').next().unwrap());
        std::thread::sleep(time);
        let begun = Instant::now();
        cluster.nodes[place].run(&words).ok();
        let span = (begun, Instant::now());
        std::thread::sleep(time);
        let (disturbed, quiet) = split(&writing.stop(), &[span]);
        tell(whose, disturbed, quiet);
        let bytes = std::fs::metadata(&file).unwrap().len();
        println!("backup     {whose:<16} {:.1} s, {} KiB", seconds(begun, span.1), bytes / 1024);
    }
    timed("verify", &fresh, &["backup", "verify", &file, "--identity", &key]);
    cluster.nodes.iter_mut().for_each(Node::stop);
    timed("restore", &fresh, &["backup", "restore", &file, "--identity", &key]);
    let last = format!("d{}.example", domains - 1);
    wait_for("the last domain", || probe(fresh.listener(port), &last).ok());
}

fn timed(what: &str, node: &Node, words: &[&str]) {
    let begun = Instant::now();
    node.run(words).ok();
    println!("backup     {what:<16} {:.1} s", seconds(begun, Instant::now()));
}

fn seconds(begun: Instant, ended: Instant) -> f64 {
    (ended - begun).as_secs_f64()
}
