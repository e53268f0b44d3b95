//! Who leads, and how it changes on purpose.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, DEADLINE, Ends, Node, wait_for};
use serde_json::Value;

const TRANSFERS: usize = 20;
/// Writes between two transfers: the new leader works.
const WRITES_BETWEEN: usize = 5;
/// So long that a leader who was only waited for would show.
const ELECTION_TIMEOUT: &str = "election_timeout = \"20s\"";
/// Bounds for a debug build on a busy machine. The aim for the median is 50 ms.
const GAP_MAX: Duration = Duration::from_secs(5);
const GAP_MEDIAN_MAX: Duration = Duration::from_millis(250);
/// A machine on which a write takes long has longer gaps.
const GAP_MEDIAN_MAX_WRITES: u32 = 6;

fn transfer(node: &Node, more: &[&str]) -> Value {
    node.run(&[&["cluster", "transfer-leader", "-o", "json"], more].concat()).json()
}

fn refused(node: &Node, more: &[&str]) -> (i32, Value) {
    let ran = node.run(&[&["cluster", "transfer-leader", "-o", "json"], more].concat());
    (ran.code, ran.problem())
}

/// Writes through one node after the other until it is told to end. Gives the times of the answers.
fn write_on(nodes: &[Node], written: &AtomicUsize, is_over: &AtomicBool) -> Vec<Instant> {
    let mut answered = vec![Instant::now()];
    for round in 0.. {
        if is_over.load(SeqCst) {
            break;
        }
        let body = format!("{{\"ttl_s\":{}}}", 3_600 + round % 1_000);
        let path = "tls?wait=committed&timeout_ms=5000";
        let (status, answer) = nodes[round % nodes.len()].ask("PATCH", path, &body);
        assert_eq!(status, 200, "{answer}");
        answered.push(Instant::now());
        written.fetch_add(1, SeqCst);
    }
    answered
}

fn longest_gap(answered: &[Instant], from: Instant, to: Instant) -> Duration {
    let pairs = answered.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
    pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[test]
fn a_planned_transfer_leaves_a_short_gap_without_a_write() {
    let cluster = Cluster::configured(3, "cluster", ELECTION_TIMEOUT);
    let (written, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let more_writes = |count: usize| {
        let before = written.load(SeqCst);
        wait_for("writes go on", || (written.load(SeqCst) >= before + count).then_some(()));
    };
    let (answered, transfers) = std::thread::scope(|scope| {
        let _ends = Ends(&is_over);
        let writer = scope.spawn(|| write_on(&cluster.nodes, &written, &is_over));
        let mut transfers = Vec::new();
        for round in 0..TRANSFERS {
            more_writes(WRITES_BETWEEN);
            let begin = Instant::now();
            // Half of them name the voter. The asked node is any.
            let to = cluster.nodes[(cluster.leader() + 1) % 3].name.clone();
            let words = if round % 2 == 0 { vec![to.as_str()] } else { vec![] };
            let done = transfer(&cluster.nodes[round % 3], &words);
            assert_eq!(done["changed"], true, "{done}");
            assert!(round % 2 == 1 || done["to"] == to.as_str(), "{done}");
            transfers.push((begin, done["took_ms"].as_u64().unwrap()));
            more_writes(WRITES_BETWEEN);
        }
        is_over.store(true, SeqCst);
        (writer.join().unwrap(), transfers)
    });
    let ends = transfers.iter().skip(1).map(|(begin, _)| *begin).chain([Instant::now()]);
    let mut gaps: Vec<Duration> = transfers
        .iter()
        .zip(ends)
        .map(|((begin, _), end)| longest_gap(&answered, *begin, end))
        .collect();
    gaps.sort();
    let took: Vec<u64> = transfers.iter().map(|(_, took_ms)| *took_ms).collect();
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let mut each: Vec<Duration> = answered.windows(2).map(|pair| pair[1] - pair[0]).collect();
    each.sort();
    let write = each[each.len() / 2];
    println!(
        "{TRANSFERS} transfers, {} writes of {write:?} each: longest time without an answer \
         {longest:?}, median of the transfers {median:?}; the transfers took {took:?} ms",
        answered.len(),
    );
    let median_max = GAP_MEDIAN_MAX.max(write * GAP_MEDIAN_MAX_WRITES);
    assert!(median < median_max && longest < GAP_MAX, "{gaps:?}, a write took {write:?}");
}

#[test]
fn a_node_that_cannot_lead_is_refused_with_the_reason() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let name = |place: usize| cluster.nodes[(leader + place) % 3].name.clone();
    let (one, two, three) = (&cluster.nodes[leader], name(1), name(2));
    let asked = &cluster.nodes[(leader + 1) % 3];
    // A dry run changes nothing, and names who would lead.
    let tried = transfer(asked, &[&three, "--dry-run"]);
    let shown = (&tried["from"], &tried["to"], &tried["changed"], &tried["dry_run"]);
    assert_eq!(
        shown,
        (&one.name.clone().into(), &three.clone().into(), &false.into(), &true.into())
    );
    assert_eq!(cluster.leader(), leader);
    // The leader leads already.
    let same = transfer(asked, &[&one.name]);
    assert_eq!((&same["changed"], &same["to"]), (&false.into(), &one.name.clone().into()));
    let (code, problem) = refused(asked, &["node-9"]);
    assert_eq!((code, &problem["code"]), (3, &"X005".into()), "{problem}");
    // A drained node, and then one that does not answer.
    asked.run(&["node", "drain", &three, "--deadline", "1s"]).ok();
    wait_for("the leader knows of the drain", || {
        let ran = asked.run(&["cluster", "transfer-leader", &three, "--dry-run"]);
        (ran.code == 4 && ran.err.contains("drained")).then_some(())
    });
    assert_eq!(transfer(one, &["--dry-run"])["to"], two.as_str(), "the best one is not drained");
    asked.run(&["node", "resume", &three]).ok();
    let silent = cluster.nodes.iter().find(|node| node.name == three).unwrap();
    silent.signal("STOP");
    let (code, problem) = refused(asked, &[&three]);
    assert_eq!((code, &problem["code"]), (4, &"R014".into()), "{problem}");
    assert!(problem["title"].as_str().unwrap().contains("does not answer"), "{problem}");
    silent.signal("CONT");
    // A learner has no vote.
    wait_for("it answers again", || (one.run(&["node", "demote", &three]).code == 0).then_some(()));
    wait_for("its vote is gone", || {
        let ran = asked.run(&["cluster", "transfer-leader", &three, "--dry-run"]);
        (ran.code == 4 && ran.err.contains("is a learner")).then_some(())
    });
    let (code, problem) = refused(asked, &[&three]);
    assert_eq!((code, &problem["code"]), (4, &"R014".into()), "{problem}");
    assert_eq!(cluster.leader(), leader, "nothing of this changed the leader");
}

#[test]
fn a_drain_hands_the_leadership_over_first_and_a_resume_gives_nothing_back() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let one = &cluster.nodes[leader];
    one.run(&["node", "drain", &one.name, "--deadline", "1s"]).ok();
    let new = cluster.leader();
    assert_ne!(new, leader, "the drained node does not lead");
    assert_eq!(one.log().matches("raft.handed_over").count(), 1, "{}", one.log());
    one.run(&["node", "resume", &one.name]).ok();
    let resumed = Instant::now();
    while resumed.elapsed() < Duration::from_secs(1) {
        assert_eq!(cluster.leader(), new);
    }
    // Alone, a drained voter leads on: nobody else could.
    let alone = Cluster::start(1);
    alone.nodes[0].run(&["node", "drain", "node-1", "--deadline", "1s"]).ok();
    let (code, problem) = refused(&alone.nodes[0], &[]);
    assert_eq!((code, &problem["code"]), (4, &"R014".into()), "{problem}");
    alone.nodes[0].run(&["domain", "create", "a.example"]).ok();
    assert!(resumed.elapsed() < DEADLINE);
}
