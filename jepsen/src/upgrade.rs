//! Rolling upgrades from an earlier release, and back, while the cluster is written to and read
//! from and serves TLS.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use conclave_api::{domain::Create, listener::Add};
use conclave_client::Change;

use crate::{
    check::{self, Verdict},
    cluster::{Cluster, Started},
    handshake,
    history::History,
    workloads,
};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// Traffic under each mixture of versions.
const SETTLE: Duration = Duration::from_secs(2);
/// Writers through each node.
const WRITERS: usize = 4;
const SERVED_DOMAIN: &str = "served.example";
const BY_HAND: &str = "finalize = \"manual\"";

/// Upgrades a cluster under load.
#[derive(clap::Args)]
pub(crate) struct Upgrade {
    /// The conclave binary of the earlier release.
    #[arg(long)]
    earlier: PathBuf,
    /// The conclave binary to upgrade to; by default the one beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Go back to the earlier release once, before the upgrade is finalized.
    #[arg(long)]
    back: bool,
    /// Nodes that are upgraded at once: 1, or all of them for releases that cannot be mixed.
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    /// Directory for logs, data and history.
    #[arg(long)]
    store: PathBuf,
}

/// A loop of TLS handshakes with one node.
struct Client {
    /// Number of changes of whether the node is up; odd: it is up.
    turn: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Client {
    fn start(address: SocketAddr) -> Client {
        let (turn, is_over) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let (at, over) = (Arc::clone(&turn), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let mut done = 0;
            while !over.load(Ordering::Relaxed) {
                let before = at.load(Ordering::SeqCst);
                if before % 2 == 0 {
                    std::thread::park_timeout(LOOK);
                    continue;
                }
                match handshake::shown(address, SERVED_DOMAIN) {
                    Ok(_) => done += 1,
                    // A handshake with a node that was stopped meanwhile proves nothing.
                    Err(_) if at.load(Ordering::SeqCst) != before => {}
                    Err(error) => return Err(format!("{address}: no handshake: {error:#}")),
                }
            }
            Ok(done)
        });
        Client { turn, is_over, thread }
    }

    /// Ends the loop and returns the number of its handshakes, or why one failed.
    fn end(self) -> Result<u64, String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err("a loop of handshakes panicked".to_owned()))
    }
}

/// Writers through all nodes.
struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn start(cluster: &Cluster, history: &Arc<History>, prefix: &str) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = workloads::set::start(cluster, history, &stop, (prefix, WRITERS));
        Writers { stop, tasks }
    }

    /// Lets each finish its write.
    async fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await?;
        }
        Ok(())
    }
}

pub(crate) async fn judge(upgrade: &Upgrade) -> anyhow::Result<Verdict> {
    std::fs::create_dir_all(&upgrade.store).context("the store cannot be made")?;
    let present = crate::binary(upgrade.binary.as_deref())?;
    let earlier = crate::binary(Some(&upgrade.earlier))?;
    let history = Arc::new(History::create(&upgrade.store.join("history.jsonl"))?);
    let mut cluster = Cluster::start(&earlier, &upgrade.store, 3).await?;
    let clients = serve(&cluster).await?;
    let (started, mut is_by_hand) = (Instant::now(), false);
    let round = |is_by_hand| Round { clients: &clients, is_by_hand, at_once: upgrade.at_once };
    let mut writers = Writers::start(&cluster, &history, "a");
    tokio::time::sleep(SETTLE).await;
    if upgrade.at_once >= cluster.nodes.len() {
        // A release that cannot be mixed with the next may not be exact about its last moments.
        writers.end().await?;
        round(false).install(&mut cluster, &present).await?;
        writers = Writers::start(&cluster, &history, "b");
    } else {
        if upgrade.back {
            is_by_hand = true;
            round(true).install(&mut cluster, &present).await?;
            round(false).install(&mut cluster, &earlier).await?;
        }
        round(is_by_hand).install(&mut cluster, &present).await?;
    }
    finalize(&cluster, is_by_hand).await?;
    tokio::time::sleep(SETTLE).await;
    let took = started.elapsed();
    writers.end().await?;
    let mut handshakes = 0;
    for client in clients {
        match client.end() {
            Ok(done) => handshakes += done,
            Err(why) => return Ok(Verdict::Invalid(why)),
        }
    }
    let first = cluster.nodes.first().context("no node")?;
    // The judge knows the writers' domains only.
    first.client.delete_domain(SERVED_DOMAIN, &Change::default()).await?;
    let found = workloads::set::read_back(&cluster, &history).await?;
    let verdict = check::set(&history.events(), &found);
    let (writes, reads) = (history.count("ok"), history.count_of("read", "ok"));
    println!(
        "{writes} acknowledged writes of three changes each in {:.1} s, {} refused, {} unknown; \
         {reads} linearizable reads; {handshakes} handshakes, 0 failed",
        took.as_secs_f64(),
        history.count("fail"),
        history.count("info"),
    );
    if verdict != Verdict::Valid {
        return Ok(verdict);
    }
    no_way_back(&mut cluster, &earlier, &present).await
}

/// Lets every node serve TLS, and starts a client of each.
async fn serve(cluster: &Cluster) -> anyhow::Result<Vec<Client>> {
    let first = cluster.nodes.first().context("no node")?;
    let change = Change::default();
    let create = Create {
        name: SERVED_DOMAIN.to_owned(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        scope: None,
        pki: None,
    };
    first.client.create_domain(&create, &change).await?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let add = Add {
        name: "https".to_owned(),
        bind: format!(":{port}"),
        upstreams: vec!["127.0.0.1:9".to_owned()],
        ..Add::default()
    };
    first.client.add_listener(&add, &change).await?;
    let addresses = cluster.nodes.iter().map(|node| node.address.parse::<IpAddr>());
    let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>()?;
    Ok(addresses.into_iter().map(|address| Client::start((address, port).into())).collect())
}

/// A change of the program of every node, one after another.
struct Round<'a> {
    clients: &'a [Client],
    is_by_hand: bool,
    at_once: usize,
}

impl Round<'_> {
    async fn install(&self, cluster: &mut Cluster, program: &Path) -> anyhow::Result<()> {
        let places: Vec<usize> = (0..cluster.nodes.len()).collect();
        for group in places.chunks(self.at_once.max(1)) {
            for place in group {
                self.mark(*place);
                let node = cluster.nodes.get_mut(*place).context("no such node")?;
                let name = node.name.clone();
                anyhow::ensure!(node.stop()?, "{name} does not end after SIGTERM");
                node.install(program);
                node.configure(BY_HAND, self.is_by_hand)?;
            }
            for place in group {
                cluster.nodes.get_mut(*place).context("no such node")?.start()?;
                self.mark(*place);
            }
            settled(cluster).await?;
            tokio::time::sleep(SETTLE).await;
        }
        Ok(())
    }

    /// Marks a node as down, or as up again.
    fn mark(&self, place: usize) {
        if let Some(client) = self.clients.get(place) {
            client.turn.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Waits until all nodes answer and none is behind, as one who upgrades by hand does.
async fn settled(cluster: &Cluster) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut is_settled = true;
        for node in &cluster.nodes {
            let status = node.client.status().await;
            is_settled &= status.is_ok_and(|status| {
                status.cluster.is_some_and(|cluster| cluster.leader.is_some())
                    && status.nodes.iter().all(|node| node.state == "ready")
            });
        }
        if is_settled {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "the nodes are not in step after a minute");
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends the upgrade, or waits until the leader has done so.
async fn finalize(cluster: &Cluster, is_by_hand: bool) -> anyhow::Result<()> {
    let first = cluster.nodes.first().context("no node")?;
    if is_by_hand {
        let before = first.client.upgrade().await?;
        anyhow::ensure!(!before.finalized, "it was finalized by itself: {before:?}");
        first.client.finalize(&Change::default()).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let upgrade = first.client.upgrade().await?;
        if upgrade.finalized && upgrade.nodes.iter().all(|node| node.level.is_some()) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "not finalized after a minute: {upgrade:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Checks that the earlier release refuses the data now and changes nothing.
async fn no_way_back(
    cluster: &mut Cluster,
    earlier: &Path,
    present: &Path,
) -> anyhow::Result<Verdict> {
    let node = cluster.nodes.last_mut().context("no node")?;
    let name = node.name.clone();
    anyhow::ensure!(node.stop()?, "{name} does not end after SIGTERM");
    node.configure(BY_HAND, false)?;
    node.install(earlier);
    match node.try_start(PATIENCE, || false)? {
        Started::Ended(words) => println!("the earlier release refuses: {}", last_lines(&words)),
        other => return Ok(Verdict::Invalid(format!("the earlier release starts: {other:?}"))),
    }
    node.install(present);
    node.start()?;
    settled(cluster).await?;
    Ok(Verdict::Valid)
}

/// The lines of an error, without the log before it.
fn last_lines(words: &str) -> String {
    let from = words.find("error[").unwrap_or(0);
    words.get(from..).unwrap_or(words).trim().replace('\n', " | ")
}
