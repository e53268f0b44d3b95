//! Tests of a State's home: its contract, and the result of a crash between two steps.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use conclave_disk::{Disk, DiskOptions};

use conclave_store::{
    command::{Action, Command, CreateDomain},
    id::{DomainId, DomainName, LogIndex, OperationId},
    machine::{self, Applied},
    record::{LEVEL_MAX, PkiMode, Principal, Record, RowKey},
    state::{State, StoredRow},
    time::UnixMillis,
    wire,
};

use super::*;
use crate::migrate::{OldCheckpoint, unfinished, write_new};

fn add_domain(state: &State, number: u64) -> Applied {
    let command = Command {
        operation: OperationId::parse(&format!("op{number}")).unwrap(),
        principal: Principal::Socket { uid: 0 },
        request: [0; 32],
        time: UnixMillis(number),
        reason: None,
        expects: Vec::new(),
        action: Action::CreateDomain(CreateDomain {
            id: DomainId([1; 16]),
            name: DomainName::parse(&format!("d{number}.example")).unwrap(),
            aliases: Vec::new(),
            addresses: Vec::new(),
            mode: PkiMode::Test,
        }),
        origin: None,
    };
    machine::apply(state, LogIndex(number), &command)
}

fn open(dir: &Path) -> Loaded {
    Home::open(dir, DiskOptions::default()).unwrap()
}

fn with_domains(count: u64) -> State {
    (1..=count).fold(State::default(), |state, number| add_domain(&state, number).state)
}

#[test]
fn what_a_turn_wrote_is_loaded_and_what_only_waited_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let Loaded { home, mut state, checkpoint, .. } = open(dir.path());
    assert!(checkpoint.is_none());
    assert_eq!(home.turn().unwrap(), Turn::Idle);
    let mut written = State::default();
    for number in 1..=23 {
        let applied = add_domain(&state, number);
        assert!(home.put(&applied.changes, &[7], number, &applied.state));
        state = applied.state;
        if number % 10 == 0 {
            assert_eq!(home.turn().unwrap(), Turn::Written);
            assert_eq!(home.persisted().load(std::sync::atomic::Ordering::Relaxed), number);
            written = state.clone();
        }
    }
    drop(home);
    let again = open(dir.path());
    assert_eq!((again.state.digest(), again.index), (written.digest(), 20));
    assert_eq!(again.state.domains().count(), 20);
    assert_eq!(again.checkpoint, Some(vec![7]));
}

#[test]
fn a_turn_writes_all_that_waits_however_much_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let Loaded { home, mut state, .. } = open(dir.path());
    // More rows than one batch takes, and rows that several batches change.
    for number in 1..=9_000 {
        let applied = add_domain(&state, number);
        assert!(home.put(&applied.changes, &[7], number, &applied.state));
        state = applied.state;
    }
    assert_eq!(home.turn().unwrap(), Turn::Written);
    assert_eq!(home.persisted().load(std::sync::atomic::Ordering::Relaxed), 9_000);
    assert_eq!(home.turn().unwrap(), Turn::Idle);
    drop(home);
    let again = open(dir.path());
    assert_eq!((again.state.digest(), again.index), (state.digest(), 9_000));
}

#[test]
fn a_staged_state_is_the_truth_when_it_is_installed_and_not_before() {
    let (old, new) = (with_domains(3), with_domains(2_500));
    let dir = tempfile::tempdir().unwrap();
    let home = open(dir.path()).home;
    home.install(home.stage(old.clone(), b"old", 3).unwrap()).unwrap();
    let stage = home.stage(new.clone(), b"new", 2_500).unwrap();
    let applied = add_domain(&old, 4);
    home.put(&applied.changes, b"between", 4, &applied.state);
    home.turn().unwrap();
    let crashed = tempfile::tempdir().unwrap();
    for name in ["conf", "db"] {
        std::fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let left = open(crashed.path());
    assert_eq!(left.state.digest(), applied.state.digest(), "turns go on meanwhile");
    drop(stage);
    drop(home.stage(new.clone(), b"dropped", 2_499).unwrap());
    let waiting = add_domain(&applied.state, 5);
    home.put(&waiting.changes, b"overtaken", 5, &waiting.state);
    let stage = home.stage(new.clone(), b"new", 2_500).unwrap();
    let (installed, checkpoint) = home.install(stage).unwrap();
    assert_eq!((installed.digest(), checkpoint), (new.digest(), b"new".to_vec()));
    drop(home);
    let Loaded { home, state, checkpoint, index } = open(dir.path());
    assert_eq!((state.digest(), index), (new.digest(), 2_500));
    assert_eq!(checkpoint.as_deref(), Some(&b"new"[..]));
    drop(home);
    let disk = Disk::open(dir.path(), DiskOptions::default()).unwrap();
    assert_eq!(disk.tree_names().len(), 2, "the other trees are gone");
}

#[test]
fn a_state_of_a_later_level_is_refused_and_left_as_it_is() {
    let of = |level: u32| {
        let key = wire::encode_key(&RowKey::Level).unwrap();
        let row = wire::encode_row(LogIndex(1), &Record::Level(level)).unwrap();
        State::load(vec![StoredRow::read(&key, &row).unwrap()])
    };
    let dir = tempfile::tempdir().unwrap();
    for level in [LEVEL_MAX, LEVEL_MAX + 1, LEVEL_MAX + 1] {
        let opened = Home::open(dir.path(), DiskOptions::default());
        let home = match opened {
            Ok(loaded) => loaded.home,
            Err(refused) => {
                assert!(matches!(refused, OpenError::Level { level: found } if found == level));
                assert!(refused.is_of_later_version());
                continue;
            }
        };
        home.install(home.stage(of(level), b"x", 1).unwrap()).unwrap();
    }
    assert!(Home::open(dir.path(), DiskOptions::default()).is_err());
}

#[test]
fn rows_that_do_not_match_the_checkpoint_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = open(dir.path()).home;
    home.install(home.stage(with_domains(5), b"x", 5).unwrap()).unwrap();
    drop(home);
    let disk = Disk::open(dir.path(), DiskOptions::default()).unwrap();
    let rows = disk.tree("rows-1").unwrap();
    let (key, _) = rows.records().next().unwrap().unwrap();
    let mut batch = conclave_disk::Batch::default();
    batch.remove(&key);
    rows.apply(batch).unwrap();
    disk.sync().unwrap();
    drop((rows, disk));
    let refused = Home::open(dir.path(), DiskOptions::default());
    assert!(matches!(refused, Err(OpenError::Digest { .. } | OpenError::Layout(_))));
}

/// Creates a database as version 0.1.0 left it.
fn old_database(dir: &Path, state: &State) {
    let disk = Disk::open(dir, DiskOptions::default()).unwrap();
    let rows = disk.old_tree("rows-3").unwrap();
    let mut records = vec![(b"checkpoint".to_vec(), OldCheckpoint::encode_of(state, &[0, 9]))];
    for (key, row) in state.rows() {
        let key = wire::encode_key(key).unwrap();
        records.push((key, wire::encode_row(row.changed_at, &row.record).unwrap()));
    }
    rows.put(&records).unwrap();
    let pointer = (b"rows".to_vec(), 3_u64.to_be_bytes().to_vec());
    disk.old_tree("pointer").unwrap().put(&[pointer]).unwrap();
    disk.sync().unwrap();
}

fn index_of(bytes: &[u8]) -> Option<u64> {
    Some(bytes.iter().map(|byte| u64::from(*byte)).sum())
}

#[test]
fn a_state_of_0_1_0_is_rewritten_once_whatever_step_a_crash_comes_after() {
    let state = with_domains(300);
    for crash in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("state"), dir.path().join("state.v2"));
        old_database(&old, &state);
        let options = DiskOptions::default();
        if crash == 1 {
            std::fs::create_dir(unfinished(&new)).unwrap();
            std::fs::write(unfinished(&new).join("db"), b"half of it").unwrap();
        }
        if crash >= 2 {
            write_new(&old, &unfinished(&new), &options, index_of).unwrap();
        }
        if crash >= 3 {
            std::fs::rename(unfinished(&new), &new).unwrap();
        }
        migrate(&old, &new, &options, index_of).unwrap();
        migrate(&old, &new, &options, index_of).unwrap();
        assert!(!old.exists() && !unfinished(&new).exists(), "crash {crash}");
        let loaded = open(&new);
        assert_eq!((loaded.state.digest(), loaded.index), (state.digest(), 9));
        assert_eq!(loaded.checkpoint, Some(vec![0, 9]));
    }
}

#[test]
fn an_old_state_that_is_damaged_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("state"), dir.path().join("state.v2"));
    old_database(&old, &with_domains(20));
    let disk = Disk::open(&old, DiskOptions::default()).unwrap();
    let more = (b"checkpoint".to_vec(), OldCheckpoint::encode_of(&with_domains(21), &[0, 9]));
    disk.old_tree("rows-3").unwrap().put(&[more]).unwrap();
    disk.sync().unwrap();
    drop(disk);
    let refused = migrate(&old, &new, &DiskOptions::default(), index_of);
    assert!(matches!(refused, Err(OpenError::Digest { .. })));
    assert!(old.exists() && !new.exists());
}
