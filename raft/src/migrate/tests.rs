//! Tests of the migration of a log of version 0.1.0, with a crash at each step.
#![allow(clippy::unwrap_used)]

use openraft::EntryPayload;

use super::*;
use crate::{
    types::{LogEntry, Payload},
    wire::VoteV1,
};

const ID: LogId = LogId { cluster: [7; 16], incarnation: 1 };

fn at(index: u64) -> Position {
    Position { term: 2, node: 1, index }
}

/// Creates a log as version 0.1.0 left it: entries 5 to 40, committed up to 38.
fn old_log(dir: &Path) -> MarkV1 {
    let disk = Disk::open(&dir.join(OLD_LOG), DiskOptions::default()).unwrap();
    let mut records = Vec::new();
    for index in 5_u64..=40 {
        let payload = EntryPayload::Normal(Payload(vec![3; 70_000]));
        let entry = LogEntry { log_id: at(index).log_id(), payload };
        let bytes = wire::encode(&EntryV1::from(&entry)).unwrap();
        records.push((index.to_be_bytes().to_vec(), bytes));
    }
    disk.old_tree("entries").unwrap().put(&records).unwrap();
    // Entries of this size make sled write files that this version refuses.
    assert!(disk.sync().is_err());
    let mark = MarkV1 {
        cluster: ID.cluster,
        incarnation: ID.incarnation,
        vote: Some(VoteV1 { term: 2, node: 1, committed: true }),
        last: Some(at(39)),
        purged: Some(at(4)),
        committed: Some(at(38)),
        applied: None,
        row_count: 0,
        digest: [0; 32],
    };
    write_mark(dir, &mark);
    mark
}

fn write_mark(dir: &Path, mark: &MarkV1) {
    let (mut marker, _) = Marker::open(&Directory::open(dir).unwrap(), MARKER).unwrap();
    marker.write(&wire::encode(mark).unwrap()).unwrap();
}

fn entropy() -> Entropy {
    Arc::new(|bytes| bytes.fill(4))
}

fn check_new(dir: &Path) {
    let files = Arc::new(Directory::open(&dir.join(SEGMENTS)).unwrap());
    let log = mark::open(files, ID, entropy(), u64::MAX).unwrap();
    let point = log.engine.point();
    assert_eq!((point.purged, point.last), (Some(at(4)), Some(at(40))));
    assert_eq!(point.committed, Some(at(38)));
    assert_eq!(log.mark.vote, Some(VoteV1 { term: 2, node: 1, committed: true }));
    assert_eq!(log.engine.reader().read(5, 41, u64::MAX).unwrap().len(), 36);
    assert!(!dir.join(OLD_LOG).exists() && !dir.join(MARKER).exists());
}

#[test]
fn a_log_of_0_1_0_is_rewritten_once() {
    let dir = tempfile::tempdir().unwrap();
    old_log(dir.path());
    migrate(dir.path(), ID, &entropy()).unwrap();
    check_new(dir.path());
    migrate(dir.path(), ID, &entropy()).unwrap();
    check_new(dir.path());
}

#[test]
fn a_crash_at_any_step_leaves_the_old_log_or_the_new_one() {
    // Crash while the new log is written: the unfinished one is started anew.
    let dir = tempfile::tempdir().unwrap();
    old_log(dir.path());
    let unfinished = dir.path().join(UNFINISHED);
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("000000000001.seg"), b"half of it").unwrap();
    migrate(dir.path(), ID, &entropy()).unwrap();
    check_new(dir.path());
    // Crash after the rename: the old log still exists, completely or in part.
    for is_partly_removed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        old_log(dir.path());
        write_new(dir.path(), ID, &entropy()).unwrap();
        if is_partly_removed {
            std::fs::remove_dir_all(dir.path().join(OLD_LOG)).unwrap();
        }
        migrate(dir.path(), ID, &entropy()).unwrap();
        check_new(dir.path());
    }
}

#[test]
fn an_old_log_that_lost_something_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mark = old_log(dir.path());
    write_mark(dir.path(), &MarkV1 { last: Some(at(41)), ..mark });
    let refused = migrate(dir.path(), ID, &entropy());
    let lost = LogDamage::EntryLost { expected: at(41), found: None };
    assert!(matches!(refused, Err(LogOpenError::Damaged { damage, .. }) if damage == lost));
    assert!(dir.path().join(OLD_LOG).exists() && !dir.path().join(SEGMENTS).exists());
}
