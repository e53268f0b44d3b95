//! Crashes between any two steps of what the durable thread does. A crash is a copy of the files
//! as they are at that moment: what sled or the marker still holds in memory is lost.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use openraft::entry::RaftEntry;
use tempfile::TempDir;

use super::*;
use crate::{
    machine::Checkpoint,
    mark::{LogDamage, LogOpenError},
    types::StoredMembership,
    wire::CheckpointV1,
};

struct Crashing {
    dir: TempDir,
    writer: Writer,
    copies: u32,
}

fn at(term: u64, index: u64) -> Position {
    Position { term, node: 1, index }
}

fn applied_to(position: Position) -> Checkpoint {
    let checkpoint = CheckpointV1::new(Some(position), &StoredMembership::default());
    let bytes = Some(wire::encode(&checkpoint).unwrap());
    Checkpoint { bytes, row_count: 0, digest: [0; 32] }
}

fn open(dir: &Path, checkpoint: &Checkpoint) -> Result<OpenLog, LogOpenError> {
    mark::open(dir, [7; 16], 1, checkpoint)
}

impl Crashing {
    /// A log with entries 1 to 10 of term 1, all durable, in log and marker.
    fn new() -> Crashing {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir.path().join("log"), &Checkpoint::default()).unwrap();
        let writer = Writer::new(log, SharedApplied::default(), Arc::default());
        let mut crashing = Crashing { dir, writer, copies: 0 };
        crashing.append(1, 1..=10);
        crashing.writer.disk.sync().unwrap();
        crashing.writer.write_mark().unwrap();
        crashing
    }

    fn append(&mut self, term: u64, indexes: impl Iterator<Item = u64>) {
        let mut group = Group::default();
        for index in indexes {
            let entry = LogEntry::new_blank(at(term, index).log_id());
            let write = Write::Append(vec![entry], IOFlushed::noop());
            assert!(!self.writer.take(write, &mut group).unwrap());
        }
        self.writer.entries.apply(group.batch).unwrap();
    }

    /// The files as they are now, opened by a node whose state is at `checkpoint`.
    fn crash(&mut self, checkpoint: &Checkpoint) -> Result<Vec<Position>, LogOpenError> {
        self.copies += 1;
        let copy = self.dir.path().join(format!("copy{}", self.copies));
        copy_files(&self.dir.path().join("log"), &copy);
        let log = open(&copy, checkpoint)?;
        let entries = log
            .entries
            .range(..)
            .map(|record| wire::decode::<EntryV1>(&record.unwrap().1).unwrap().position);
        let entries: Vec<Position> = entries.collect();
        assert_eq!(log.last, entries.last().copied().or(log.mark.purged));
        Ok(entries)
    }
}

fn copy_files(from: &PathBuf, to: &PathBuf) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_files(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

fn positions(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Position> {
    indexes.map(|index| at(term, index)).collect()
}

#[test]
fn a_crash_in_a_truncation_leaves_the_log_before_or_after_it() {
    let (whole, short) = (positions(1, 1..=10), positions(1, 1..=6));
    let none = Checkpoint::default();
    let mut log = Crashing::new();
    assert_eq!(log.crash(&none).unwrap(), whole);
    log.writer.mark_truncated(Some(at(1, 6))).unwrap();
    assert_eq!(log.crash(&none).unwrap(), whole, "the marker is lowered, the entries are there");
    log.writer.remove(entry_key(7).to_vec()..).unwrap();
    let found = log.crash(&none).unwrap();
    assert!(found == whole || found == short, "removed, not synced: {found:?}");
    log.writer.disk.sync().unwrap();
    assert_eq!(log.crash(&none).unwrap(), short);
    log.append(2, 7..=8);
    let found = log.crash(&none).unwrap();
    let longer: Vec<Position> = short.iter().copied().chain(positions(2, 7..=8)).collect();
    assert!(found == short || found == longer, "appended, not synced: {found:?}");
    log.writer.disk.sync().unwrap();
    assert_eq!(log.crash(&none).unwrap(), longer, "the log may be ahead of its marker");
    log.writer.write_mark().unwrap();
    assert_eq!(log.crash(&none).unwrap(), longer);
}

#[test]
fn a_truncation_whose_marker_is_not_lowered_first_would_be_refused() {
    let mut log = Crashing::new();
    log.writer.remove(entry_key(7).to_vec()..).unwrap();
    log.writer.disk.sync().unwrap();
    let refused = log.crash(&Checkpoint::default());
    let lost = LogDamage::EntryLost { expected: at(1, 10), found: None };
    assert!(matches!(refused, Err(LogOpenError::Damaged { damage, .. }) if damage == lost));
}

#[test]
fn a_crash_in_a_purge_leaves_a_log_that_starts_after_it() {
    let (whole, rest) = (positions(1, 1..=10), positions(1, 5..=10));
    let state = applied_to(at(1, 4));
    let mut log = Crashing::new();
    assert_eq!(log.crash(&state).unwrap(), whole);
    log.writer.mark_purged(at(1, 4)).unwrap();
    assert_eq!(log.crash(&state).unwrap(), rest, "opening finishes what the marker announced");
    log.writer.remove(..=entry_key(4).to_vec()).unwrap();
    assert_eq!(log.crash(&state).unwrap(), rest);
    log.writer.disk.sync().unwrap();
    assert_eq!(log.crash(&state).unwrap(), rest);
    let behind = log.crash(&applied_to(at(1, 3)));
    assert!(
        matches!(behind, Err(LogOpenError::Damaged { damage: LogDamage::StateLost { .. }, .. })),
        "a state that lacks purged entries cannot be completed"
    );
}

#[test]
fn a_purge_beyond_the_log_leaves_an_empty_log_that_goes_on_there() {
    let state = applied_to(at(3, 50));
    let mut log = Crashing::new();
    log.writer.mark_purged(at(3, 50)).unwrap();
    assert_eq!(log.crash(&state).unwrap(), []);
    log.writer.remove(..=entry_key(50).to_vec()).unwrap();
    log.writer.disk.sync().unwrap();
    log.append(3, 51..=52);
    log.writer.disk.sync().unwrap();
    assert_eq!(log.crash(&state).unwrap(), positions(3, 51..=52));
}

#[test]
fn a_vote_is_durable_when_it_is_answered() {
    let mut log = Crashing::new();
    let vote = VoteV1 { term: 9, node: 2, committed: false };
    let (done, mut answered) = oneshot::channel();
    log.writer.take(Write::Vote(vote, done), &mut Group::default()).unwrap();
    answered.try_recv().unwrap().unwrap();
    log.crash(&Checkpoint::default()).unwrap();
    let copy = log.dir.path().join(format!("copy{}", log.copies));
    assert_eq!(open(&copy, &Checkpoint::default()).unwrap().mark.vote, Some(vote));
}

#[test]
fn a_log_of_a_later_version_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), &Checkpoint::default()).unwrap());
    let (mut marker, payload) = Marker::open(&dir.path().join("marker")).unwrap();
    let mut later = payload.unwrap();
    later[2] += 1;
    marker.write(&later).unwrap();
    let refused = open(dir.path(), &Checkpoint::default());
    assert!(matches!(refused, Err(LogOpenError::LaterVersion { .. })));
}
