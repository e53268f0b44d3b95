//! Starts a node: opens log and network, starts openraft and the loops around it.

#[cfg(conclave_sim)]
mod simulated;

use std::{
    fs::File,
    io,
    sync::{Arc, atomic::Ordering},
};

use conclave_disk::{Directory, lock};
use openraft::{Config, SnapshotPolicy, async_runtime::AsyncRuntime};
#[cfg(conclave_sim)]
pub use simulated::Simulated;
use tokio::sync::{mpsc, oneshot};

use super::{Options, Raft, StartError, retention::retain};
use crate::{
    limits::{APPEND_ENTRIES_MAX, LOCK_PATIENCE, PREPARE_EVERY},
    log::Log,
    machine::Machine,
    mark::{self, LogOpenError, OpenLog},
    migrate,
    network::{Accept, Calls, Factory, Links, Peers, Quic, Transport},
    rt::{Handle, Rt, Threads},
    segments::{self, Depot},
    state_machine::{self, Applier, Progress, StateMachine, Work},
    writer::{self, Queue, Writer, Written},
};

/// Open resources of a node, before openraft starts on them.
struct Ground {
    open: OpenLog,
    lock: Option<Arc<File>>,
    transport: Arc<dyn Transport>,
    /// Runtime for answering calls from other nodes.
    above: Handle,
    threads: Threads,
    drive: Drive,
}

/// The steps of a node, each to be run in a loop.
struct Steps {
    writer: Writer,
    depot: Arc<Depot>,
    written: Arc<Written>,
    applier: Applier,
    work: mpsc::Receiver<Work>,
}

/// Starter of the step loops, on threads or in tasks; returns the queue of the writer.
type Drive = Box<dyn FnOnce(Steps) -> io::Result<Queue> + Send>;

fn other(error: impl std::fmt::Display) -> StartError {
    StartError::Other(error.to_string())
}

impl Raft {
    /// Opens the log and the network, and starts the node on threads of its own.
    pub async fn start(
        options: Options,
        machine: Box<dyn Machine>,
        peers: Arc<dyn Peers>,
        calls: Arc<dyn Calls>,
    ) -> Result<Raft, StartError> {
        let (above, threads) = (Handle::current(), Threads::start().map_err(other)?);
        let own_threads = threads.clone();
        let starting = async move {
            let bind = options.bind;
            let own = options.own_address.clone();
            let quic = Quic::open(bind, options.identity.clone(), peers, own)
                .map_err(|error| StartError::Network { bind, reason: error.to_string() })?;
            let persisted = machine.persisted().load(Ordering::Acquire);
            let (open, lock) = open_log(&options, persisted).await?;
            let transport = Arc::new(quic.clone());
            let drive: Drive = Box::new(drive_by_threads);
            let lock = Some(lock);
            let ground = Ground { open, lock, transport, above, threads: own_threads, drive };
            let (raft, accept) =
                Raft::start_on(options, ground, machine, Arc::clone(&calls)).await?;
            Rt::spawn(quic.serve(accept, calls));
            Ok(raft)
        };
        threads.run(starting).await.map_err(other)?
    }

    async fn start_on(
        options: Options,
        ground: Ground,
        machine: Box<dyn Machine>,
        calls: Arc<dyn Calls>,
    ) -> Result<(Raft, Accept), StartError> {
        let Ground { open, lock, transport, above, threads, drive } = ground;
        let id = options.identity.id;
        let persisted = machine.persisted();
        let (vote, point, entries) = (open.mark.vote, open.engine.point(), open.engine.reader());
        let snapshots = options.dir.join("snapshots");
        let (state, applier, work) =
            StateMachine::new(machine, snapshots.clone()).map_err(other)?;
        let (progress, stager, to_applier) = (state.progress(), state.stager(), state.work());
        let writer = Writer::new(open.engine, open.marker, open.mark, persisted);
        let (written, depot) = (writer.written(), open.depot);
        let steps = Steps { writer, depot, written: Arc::clone(&written), applier, work };
        let queue = drive(steps).map_err(other)?;
        let log = Log::new(entries, queue, Arc::clone(&written), vote, point);
        let links = Links::new(Arc::clone(&transport));
        let factory = Factory { links: links.clone() };
        let config = Arc::new(config(&options).map_err(other)?);
        let inner =
            openraft::Raft::new(id.0, config, factory, log.clone(), state).await.map_err(other)?;
        replayed(&to_applier, &progress).await.map_err(other)?;
        Rt::spawn(retain(inner.clone(), written, options.keep_log));
        let accept =
            Accept { raft: inner.clone(), calls, above, links: links.clone(), snapshots, stager };
        let raft =
            Raft { id, inner, log, progress, links, transport, _lock: lock, _threads: threads };
        Ok((raft, accept))
    }
}

/// Runs each step on a thread of its own.
fn drive_by_threads(steps: Steps) -> io::Result<Queue> {
    let Steps { writer, depot, written, applier, work } = steps;
    state_machine::start(applier, work)?;
    prepare_segments(depot, written)?;
    writer::start(writer)
}

/// Opens the log off the async threads, because it is read completely.
async fn open_log(options: &Options, persisted: u64) -> Result<(OpenLog, Arc<File>), StartError> {
    let dir = options.dir.clone();
    let entropy = Arc::clone(&options.entropy);
    let (cluster, incarnation) = (options.identity.cluster, options.incarnation);
    let id = segments::LogId { cluster, incarnation };
    let opened = tokio::task::spawn_blocking(move || {
        let io_error = |source| LogOpenError::Io { path: dir.clone(), source };
        let lock = lock(&dir, LOCK_PATIENCE).map_err(io_error)?;
        migrate::migrate(&dir, id, &entropy)?;
        let files = Directory::open(&migrate::segments_path(&dir)).map_err(io_error)?;
        let open = mark::open(Arc::new(files), id, entropy, persisted)?;
        Ok::<_, LogOpenError>((open, Arc::new(lock)))
    });
    Ok(opened.await.map_err(|error| StartError::Other(error.to_string()))??)
}

/// Starts the thread for preparing segments. It ends when the log is dropped.
fn prepare_segments(depot: Arc<Depot>, written: Arc<Written>) -> io::Result<()> {
    let alive = Arc::downgrade(&written);
    drop(written);
    std::thread::Builder::new().name("raft-segments".to_owned()).spawn(move || {
        let mut is_failing = false;
        while alive.upgrade().is_some() {
            match depot.turn() {
                Ok(()) => is_failing = false,
                // Not fatal while a prepared segment is left. Logged once per series of failures.
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(event = "raft.segment_not_prepared", %error);
                }
                Err(_) => {}
            }
            depot.wait(PREPARE_EVERY);
        }
    })?;
    Ok(())
}

/// Waits until everything that openraft queued during its start is applied, and the machine has
/// been told so.
async fn replayed(work: &mpsc::Sender<Work>, progress: &Progress) -> io::Result<()> {
    let (done, wait) = oneshot::channel();
    work.send(Work::Replayed(done)).await.map_err(|_| progress.fault())?;
    wait.await.map_err(|_| progress.fault())
}

fn config(options: &Options) -> Result<Config, openraft::ConfigError> {
    let election_ms = u64::try_from(options.election_timeout.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: "conclave".to_owned(),
        // openraft first waits for the lease of the old leader, which lasts for the maximum, and
        // then for a random time between minimum and maximum. An election thus begins 1.5 to 1.7
        // election timeouts after the last heartbeat. The minimum is also the time a peer has to
        // make its vote durable.
        election_timeout_min: election_ms.saturating_mul(2) / 3,
        election_timeout_max: election_ms.saturating_mul(5) / 6,
        heartbeat_interval: (election_ms / 6).max(10),
        max_payload_entries: APPEND_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
        // `retain` purges entries instead.
        max_in_snapshot_log_to_keep: u64::MAX,
        install_snapshot_timeout: 600_000,
        enable_pre_vote: Some(true),
        // A leader sends entries before its own copy is durable. If it were killed then and
        // restored as leader of the same term, it could put other entries at the same indexes.
        enable_leader_restore: Some(is_leader_restored()),
        ..Config::default()
    }
    .validate()
}

/// Returns whether a restarted leader resumes its term. Never, except as a planted bug.
fn is_leader_restored() -> bool {
    #[cfg(conclave_sim)]
    if crate::mutant::is(crate::mutant::Mutant::LeaderRestore) {
        return true;
    }
    false
}
