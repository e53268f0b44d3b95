//! The contract of a State's disk, and what a crash between two steps leaves.

use conclave_store::{
    command::{Action, Command, CreateDomain},
    id::{DomainId, DomainName, LogIndex, OperationId},
    machine::{self, Applied},
    record::{PkiMode, Principal},
    time::UnixMillis,
};

use super::*;

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
    };
    machine::apply(state, LogIndex(number), &command)
}

fn open(dir: &Path) -> Result<Loaded, OpenError> {
    StateDisk::open(dir, DiskOptions { cache_bytes: 8 * 1024 * 1024 })
}

fn with_domains(count: u64) -> State {
    (1..=count).fold(State::default(), |state, number| add_domain(&state, number).state)
}

#[test]
fn what_was_committed_is_loaded_with_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut loaded = open(dir.path()).unwrap();
    assert!(loaded.checkpoint.is_none());
    for number in 1..=20 {
        let applied = add_domain(&loaded.state, number);
        loaded.disk.commit(&applied.changes, &[7], &applied.state).unwrap();
        loaded.state = applied.state;
    }
    let digest = loaded.state.digest();
    drop(loaded);
    let again = open(dir.path()).unwrap();
    assert_eq!(again.state.digest(), digest);
    assert_eq!(again.state.domains().count(), 20);
    assert_eq!(again.checkpoint, Some(vec![7]));
}

#[test]
fn a_crash_between_the_steps_of_a_replacement_leaves_old_or_new() {
    let (old, new) = (with_domains(3), with_domains(2_500));
    for steps in 0..=3 {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = open(dir.path()).unwrap().disk;
        disk.replace(&old, b"old").unwrap();
        if steps >= 1 {
            let number = disk.write_tree(&new, b"new").unwrap();
            if steps >= 2 {
                disk.point_at(number).unwrap();
            }
            if steps >= 3 {
                disk.drop_other_trees().unwrap();
            }
        }
        drop(disk);
        let loaded = open(dir.path()).unwrap();
        let (state, checkpoint) = if steps >= 2 { (&new, "new") } else { (&old, "old") };
        assert_eq!(loaded.state.digest(), state.digest(), "after {steps} steps");
        assert_eq!(loaded.checkpoint.as_deref(), Some(checkpoint.as_bytes()));
        assert_eq!(loaded.disk.disk.tree_names().len(), 2, "the other tree is gone");
    }
}

#[test]
fn rows_that_do_not_match_the_checkpoint_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = open(dir.path()).unwrap().disk;
    disk.replace(&with_domains(5), b"x").unwrap();
    let (key, _) = disk.rows.first().unwrap().unwrap();
    let mut batch = Batch::default();
    batch.remove(&key);
    disk.rows.apply(batch).unwrap();
    disk.disk.sync().unwrap();
    drop(disk);
    assert!(matches!(open(dir.path()), Err(OpenError::Digest { .. } | OpenError::Layout(_))));
}
