//! openraft's state machine around ours.

mod apply;

use std::{
    io,
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

pub(crate) use apply::{Applier, Progress, Work, start};

use crate::{
    limits::QUEUE_ENTRIES_MAX,
    machine::{Machine, Stager, View},
    rt::blocking,
    snapshot::{self, Snapshot},
    types::{LogId, Position, StoredMembership, Types},
    wire::{self, CheckpointV1},
};

type SharedMachine = Arc<Mutex<Box<dyn Machine>>>;

/// openraft's state machine around ours.
///
/// openraft hands over every advance of the commit index by itself, often a single entry. An
/// own thread takes all that waits and applies it in one go. So openraft counts an entry as
/// applied when it is queued; a reader that needs its effect asks [`Progress`].
pub(crate) struct StateMachine {
    machine: SharedMachine,
    stager: Arc<dyn Stager>,
    applier: mpsc::Sender<Work>,
    progress: Arc<Progress>,
    last: Option<LogId>,
    membership: StoredMembership,
    snapshots: PathBuf,
    current: SharedCurrent,
}

/// The newest snapshot, built or installed.
type SharedCurrent = Arc<Mutex<Option<(SnapshotMetaOf<Types>, Snapshot)>>>;

impl StateMachine {
    /// Takes a machine over, with the step that applies entries, which the caller drives. Files
    /// of earlier snapshots are dropped: the state itself is on disk.
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        snapshots: PathBuf,
    ) -> io::Result<(StateMachine, Applier, mpsc::Receiver<Work>)> {
        snapshot::clear(&snapshots)?;
        let stored = match &machine.checkpoint() {
            Some(bytes) => wire::decode::<CheckpointV1>(bytes)?,
            None => CheckpointV1::default(),
        };
        let membership = stored.stored_membership()?;
        let stager = machine.stager();
        let machine: SharedMachine = Arc::new(Mutex::new(machine));
        let progress = Arc::new(Progress::new(stored.applied.map_or(0, |at| at.index)));
        let applier = Applier::new(Arc::clone(&machine), Arc::clone(&progress), membership.clone());
        let (sender, receiver) = mpsc::channel(QUEUE_ENTRIES_MAX);
        let machine = StateMachine {
            machine,
            stager,
            applier: sender,
            progress,
            last: stored.applied.map(Position::log_id),
            membership,
            snapshots,
            current: SharedCurrent::default(),
        };
        Ok((machine, applier, receiver))
    }

    /// How far the machine has come.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Where what is received goes before it is installed.
    pub(crate) fn stager(&self) -> Arc<dyn Stager> {
        Arc::clone(&self.stager)
    }

    /// The queue of the applying step.
    pub(crate) fn work(&self) -> mpsc::Sender<Work> {
        self.applier.clone()
    }

    async fn send(&self, work: Work) -> io::Result<()> {
        self.applier.send(work).await.map_err(|_| self.progress.fault())
    }

    /// Waits until all that was queued is applied.
    async fn drain(&self) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Work::Drain(done)).await?;
        wait.await.map_err(|_| self.progress.fault())
    }
}

fn lock(machine: &SharedMachine) -> MutexGuard<'_, Box<dyn Machine>> {
    // After a panic inside the machine its thread is gone, and the next call fails.
    machine.lock().unwrap_or_else(PoisonError::into_inner)
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
        // A snapshot shows what openraft counts as applied. A fault ends the node at its next
        // entry; until then there is no view to write.
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
        let index = meta.last_log_id.as_ref().map_or(0, LogId::index);
        self.drain().await?;
        let (machine, stager) = (Arc::clone(&self.machine), Arc::clone(&self.stager));
        let (file, staged_meta) = (snapshot.clone(), meta.clone());
        blocking(move || {
            // Staged while it was received, so that installing is quick: everything else that
            // openraft does waits meanwhile.
            let staged = match file.take_staged() {
                Some(staged) => staged,
                None => file.stage(&staged_meta, stager.as_ref())?,
            };
            lock(&machine).install(staged).map_err(io::Error::other)
        })
        .await?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.send(Work::Installed(self.membership.clone())).await?;
        self.progress.set(index);
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
