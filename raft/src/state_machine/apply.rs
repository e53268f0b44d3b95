//! The applying thread and its step: applies committed entries, in order and in batches.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use openraft::{EntryPayload, storage::ApplyResponder};
use tokio::sync::{mpsc, oneshot, watch};

use super::{SharedMachine, lock};
use crate::{
    limits::APPLY_ENTRIES_MAX,
    machine::Entry,
    types::{LogEntry, Position, Response, StoredMembership, Types},
    wire::{self, CheckpointV1},
};

/// A request to the applying thread.
pub(crate) enum Work {
    /// Apply an entry, and answer its proposer if this node proposed it.
    Apply(LogEntry, Option<ApplyResponder<Types>>),
    /// Signal once everything queued before is applied.
    Drain(oneshot::Sender<()>),
    /// A snapshot replaced the state; these are the current members.
    Installed(StoredMembership),
    /// Everything known to be committed at the start has been queued. Apply it, tell the machine,
    /// then signal.
    Replayed(oneshot::Sender<()>),
}

/// Progress of the machine, and the fault that stopped it, if any.
pub(crate) struct Progress {
    index: watch::Sender<u64>,
    fault: Mutex<Option<String>>,
}

impl Progress {
    pub(super) fn new(index: u64) -> Progress {
        Progress { index: watch::Sender::new(index), fault: Mutex::default() }
    }

    /// Returns the index of the last entry whose effect is visible.
    pub(crate) fn index(&self) -> u64 {
        *self.index.borrow()
    }

    /// Waits until `index` is applied. Never returns if a fault comes first.
    pub(crate) async fn reached(&self, index: u64) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.index.subscribe().wait_for(|applied| *applied >= index).await;
    }

    /// Returns the fault of the stopped machine.
    pub(crate) fn fault(&self) -> io::Error {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        io::Error::other(fault.unwrap_or_else(|| "the machine has stopped".to_owned()))
    }

    /// Waits for a fault of the machine and returns it.
    pub(crate) async fn failed(&self) -> String {
        let mut changes = self.index.subscribe();
        loop {
            let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(fault) = fault {
                return fault;
            }
            let _ = changes.changed().await;
        }
    }

    pub(super) fn set(&self, index: u64) {
        self.index.send_replace(index);
    }

    fn fail(&self, fault: &io::Error) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.to_string());
        self.index.send_modify(|_| ());
    }
}

/// Starts the thread. It ends when the last sender is dropped, or on a fault.
pub(crate) fn start(mut applier: Applier, mut receiver: mpsc::Receiver<Work>) -> io::Result<()> {
    std::thread::Builder::new().name("raft-apply".to_owned()).spawn(move || {
        let mut works = Vec::new();
        while receiver.blocking_recv_many(&mut works, APPLY_ENTRIES_MAX) > 0 {
            if !applier.turn(works.drain(..)) {
                return;
            }
        }
    })?;
    Ok(())
}

/// The applying step. Independent of threads, so that the simulation can drive it from a task.
pub(crate) struct Applier {
    machine: SharedMachine,
    progress: Arc<Progress>,
    membership: StoredMembership,
}

/// Entries of one batch for the machine.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    responders: Vec<Option<ApplyResponder<Types>>>,
}

impl Applier {
    pub(super) fn new(
        machine: SharedMachine,
        progress: Arc<Progress>,
        membership: StoredMembership,
    ) -> Applier {
        Applier { machine, progress, membership }
    }

    /// Processes all of `works`. Returns false if the machine has failed; nothing more is then
    /// processed.
    pub(crate) fn turn(&mut self, works: impl Iterator<Item = Work>) -> bool {
        match self.work(works) {
            Ok(()) => true,
            Err(fault) => {
                tracing::error!(event = "raft.machine_failed", error = %fault, "the state failed");
                self.progress.fail(&fault);
                false
            }
        }
    }

    fn work(&mut self, works: impl Iterator<Item = Work>) -> io::Result<()> {
        let mut group = Group::default();
        for work in works {
            match work {
                Work::Apply(entry, responder) => {
                    group.entries.push(self.entry(entry));
                    group.responders.push(responder);
                }
                Work::Drain(done) => {
                    self.apply(std::mem::take(&mut group))?;
                    // The caller may have given up waiting.
                    let _ = done.send(());
                }
                Work::Installed(membership) => self.membership = membership,
                Work::Replayed(done) => {
                    self.apply(std::mem::take(&mut group))?;
                    lock(&self.machine).replayed();
                    let _ = done.send(());
                }
            }
        }
        self.apply(group)
    }

    fn entry(&mut self, entry: LogEntry) -> Entry {
        let position = Position::of(&entry.log_id);
        let payload = match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(payload) => Some(payload.0),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                None
            }
        };
        Entry { position, payload }
    }

    fn apply(&mut self, group: Group) -> io::Result<()> {
        let Some(last) = group.entries.last().map(|entry| entry.position) else { return Ok(()) };
        let checkpoint = wire::encode(&CheckpointV1::new(Some(last), &self.membership))?;
        let answers = {
            let mut machine = lock(&self.machine);
            machine.apply(&group.entries, &checkpoint).map_err(io::Error::other)?
        };
        self.progress.set(last.index);
        let mut answers = answers.into_iter();
        for (entry, responder) in group.entries.iter().zip(group.responders) {
            let answer = if entry.payload.is_some() { answers.next() } else { None };
            if let Some(responder) = responder {
                responder.send(Response(answer.unwrap_or_default()));
            }
        }
        Ok(())
    }
}
