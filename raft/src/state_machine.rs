//! Adapter between openraft's state machine and the `Machine` of this crate.

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

/// openraft's state machine. Passes entries and snapshots on to a [`Machine`].
///
/// openraft hands over each advance of the commit index separately, often a single entry. A
/// dedicated thread takes everything queued and applies it in one batch. openraft therefore counts
/// an entry as applied once it is queued; a reader that needs its effect waits for [`Progress`].
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
    /// Wraps a machine. Also returns the applying step and its queue, which the caller drives.
    /// Removes the files of earlier snapshots, because the state itself is on disk.
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

    /// Returns the progress of the machine.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Returns the stager for received snapshots.
    pub(crate) fn stager(&self) -> Arc<dyn Stager> {
        Arc::clone(&self.stager)
    }

    /// Returns the queue of the applying step.
    pub(crate) fn work(&self) -> mpsc::Sender<Work> {
        self.applier.clone()
    }

    async fn send(&self, work: Work) -> io::Result<()> {
        self.applier.send(work).await.map_err(|_| self.progress.fault())
    }

    /// Waits until everything queued so far is applied.
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

/// Makes `snapshot` the current one, unless a newer one was set meanwhile.
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
        // Drain the queue first: a snapshot must contain everything that openraft counts as
        // applied. After a fault there is no view to write, and the next entry ends the node.
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
            // Staged on receipt, so that installing is quick: everything else in openraft waits
            // meanwhile.
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

/// Builder of a snapshot from a view, while the machine continues.
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
