//! Recovery after the loss of a quorum: makes a stopped node the only voter, offline.
//!
//! `raft/DESIGN.md` argues why every step may be interrupted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use conclave_disk::{Directory, Files, lock};
use openraft::{BasicNode, EntryPayload};

use crate::{
    engine::{LogFault, Record},
    limits::{LOCK_PATIENCE, READ_BYTES_MAX},
    machine::{Entry, MachineFault},
    mark::{self, LogOpenError, OpenLog, ReadLog},
    segments::{self, Entropy, SEGMENTS},
    types::{LogEntry, Membership, NodeId, Position, StoredMembership},
    wire::{self, CheckpointV1, EntryV1, NoteV1, VoteV1, WireError},
};

#[cfg(test)]
mod tests;

/// Options of [`Survivor::open`].
pub struct RecoverOptions {
    /// Id of the cluster.
    pub cluster: [u8; 16],
    /// Random number of the data directory.
    pub incarnation: u64,
    /// This node.
    pub node: NodeId,
    /// Source of randomness: fills a buffer with random bytes.
    pub entropy: Entropy,
}

/// Error of a recovery.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// Another process uses the log.
    #[error("another process uses {dir}")]
    InUse {
        /// Directory of the log.
        dir: PathBuf,
    },
    /// There is no log, or only one of version 0.1.0.
    #[error("{dir} has no log that this version can read")]
    NoLog {
        /// Directory of the log.
        dir: PathBuf,
    },
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The checkpoint of the state, or a record of the log, cannot be read.
    #[error("a record of the log or of the state cannot be read: {0}")]
    Record(String),
    /// The state cannot be brought up to the log, or cannot be stored.
    #[error(transparent)]
    State(#[from] MachineFault),
}

impl From<WireError> for RecoverError {
    fn from(error: WireError) -> RecoverError {
        RecoverError::Record(error.to_string())
    }
}

/// What a survivor knows about the order of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its last entry. Of several survivors, the one with the highest position may have every
    /// committed entry that any of them has: Raft compares terms first, then indexes.
    pub last: Position,
    /// Index up to which entries are known to be committed. Later entries may be committed too,
    /// since a node learns of it with a delay.
    pub committed: u64,
    /// Highest term that it has seen.
    pub term: u64,
    /// Voters, by the newest membership in the log.
    pub voters: BTreeSet<NodeId>,
    /// Learners, by the newest membership in the log.
    pub learners: BTreeSet<NodeId>,
    /// Position that the recovery takes: a new term, and an index behind every entry.
    pub position: Position,
    /// Whether an earlier recovery was interrupted after it had replaced the state. This one only
    /// finishes it.
    pub is_begun: bool,
}

/// The lock of the log of a stopped node. No other process can use the log while it exists.
pub struct LogLock {
    dir: PathBuf,
    _file: File,
}

impl LogLock {
    /// Locks the log in `dir`. Fails if its node runs, or if there is no log.
    pub fn take(dir: &Path) -> Result<LogLock, RecoverError> {
        let dir = dir.to_owned();
        if !dir.join(SEGMENTS).is_dir() {
            return Err(RecoverError::NoLog { dir });
        }
        match lock(&dir, LOCK_PATIENCE) {
            Ok(file) => Ok(LogLock { dir, _file: file }),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                Err(RecoverError::InUse { dir })
            }
            Err(source) => Err(LogOpenError::Io { path: dir, source }.into()),
        }
    }
}

/// A stopped node whose cluster has lost its quorum. Nothing is changed before
/// [`Survivor::recover`].
pub struct Survivor {
    files: Arc<dyn Files>,
    options: RecoverOptions,
    log: ReadLog,
    /// Last entry in the state on disk.
    applied: Option<Position>,
    report: Report,
    _lock: Option<LogLock>,
}

impl Survivor {
    /// Reads the log. `checkpoint` is that of the state on disk.
    pub fn open(
        lock: LogLock,
        options: RecoverOptions,
        checkpoint: Option<&[u8]>,
    ) -> Result<Survivor, RecoverError> {
        let segments = lock.dir.join(SEGMENTS);
        let files = Directory::open(&segments)
            .map_err(|source| LogOpenError::Io { path: segments, source })?;
        let survivor = Survivor::read(Arc::new(files), options, checkpoint)?;
        Ok(Survivor { _lock: Some(lock), ..survivor })
    }

    fn read(
        files: Arc<dyn Files>,
        options: RecoverOptions,
        checkpoint: Option<&[u8]>,
    ) -> Result<Survivor, RecoverError> {
        let checkpoint = match checkpoint {
            Some(bytes) => wire::decode::<CheckpointV1>(bytes)?,
            None => CheckpointV1::default(),
        };
        let applied = checkpoint.applied;
        let log = mark::read(&files, id(&options), index_of(applied))?;
        let stored = checkpoint.stored_membership()?;
        let mut newest = stored.membership().clone();
        for_entries(&log, applied, &mut |entry| {
            if let EntryPayload::Membership(membership) = entry.payload {
                newest = membership;
            }
            Ok(())
        })?;
        let report = report(&options, &log, applied, &newest);
        Ok(Survivor { files, options, log, applied, report, _lock: None })
    }

    /// Returns what this node knows.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Hands over the entries that the state on disk lacks, in order. They include entries that
    /// were never known to be committed: one of them may have been acknowledged.
    pub fn replay(
        &self,
        each: &mut dyn FnMut(&Entry) -> Result<(), MachineFault>,
    ) -> Result<(), RecoverError> {
        for_entries(&self.log, self.applied, &mut |entry| {
            let position = Position::of(&entry.log_id);
            let payload = match entry.payload {
                EntryPayload::Normal(payload) => Some(payload.0),
                EntryPayload::Blank | EntryPayload::Membership(_) => None,
            };
            Ok(each(&Entry { position, payload })?)
        })
    }

    /// Makes this node, with this address, the only voter. `install` must make the state durable as
    /// of the given checkpoint and index: with all entries of [`Survivor::replay`], and without the
    /// other members. It is not called if an earlier recovery already did so. After a failure at
    /// any step the recovery may be repeated, or the node be started as it is.
    pub fn recover(
        self,
        address: &str,
        install: impl FnOnce(&[u8], u64) -> Result<(), MachineFault>,
    ) -> Result<Report, RecoverError> {
        let Survivor { files, options, applied, report, .. } = &self;
        let mut open = mark::open(
            Arc::clone(files),
            id(options),
            Arc::clone(&options.entropy),
            index_of(*applied),
        )?;
        let position = report.position;
        raise_vote(&mut open, options.node, position.term)?;
        if !report.is_begun {
            let checkpoint = checkpoint(options.node, address, position)?;
            install(&checkpoint, position.index)?;
        }
        // From here on the log is as after a snapshot at this position: what was before it has
        // become part of the state, and other nodes get it as a snapshot.
        let notes = [NoteV1::Purged(position), NoteV1::Committed(position)].map(Record::Note);
        let failed = |fault: LogFault| LogOpenError::Io {
            path: files.path(),
            source: io::Error::other(fault),
        };
        open.engine.write(&notes).map_err(failed)?;
        open.mark.witness = Some(open.engine.point().group);
        mark::write_vote(&mut open.marker, &open.mark).map_err(LogOpenError::from)?;
        Ok(self.report)
    }
}

fn id(options: &RecoverOptions) -> segments::LogId {
    segments::LogId { cluster: options.cluster, incarnation: options.incarnation }
}

fn index_of(position: Option<Position>) -> u64 {
    position.map_or(0, |position| position.index)
}

fn report(
    options: &RecoverOptions,
    log: &ReadLog,
    applied: Option<Position>,
    membership: &Membership,
) -> Report {
    let last = log.point.last.max(applied).unwrap_or_default();
    let voters: BTreeSet<NodeId> = membership.voter_ids().map(NodeId).collect();
    let learners = membership.learner_ids().map(NodeId).collect();
    let term = log.mark.vote.map_or(0, |vote| vote.term).max(last.term);
    let is_alone = voters.len() == 1 && voters.contains(&options.node);
    // Only a recovery or a snapshot leaves the state ahead of the log.
    let is_ahead = index_of(applied) > index_of(log.point.last);
    let is_begun = is_alone && is_ahead && last.node == options.node.0;
    let position = match is_begun {
        true => last,
        // Behind every entry of the log, also those that a newer snapshot has made void.
        false => {
            let index = last.index.max(index_of(log.point.last)) + 1;
            Position { term: term + 1, node: options.node.0, index }
        }
    };
    let known = index_of(log.point.committed).max(index_of(log.point.purged));
    let committed = known.max(index_of(applied)).min(last.index);
    Report { last, committed, term, voters, learners, position, is_begun }
}

/// Calls `each` with the entries behind `after`, in order. A snapshot that is newer than the log
/// makes its entries void.
fn for_entries(
    log: &ReadLog,
    after: Option<Position>,
    each: &mut dyn FnMut(LogEntry) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    if log.point.last <= after {
        return Ok(());
    }
    let mut next = after.map_or(0, |after| after.index + 1);
    loop {
        let found = log.entries.read(next, u64::MAX, READ_BYTES_MAX);
        let found = found.map_err(|error| RecoverError::Record(error.to_string()))?;
        let Some(last) = found.last() else { return Ok(()) };
        next = last.position.index + 1;
        for entry in found {
            each(EntryV1::into_entry(entry)?)?;
        }
    }
}

/// Makes the new term durable before anything of it is. A restart in between only has a higher
/// term.
fn raise_vote(open: &mut OpenLog, node: NodeId, term: u64) -> Result<(), LogOpenError> {
    if open.mark.vote.is_some_and(|vote| vote.term >= term) {
        return Ok(());
    }
    open.mark.vote = Some(VoteV1 { term, node: node.0, committed: false });
    open.mark.witness = Some(open.engine.point().group);
    Ok(mark::write_vote(&mut open.marker, &open.mark)?)
}

/// Encodes the checkpoint of a state whose only member is `node`.
fn checkpoint(node: NodeId, address: &str, at: Position) -> Result<Vec<u8>, RecoverError> {
    let voters = vec![BTreeSet::from([node.0])];
    let nodes = BTreeMap::from([(node.0, BasicNode::new(address))]);
    let membership =
        Membership::new(voters, nodes).map_err(|error| RecoverError::Record(error.to_string()))?;
    let stored = StoredMembership::new(Some(at.log_id()), membership);
    Ok(wire::encode(&CheckpointV1::new(Some(at), &stored))?)
}
