//! What disturbs writes, and by how much: snapshots with the purges after them, and a member that
//! installs a snapshot. And an election meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use conclave_api::domain::{Create, Pki};
use conclave_client::Client;
use conclave_tests::{Cluster, Node, wait_for};

use crate::{
    measure::Figures,
    writes::{client, committed},
};

const IN_FLIGHT: usize = 16;
/// Less than by default, so that a member which was away soon needs a snapshot, and still enough
/// for the time that it takes to install it.
const KEEP_LOG_MIB: u32 = 8;
/// How long before and after a change of the log's numbers a write counts as disturbed by it.
const AROUND: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(crate) fn run(time: Duration, domains: u64) {
    let mut cluster = Cluster::unfounded(3);
    for node in &mut cluster.nodes {
        node.configure("cluster", &format!("keep_log_mib = {KEEP_LOG_MIB}"));
        node.stop();
        node.start();
    }
    cluster.nodes[0].run(&["cluster", "init", "--name", "test"]).ok();
    cluster.nodes[0].stop();
    conclave_node::testing::fill(&cluster.nodes[0].dir.join("node.toml"), 0..domains).unwrap();
    cluster.nodes[0].start();
    cluster.join_others();
    wait_for("all are ready", || are_ready(&cluster.nodes[0], 3));
    snapshots(&cluster, time);
    installation(&mut cluster);
    election(&mut cluster);
}

pub(crate) fn are_ready(node: &Node, count: usize) -> Option<()> {
    let status = node.status();
    let nodes = status["nodes"].as_array()?;
    (nodes.iter().filter(|node| node["state"] == "ready").count() == count).then_some(())
}

/// Writes that go on until they are stopped: when each began, and when it was acknowledged.
pub(crate) struct Writing {
    goes_on: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: JoinHandle<Vec<(Instant, Instant)>>,
}

impl Writing {
    pub(crate) fn start(client: Client, prefix: &'static str) -> Writing {
        let goes_on = Arc::new(AtomicBool::new(true));
        let made = Arc::new(AtomicU64::new(0));
        let (asked, number) = (Arc::clone(&goes_on), Arc::clone(&made));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..IN_FLIGHT {
                let (client, asked) = (client.clone(), Arc::clone(&asked));
                let number = Arc::clone(&number);
                let work = async move {
                    let mut times = Vec::new();
                    while asked.load(Relaxed) {
                        let name = format!("{prefix}{}.example", number.fetch_add(1, Relaxed));
                        let (aliases, addresses, scope) = (Vec::new(), Vec::new(), None);
                        let pki = Some(Pki::Test);
                        let create = Create { name, aliases, addresses, scope, pki };
                        let begun = Instant::now();
                        client.create_domain(&create, &committed()).await.unwrap();
                        times.push((begun, Instant::now()));
                    }
                    times
                };
                tasks.spawn_on(work, runtime.handle());
            }
            runtime.block_on(tasks.join_all()).concat()
        });
        Writing { goes_on, made, thread }
    }

    fn wait_for(&self, writes: u64) {
        wait_for("writes", || (self.made.load(Relaxed) >= writes).then_some(()));
    }

    pub(crate) fn stop(self) -> Vec<(Instant, Instant)> {
        self.goes_on.store(false, Relaxed);
        self.thread.join().unwrap()
    }
}

/// Writes that overlapped one of the spans, and the others.
pub(crate) fn split(
    writes: &[(Instant, Instant)],
    spans: &[(Instant, Instant)],
) -> (Vec<Duration>, Vec<Duration>) {
    let is_disturbed = |(begun, done): &&(Instant, Instant)| {
        spans.iter().any(|(from, till)| begun <= till && done >= from)
    };
    let (disturbed, quiet): (Vec<_>, Vec<_>) = writes.iter().partition(is_disturbed);
    let took = |all: Vec<(Instant, Instant)>| {
        all.into_iter().map(|(begun, done)| done - begun).collect::<Vec<_>>()
    };
    (took(disturbed), took(quiet))
}

pub(crate) fn tell(what: &str, disturbed: Vec<Duration>, quiet: Vec<Duration>) {
    let (disturbed, quiet) = (Figures::of(disturbed), Figures::of(quiet));
    let ratio = disturbed.percentile(99) / quiet.percentile(99);
    for (which, figures) in [("quiet", &quiet), (what, &disturbed)] {
        let [p50, p99, most] = [50, 99, 100].map(|percent| figures.percentile(percent));
        println!(
            "disturbed  {which:<16} p50 {p50:>6.2} ms  p99 {p99:>6.2} ms  max {most:>7.2} ms  of {}",
            figures.count()
        );
    }
    println!("disturbed  {what:<16} p99 x {ratio:.2}");
}

/// Around each snapshot of the leader, and each purge of its log.
#[expect(clippy::disallowed_methods, reason = "samples the status at a rate")]
fn snapshots(cluster: &Cluster, time: Duration) {
    let leader = cluster.leader();
    let writing = Writing::start(client(cluster, leader), "s");
    let started = Instant::now();
    let (mut spans, mut before) = (Vec::new(), None);
    while started.elapsed() < time {
        let looked = Instant::now();
        let status = cluster.nodes[leader].status();
        let now = (
            status["cluster"]["snapshot_index"].clone(),
            status["cluster"]["purged_index"].clone(),
        );
        if before.replace(now.clone()).is_some_and(|before| before != now) {
            spans.push((looked - AROUND, Instant::now() + AROUND));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let (disturbed, quiet) = split(&writing.stop(), &spans);
    println!("disturbed  {} times the leader's snapshot or its purge moved", spans.len());
    tell("snapshot, purge", disturbed, quiet);
}

/// Purges the log far enough that the stopped member needs a snapshot.
fn write_beyond_the_log(cluster: &Cluster, prefix: &'static str) {
    let leader = cluster.leader();
    let purged = || cluster.nodes[leader].status()["cluster"]["purged_index"].as_u64();
    let writing = Writing::start(client(cluster, leader), prefix);
    let before = cluster.nodes[leader].status()["cluster"]["commit_index"].as_u64();
    wait_for("the log is purged", || (purged() > before).then_some(()));
    writing.stop();
}

fn installation(cluster: &mut Cluster) {
    let leader = cluster.leader();
    let behind = (leader + 1) % 3;
    cluster.nodes[behind].stop();
    write_beyond_the_log(cluster, "i");
    let writing = Writing::start(client(cluster, leader), "j");
    writing.wait_for(2_000);
    let from = Instant::now();
    cluster.nodes[behind].start();
    wait_for("it is ready again", || are_ready(&cluster.nodes[leader], 3));
    let till = Instant::now();
    writing.wait_for(writing.made.load(Relaxed) + 2_000);
    let (disturbed, quiet) = split(&writing.stop(), &[(from, till)]);
    println!("disturbed  installed in {:.2} s", (till - from).as_secs_f64());
    tell("installation", disturbed, quiet);
}

/// The leader is killed while one of the two others installs a snapshot: without its vote there
/// is no leader.
fn election(cluster: &mut Cluster) {
    let leader = cluster.leader();
    let (behind, third) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[behind].stop();
    write_beyond_the_log(cluster, "e");
    cluster.nodes[behind].start();
    let has = |node: &Node| node.status()["cluster"]["applied_index"].as_u64().unwrap();
    let purged = cluster.nodes[leader].status()["cluster"]["purged_index"].as_u64().unwrap();
    wait_for("the leader hears of it", || {
        let status = cluster.nodes[leader].status();
        let mut nodes = status["nodes"].as_array()?.iter();
        let found = nodes.find(|node| node["name"] == cluster.nodes[behind].name.as_str())?;
        (found["state"] != "unreachable").then_some(())
    });
    let was_installing = has(&cluster.nodes[behind]) < purged;
    let killed = Instant::now();
    cluster.nodes[leader].kill();
    let name = cluster.nodes[leader].name.clone();
    wait_for("another leader", || {
        let status = cluster.nodes[third].status();
        status["cluster"]["leader"].as_str().filter(|leader| **leader != name).map(drop)
    });
    let took = killed.elapsed();
    let is_installing = has(&cluster.nodes[behind]) < purged;
    println!(
        "disturbed  a new leader {:.2} s after kill -9; the only other voter installs a snapshot \
         of {} rows: at the kill {was_installing}, at the election {is_installing}",
        took.as_secs_f64(),
        cluster.nodes[third].status()["cluster"]["rows"]
    );
}
