//! Tests of the log with power cuts, kills, a full disk and damage at every step.
#![allow(clippy::unwrap_used)]

pub(crate) mod disk;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use openraft::{EntryPayload, entry::RaftEntry};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::disk::TestDisk;
use super::*;
use crate::{
    engine::LogDamage,
    mark::{self, LogOpenError, OpenLog},
    types::{LogEntry, Payload},
};

const ID: LogId = LogId { cluster: [7; 16], incarnation: 3 };

/// Returns other bytes at each call, because a salt must never repeat.
fn entropy() -> Entropy {
    let random = Mutex::new(StdRng::seed_from_u64(5));
    Arc::new(move |bytes| random.lock().unwrap().fill(bytes))
}

fn entropy_of(seed: u64) -> Entropy {
    let random = Mutex::new(StdRng::seed_from_u64(seed));
    Arc::new(move |bytes| random.lock().unwrap().fill(bytes))
}

fn open_at(disk: &TestDisk, persisted: u64, seed: u64) -> Result<OpenLog, LogOpenError> {
    mark::open(Arc::new(disk.clone()), ID, entropy_of(seed), persisted)
}

fn at(term: u64, index: u64) -> Position {
    Position { term, node: 1, index }
}

fn entry(position: Position, bytes: usize) -> Record {
    let payload = vec![u8::try_from(position.index % 251).unwrap(); bytes];
    let payload = EntryPayload::Normal(Payload(payload));
    Record::Entry(EntryV1::from(&LogEntry { log_id: position.log_id(), payload }))
}

fn blank(position: Position) -> Record {
    Record::Entry(EntryV1::from(&LogEntry::new_blank(position.log_id())))
}

fn positions(log: &OpenLog) -> Vec<Position> {
    let mut found: Vec<EntryV1> = Vec::new();
    loop {
        let next = found.last().map_or(0, |last| last.position.index + 1);
        let more = log.engine.reader().read(next, u64::MAX, 1 << 20).unwrap();
        if more.is_empty() {
            return found.into_iter().map(|entry| entry.position).collect();
        }
        found.extend(more);
    }
}

/// Model of the expected content of a log.
#[derive(Clone, Default)]
struct Model {
    entries: Vec<Position>,
    purged: Option<Position>,
    committed: Option<Position>,
}

impl Model {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Entry(entry) => self.entries.push(entry.position),
            Record::Note(NoteV1::TruncateAfter(after)) => {
                let keep = after.map_or(0, |after| after.index + 1);
                self.entries.retain(|position| position.index < keep);
            }
            Record::Note(NoteV1::Purged(upto)) => {
                self.entries.retain(|position| position.index > upto.index);
                self.purged = Some(*upto);
            }
            Record::Note(NoteV1::Committed(committed)) => self.committed = Some(*committed),
            Record::Note(NoteV1::Base { .. }) => unreachable!("written by the log itself"),
        }
    }

    fn is(&self, log: &OpenLog) -> bool {
        let point = log.engine.point();
        positions(log) == self.entries
            && point.purged == self.purged
            && point.committed == self.committed
    }

    fn next(&self) -> u64 {
        let last = self.entries.last().or(self.purged.as_ref());
        last.map_or(1, |last| last.index + 1)
    }
}

/// Returns a random group: appends of 1 B to 64 KiB, and sometimes a truncation or a purge.
fn random_group(random: &mut StdRng, model: &Model) -> Vec<Record> {
    let mut after = model.clone();
    let mut records = Vec::new();
    let mut put = |after: &mut Model, record: Record| {
        after.apply(&record);
        records.push(record);
    };
    if random.random_bool(0.1) && after.entries.len() > 2 {
        let kept = after.entries[random.random_range(1..after.entries.len())];
        put(&mut after, Record::Note(NoteV1::TruncateAfter(Some(kept))));
    }
    let term =
        after.entries.last().map_or(1, |last| last.term) + u64::from(random.random_bool(0.1));
    for _ in 0..random.random_range(0..6) {
        let bytes = [1, 300, 5_000, 65_536][random.random_range(0..4)];
        let position = at(term, after.next());
        put(&mut after, entry(position, bytes));
    }
    if random.random_bool(0.3) && !after.entries.is_empty() {
        let committed = after.entries[random.random_range(0..after.entries.len())];
        if after.committed < Some(committed) {
            put(&mut after, Record::Note(NoteV1::Committed(committed)));
        }
    }
    if random.random_bool(0.15) && after.entries.len() > 3 {
        let upto = after.entries[random.random_range(0..after.entries.len() - 1)];
        put(&mut after, Record::Note(NoteV1::Purged(upto)));
    }
    records
}

#[test]
fn what_was_acknowledged_survives_power_cuts_and_kills_at_any_operation() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = TestDisk::new();
        let mut models = vec![Model::default()];
        for life in 0..6 {
            let opened = open_at(&disk, u64::MAX, seed * 100 + life);
            let mut log = match opened {
                Ok(log) => log,
                Err(error) => panic!("seed {seed}, life {life}: {error}"),
            };
            let found = models.iter().position(|model| model.is(&log));
            let Some(found) = found else { panic!("seed {seed}, life {life}: another log") };
            models = vec![models[found].clone()];
            disk.fail_after(disk.operations() + random.random_range(1..120));
            write_until_it_fails(&mut random, &mut log, &mut models);
            drop(log);
            let is_cut = random.random_bool(0.6);
            disk = if is_cut { disk.power_cut(random.random()) } else { disk.killed() };
        }
    }
}

/// Writes groups until a write fails. The first model is then the acknowledged content, the second,
/// if any, the content with the group in progress.
fn write_until_it_fails(random: &mut StdRng, log: &mut OpenLog, models: &mut Vec<Model>) {
    for _ in 0..200 {
        let records = random_group(random, &models[0]);
        let mut after = models[0].clone();
        records.iter().for_each(|record| after.apply(record));
        let written = log.engine.write(&records);
        if written.is_err() {
            models.push(after);
            return;
        }
        models[0] = after;
        if random.random_bool(0.2) && log.depot.turn().is_err() {
            return;
        }
        if random.random_bool(0.1) {
            log.mark.witness = Some(log.engine.point().group);
            if mark::write(&mut log.marker, &log.mark).is_err() {
                return;
            }
        }
    }
}

/// Writes ten groups of one entry each. The marker records group `marked`.
fn ten_groups(marked: u64) -> TestDisk {
    let disk = TestDisk::new();
    let mut log = open_at(&disk, 0, 1).unwrap();
    for index in 1..=10 {
        log.engine.write(&[entry(at(1, index), 5_000)]).unwrap();
        if log.engine.point().group.sequence == marked {
            log.mark.witness = Some(log.engine.point().group);
            mark::write_vote(&mut log.marker, &log.mark).unwrap();
        }
    }
    disk
}

#[test]
fn damage_before_the_end_is_refused_by_the_name_of_the_file() {
    let first = Depot::name(1);
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = ten_groups(10);
        let used = 4096 * 21;
        let bit = random.random_range(0..used * 8);
        disk.damage(&first, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        match open_at(&disk, 0, 2) {
            Err(error) => assert!(error.to_string().contains(&first), "{error}"),
            // Padding and the rest of the header block have no meaning.
            Ok(log) => assert_eq!(positions(&log).len(), 10, "bit {bit}"),
        }
    }
}

#[test]
fn a_torn_last_group_is_dropped_unless_the_marker_knows_it() {
    let first = Depot::name(1);
    let last = 4096 * (1 + 2 * 9);
    for cut in (0..8192).step_by(512) {
        let tear = |disk: &TestDisk| disk.damage(&first, |bytes| bytes[last + cut..].fill(0));
        let disk = ten_groups(9);
        tear(&disk);
        let log = open_at(&disk, 0, 2).unwrap();
        let found = positions(&log).len();
        assert!(found == 9 || found == 10 && cut > 5_000, "cut at {cut}");
        let disk = ten_groups(10);
        tear(&disk);
        match open_at(&disk, 0, 2) {
            Err(LogOpenError::Damaged { damage, .. }) => {
                assert_eq!(damage, LogDamage::GroupsLost { found: 9, expected: 10 });
            }
            Err(other) => panic!("{other}"),
            Ok(log) => assert_eq!(positions(&log).len(), 10, "only padding was cut at {cut}"),
        }
    }
}

#[test]
fn what_an_earlier_use_of_a_segment_left_is_never_taken_for_the_log() {
    let disk = TestDisk::new();
    let mut log = open_at(&disk, 0, 1).unwrap();
    let mut index = 0;
    for _ in 0..400 {
        index += 1;
        log.engine.write(&[entry(at(1, index), 60_000)]).unwrap();
        if index % 20 == 0 {
            log.engine.write(&[Record::Note(NoteV1::Purged(at(1, index - 5)))]).unwrap();
            log.depot.turn().unwrap();
        }
    }
    let names = disk.names().unwrap();
    assert!(names.len() < 12, "files are used again: {names:?}");
    drop(log);
    for seed in 0..20 {
        let log = open_at(&disk.power_cut(seed), u64::MAX, seed).unwrap();
        assert_eq!(log.engine.point().last, Some(at(1, index)));
    }
}

#[test]
fn files_that_are_missing_or_of_another_log_are_refused() {
    let disk = ten_groups(5);
    let missing = disk.killed();
    missing.remove(mark::MARKER).unwrap();
    let refused = open_at(&missing, 0, 2);
    assert!(matches!(refused, Err(LogOpenError::Damaged { damage: LogDamage::MarkerMissing, .. })));
    let missing = disk.killed();
    missing.remove(&Depot::name(1)).unwrap();
    let refused = open_at(&missing, 0, 2);
    assert!(matches!(refused, Err(LogOpenError::Damaged { damage: LogDamage::LogMissing, .. })));
    let refused = open_at(&TestDisk::new(), 7, 2);
    let missing =
        matches!(refused, Err(LogOpenError::Damaged { damage: LogDamage::LogMissing, .. }));
    assert!(missing, "the state has seen entries, and the log is gone with its marker");
    let other = LogId { incarnation: 4, ..ID };
    let refused = mark::open(Arc::new(disk), other, entropy(), 0);
    assert!(matches!(refused, Err(LogOpenError::Damaged { damage: LogDamage::OtherCluster, .. })));
}

#[test]
fn an_older_copy_of_the_segments_beside_a_newer_marker_is_refused() {
    let (old, new) = (ten_groups(4), ten_groups(10));
    let name = Depot::name(1);
    let cut = 4096 * (1 + 2 * 6);
    old.damage(&name, |bytes| bytes[cut..].fill(0));
    let marker = new.bytes(mark::MARKER);
    old.damage(mark::MARKER, |bytes| *bytes = marker);
    let refused = open_at(&old, 0, 2);
    let lost = LogDamage::GroupsLost { found: 6, expected: 10 };
    assert!(matches!(refused, Err(LogOpenError::Damaged { damage, .. }) if damage == lost));
}

#[test]
fn a_log_that_begins_behind_the_state_is_refused() {
    let disk = ten_groups(3);
    let mut log = open_at(&disk, 10, 2).unwrap();
    log.engine.write(&[Record::Note(NoteV1::Purged(at(1, 8)))]).unwrap();
    drop(log);
    assert!(open_at(&disk, 8, 3).is_ok());
    let refused = open_at(&disk, 7, 3);
    let lost = LogDamage::StateLost { purged: 8, found: 7 };
    assert!(matches!(refused, Err(LogOpenError::Damaged { damage, .. }) if damage == lost));
}

#[test]
fn a_full_disk_uses_the_reserve_then_waits_and_goes_on_with_new_room() {
    let disk = TestDisk::new();
    let mut log = open_at(&disk, 0, 1).unwrap();
    log.depot.turn().unwrap();
    assert!(log.engine.has_room());
    disk.set_free(0);
    let mut index = 0;
    let full = loop {
        index += 1;
        match log.engine.write(&[entry(at(1, index), 60_000)]) {
            Ok(()) => log.depot.turn().unwrap(),
            Err(error) => break error,
        }
        assert!(index < 1_000, "there is an end to the reserve");
    };
    assert!(matches!(full, LogFault::NoRoom), "{full}");
    assert!(!log.engine.has_room());
    assert!(index > 200, "the prepared segment and the reserve: {index}");
    assert_eq!(positions(&log).len(), usize::try_from(index).unwrap() - 1);
    disk.set_free(u64::MAX / 2);
    log.engine.write(&[entry(at(1, index), 60_000)]).unwrap();
    log.depot.turn().unwrap();
    assert!(log.engine.has_room());
    drop(log);
    let log = open_at(&disk.power_cut(1), 0, 2).unwrap();
    assert_eq!(positions(&log).len(), usize::try_from(index).unwrap());
}

#[test]
fn a_full_disk_at_the_first_start_is_left_as_it_was() {
    let disk = TestDisk::new();
    disk.set_free(1_000_000);
    let refused = open_at(&disk, 0, 1);
    assert!(matches!(refused, Err(LogOpenError::DiskFull { .. })));
    assert_eq!(disk.names().unwrap(), Vec::<String>::new());
    disk.set_free(u64::MAX / 2);
    assert!(open_at(&disk, 0, 1).is_ok());
}

#[test]
fn segments_that_could_not_be_taken_back_are_taken_back_later() {
    let disk = TestDisk::new();
    let mut log = open_at(&disk, 0, 1).unwrap();
    for index in 1..=300 {
        log.engine.write(&[entry(at(1, index), 60_000)]).unwrap();
        log.depot.turn().unwrap();
    }
    let segments = |disk: &TestDisk| disk.names().unwrap();
    let before = segments(&disk);
    log.engine.write(&[Record::Note(NoteV1::Purged(at(1, 290)))]).unwrap();
    disk.fail_after(disk.operations() + 1);
    assert!(log.depot.turn().is_err());
    disk.fail_after(u64::MAX);
    let left: Vec<String> =
        segments(&disk).into_iter().filter(|name| name.ends_with(".seg")).collect();
    let first = before.iter().find(|name| name.ends_with(".seg")).unwrap();
    assert!(!left.contains(first), "the oldest goes first, so that no gap is left: {left:?}");
    log.depot.turn().unwrap();
    log.depot.turn().unwrap();
    assert!(segments(&disk).len() <= before.len(), "{:?}", segments(&disk));
    for index in 301..=600 {
        log.engine.write(&[entry(at(1, index), 60_000)]).unwrap();
        log.depot.turn().unwrap();
    }
    drop(log);
    let log = open_at(&disk.power_cut(1), 600, 2).unwrap();
    assert_eq!(positions(&log).last(), Some(&at(1, 600)));
}

#[test]
fn after_a_failed_write_nothing_is_written() {
    let disk = ten_groups(3);
    let mut log = open_at(&disk, 0, 2).unwrap();
    disk.fail_after(disk.operations());
    let failed = log.engine.write(&[blank(at(1, 11))]);
    assert!(matches!(failed, Err(LogFault::Disk { .. })));
    disk.fail_after(u64::MAX);
    assert!(matches!(log.engine.write(&[blank(at(1, 11))]), Err(LogFault::Stopped)));
}

#[test]
fn no_bytes_at_all_make_opening_panic() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = ten_groups(10);
        for name in [Depot::name(1), mark::MARKER.to_owned()] {
            disk.damage(&name, |bytes| {
                for _ in 0..random.random_range(0..40) {
                    let place = random.random_range(0..bytes.len().min(90_000));
                    bytes[place] = random.random();
                }
                if random.random_bool(0.2) {
                    bytes.truncate(random.random_range(0..bytes.len()));
                }
            });
        }
        let opened = catch_unwind(AssertUnwindSafe(|| open_at(&disk, 0, 2).is_ok()));
        assert!(opened.is_ok(), "seed {seed}");
    }
}
