//! Starts a node on the simulation's disk, network and time.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use conclave_disk::Files;
use openraft::async_runtime::AsyncRuntime;
use tokio::sync::mpsc;

use super::{Drive, Ground, Options, Raft, StartError, Steps, Work};
use crate::{
    limits::{APPLY_ENTRIES_MAX, COMMITTED_DELAY, MARKER_LAG, NO_ROOM_PAUSE, PREPARE_EVERY},
    machine::Machine,
    mark,
    network::{Accept, Calls, Transport},
    rt::{Handle, Rt, Threads, now},
    segments::{Depot, LogId},
    state_machine::Applier,
    types::Position,
    writer::{Queue, Turn, Write, WriteError, Writer, Written},
};

/// Resources provided by the simulation.
pub struct Simulated {
    /// The directory of the log.
    pub files: Arc<dyn Files>,
    /// Returns the duration of the next step of a disk.
    pub latency: Latency,
    /// The network.
    pub transport: Arc<dyn Transport>,
}

type Latency = Arc<dyn Fn() -> Duration + Send + Sync>;

impl Raft {
    /// Returns the positions of all entries of the log, in order.
    pub fn positions(&self) -> io::Result<Vec<Position>> {
        let entries = self.log.read(0, u64::MAX)?;
        Ok(entries.iter().map(|entry| Position::of(&entry.log_id)).collect())
    }

    /// Starts a node in the simulation. It answers the connections that the caller passes to the
    /// [`Accept`].
    pub async fn start_simulated(
        options: Options,
        simulated: Simulated,
        machine: Box<dyn Machine>,
        calls: Arc<dyn Calls>,
    ) -> Result<(Raft, Accept), StartError> {
        let Simulated { files, latency, transport } = simulated;
        let id = LogId { cluster: options.identity.cluster, incarnation: options.incarnation };
        let persisted = machine.persisted().load(Ordering::Acquire);
        Rt::sleep(latency()).await;
        let open = mark::open(files, id, Arc::clone(&options.entropy), persisted)?;
        let drive: Drive = Box::new(move |steps| Ok(drive_by_tasks(steps, latency)));
        let (above, threads) = (Handle, Threads);
        let ground = Ground { open, lock: None, transport, above, threads, drive };
        Raft::start_on(options, ground, machine, calls).await
    }
}

/// Runs each step in a task of its own. A step itself takes no time. The time of its device sync
/// passes before it, while more work arrives.
fn drive_by_tasks(steps: Steps, latency: Latency) -> Queue {
    let Steps { writer, depot, written, applier, work } = steps;
    Rt::spawn(apply(applier, work));
    Rt::spawn(prepare(depot, Arc::downgrade(&written), Arc::clone(&latency)));
    drop(written);
    let (sender, receiver) = mpsc::unbounded_channel();
    Rt::spawn(async move {
        if let Err(error) = write(writer, receiver, latency).await {
            tracing::error!(event = "raft.disk_failed", %error, "the log failed");
        }
    });
    Arc::new(move |write| sender.send(write).map_err(|_| io::Error::other("the log has stopped")))
}

async fn write(
    mut writer: Writer,
    mut receiver: mpsc::UnboundedReceiver<Write>,
    latency: Latency,
) -> Result<(), WriteError> {
    let mut waiting = VecDeque::new();
    let mut marked = now();
    loop {
        if waiting.is_empty() {
            let patience = if writer.has_notes() { COMMITTED_DELAY } else { MARKER_LAG };
            match Rt::timeout(patience, receiver.recv()).await {
                Ok(Some(write)) => waiting.push_back(write),
                Ok(None) => return writer.mark(),
                Err(_) => {}
            }
        }
        Rt::sleep(latency()).await;
        while let Ok(write) = receiver.try_recv() {
            waiting.push_back(write);
        }
        match writer.turn(&mut waiting)? {
            Turn::Done => {}
            Turn::NoRoom => Rt::sleep(NO_ROOM_PAUSE).await,
            Turn::Stopped => return Ok(()),
        }
        if now() - marked >= MARKER_LAG {
            writer.mark()?;
            marked = now();
        }
    }
}

async fn apply(mut applier: Applier, mut work: mpsc::Receiver<Work>) {
    let mut works = Vec::new();
    while work.recv_many(&mut works, APPLY_ENTRIES_MAX).await > 0 {
        if !applier.turn(works.drain(..)) {
            return;
        }
    }
}

async fn prepare(depot: Arc<Depot>, alive: Weak<Written>, latency: Latency) {
    while alive.strong_count() > 0 {
        Rt::sleep(latency()).await;
        // Not fatal while a prepared segment is left.
        let _ = depot.turn();
        Rt::sleep(PREPARE_EVERY).await;
    }
}
