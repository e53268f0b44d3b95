//! What the log is for: a machine that applies entries in order.

mod apply;

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    alias::{SnapshotMetaOf, SnapshotOf},
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::{mpsc, oneshot};

pub(crate) use apply::Progress;
use apply::Work;

use crate::{
    durable::{AppliedMark, SharedApplied},
    rt::blocking,
    snapshot::{self, Snapshot},
    types::{LogId, Position, StoredMembership, Types},
    wire::{self, CheckpointV1},
};

/// What of a machine's state is durable.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// Bytes last given to [`Machine::apply`] or [`Machine::install`]; none for a new machine.
    pub bytes: Option<Vec<u8>>,
    /// Rows of the state.
    pub row_count: u64,
    /// Digest over the rows.
    pub digest: [u8; 32],
}

/// A committed entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// What was proposed; none for entries that only Raft needs.
    pub payload: Option<Vec<u8>>,
}

/// The machine cannot go on: the node stops.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineFault(pub String);

/// Applies committed entries in order. Calls come from blocking threads, one at a time.
pub trait Machine: Send + 'static {
    /// What is durable now.
    fn checkpoint(&self) -> Checkpoint;

    /// Applies entries in order; durable, with `checkpoint`, when it returns. One answer for
    /// each entry that has a payload.
    fn apply(&mut self, entries: &[Entry], checkpoint: &[u8])
    -> Result<Vec<Vec<u8>>, MachineFault>;

    /// The state as it is now, for a snapshot that is written while entries are applied.
    fn view(&self) -> Box<dyn View>;

    /// Replaces the state by what a [`View`] wrote; durable, with `checkpoint`, when it returns.
    fn install(&mut self, state: &mut dyn Read, checkpoint: &[u8]) -> Result<(), MachineFault>;
}

/// A state that does not change any more.
pub trait View: Send + Sync {
    /// Writes the state.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

type SharedMachine = Arc<Mutex<Box<dyn Machine>>>;

/// openraft's state machine around ours.
///
/// openraft hands over every advance of the commit index by itself, often a single entry. An
/// own thread takes all that waits and applies it in one go, with one device sync. So openraft
/// counts an entry as applied when it is queued; whoever needs its effect asks [`Progress`].
pub(crate) struct StateMachine {
    machine: SharedMachine,
    applier: mpsc::Sender<Work>,
    applied: SharedApplied,
    progress: Arc<Progress>,
    last: Option<LogId>,
    membership: StoredMembership,
    snapshots: PathBuf,
    current: SharedCurrent,
}

/// The newest snapshot, built or installed.
type SharedCurrent = Arc<Mutex<Option<(SnapshotMetaOf<Types>, Snapshot)>>>;

impl StateMachine {
    /// Takes a machine over; snapshots of before are dropped, the state is on disk anyway.
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        applied: SharedApplied,
        snapshots: PathBuf,
    ) -> io::Result<StateMachine> {
        snapshot::clear(&snapshots)?;
        let checkpoint = machine.checkpoint();
        let stored = match &checkpoint.bytes {
            Some(bytes) => wire::decode::<CheckpointV1>(bytes)?,
            None => CheckpointV1::default(),
        };
        set_applied(&applied, &checkpoint, stored.applied);
        let membership = stored.stored_membership()?;
        let machine: SharedMachine = Arc::new(Mutex::new(machine));
        let progress = Arc::new(Progress::new(stored.applied.map_or(0, |at| at.index)));
        let applier = apply::start(
            Arc::clone(&machine),
            Arc::clone(&applied),
            Arc::clone(&progress),
            membership.clone(),
        )?;
        Ok(StateMachine {
            machine,
            applier,
            applied,
            progress,
            last: stored.applied.map(Position::log_id),
            membership,
            snapshots,
            current: SharedCurrent::default(),
        })
    }

    /// How far the machine has come.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    async fn send(&self, work: Work) -> io::Result<()> {
        self.applier.send(work).await.map_err(|_| self.progress.fault())
    }

    /// Waits until all that was queued is applied and durable.
    async fn drain(&self) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Work::Drain(done)).await?;
        wait.await.map_err(|_| self.progress.fault())
    }
}

fn lock(machine: &SharedMachine) -> MutexGuard<'_, Box<dyn Machine>> {
    // A panic inside the machine aborts the program in release; in tests the next call fails.
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_applied(applied: &SharedApplied, checkpoint: &Checkpoint, position: Option<Position>) {
    let mark = AppliedMark {
        applied: position,
        row_count: checkpoint.row_count,
        digest: checkpoint.digest,
    };
    *applied.lock().unwrap_or_else(PoisonError::into_inner) = mark;
}

/// Keeps `snapshot` unless a newer one came in between.
fn set_current(current: &SharedCurrent, meta: &SnapshotMetaOf<Types>, snapshot: Snapshot) {
    let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
    if current.as_ref().is_none_or(|(known, _)| known.last_log_id <= meta.last_log_id) {
        *current = Some((meta.clone(), snapshot));
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Snapshot;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            self.last = Some(entry.log_id());
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.membership = StoredMembership::new(self.last, membership.clone());
            }
            self.send(Work::Apply(entry, responder)).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        // Entries are purged behind a snapshot, so what it covers is durable before it is built.
        // A fault ends the node at its next entry; until then there is no view to write.
        let view = self.drain().await.ok().map(|()| lock(&self.machine).view());
        SnapshotBuilder {
            view,
            meta: SnapshotMetaOf::<Types> {
                last_log_id: self.last,
                last_membership: self.membership.clone(),
            },
            snapshots: self.snapshots.clone(),
            current: Arc::clone(&self.current),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: Snapshot,
    ) -> Result<(), io::Error> {
        let position = meta.last_log_id.as_ref().map(Position::of);
        let checkpoint = wire::encode(&CheckpointV1::new(position, &meta.last_membership))?;
        self.drain().await?;
        let (machine, applied) = (Arc::clone(&self.machine), Arc::clone(&self.applied));
        let file = snapshot.clone();
        blocking(move || {
            let file = file.file()?;
            let mut reader = file.reader()?;
            let mut machine = lock(&machine);
            machine.install(&mut reader, &checkpoint).map_err(io::Error::other)?;
            set_applied(&applied, &machine.checkpoint(), position);
            Ok(())
        })
        .await?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.send(Work::Installed(self.membership.clone())).await?;
        self.progress.set(position.map_or(0, |at| at.index));
        set_current(&self.current, meta, snapshot);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, Snapshot>>, io::Error> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(current.map(|(meta, snapshot)| SnapshotOf::<Types, Snapshot> { meta, snapshot }))
    }
}

/// Takes a snapshot from a view, while the machine goes on.
pub(crate) struct SnapshotBuilder {
    view: Option<Box<dyn View>>,
    meta: SnapshotMetaOf<Types>,
    snapshots: PathBuf,
    current: SharedCurrent,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Snapshot;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, Snapshot>, io::Error> {
        let view =
            self.view.take().ok_or_else(|| io::Error::other("there is no state to write"))?;
        let (meta, snapshot) = (self.meta.clone(), Snapshot::of_view(view, self.snapshots.clone()));
        set_current(&self.current, &meta, snapshot.clone());
        Ok(SnapshotOf::<Types, Snapshot> { meta, snapshot })
    }
}
