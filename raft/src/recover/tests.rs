//! Recoveries of logs with and without a snapshot, cut at every step.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;

use super::*;
use crate::{segments::tests::disk::TestDisk, types::Payload};

const CLUSTER: [u8; 16] = [7; 16];
const ME: u64 = 1;

/// Disks of a node: its log, and its state with the payloads that are in it.
#[derive(Clone)]
struct Disks {
    log: TestDisk,
    checkpoint: Option<Vec<u8>>,
    state: Vec<Vec<u8>>,
}

fn options() -> RecoverOptions {
    let entropy: Entropy = Arc::new(|bytes| bytes.fill(9));
    RecoverOptions { cluster: CLUSTER, incarnation: 1, node: NodeId(ME), entropy }
}

fn at(term: u64, node: u64, index: u64) -> Position {
    Position { term, node, index }
}

fn members(ids: &[u64]) -> Membership {
    let nodes = ids.iter().map(|id| (*id, BasicNode::new(format!("n{id}:7444"))));
    Membership::new(vec![ids.iter().copied().collect()], nodes.collect::<BTreeMap<_, _>>()).unwrap()
}

fn stored(at: Position, ids: &[u64]) -> Vec<u8> {
    let stored = StoredMembership::new(Some(at.log_id()), members(ids));
    wire::encode(&CheckpointV1::new(Some(at), &stored)).unwrap()
}

fn payload(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn normal(at: Position) -> Record {
    let payload = EntryPayload::Normal(Payload(payload(at.index)));
    Record::Entry(EntryV1::from(&LogEntry { log_id: at.log_id(), payload }))
}

fn membership(at: Position, ids: &[u64]) -> Record {
    let payload = EntryPayload::Membership(members(ids));
    Record::Entry(EntryV1::from(&LogEntry { log_id: at.log_id(), payload }))
}

impl Disks {
    fn with(records: &[&[Record]]) -> Disks {
        let log = TestDisk::new();
        let id = id(&options());
        let mut open = mark::open(Arc::new(log.clone()), id, options().entropy, u64::MAX).unwrap();
        for group in records {
            open.engine.write(group).unwrap();
        }
        open.mark.vote = Some(VoteV1 { term: 5, node: 2, committed: false });
        open.mark.witness = Some(open.engine.point().group);
        mark::write_vote(&mut open.marker, &open.mark).unwrap();
        Disks { log, checkpoint: None, state: Vec::new() }
    }

    /// Ten entries of a voter among three, of which six are known to be committed.
    fn without_snapshot() -> Disks {
        let entries: Vec<Record> = (2..=10).map(|index| normal(at(3, 2, index))).collect();
        let committed = [Record::Note(NoteV1::Committed(at(3, 2, 6)))];
        Disks::with(&[&[membership(at(3, 2, 1), &[1, 2, 3])], &entries, &committed])
    }

    /// A log that was purged up to 5, with a state that reaches to 7.
    fn with_snapshot() -> Disks {
        let entries: Vec<Record> = (6..=10).map(|index| normal(at(3, 2, index))).collect();
        let purged = [Record::Note(NoteV1::Purged(at(3, 2, 5)))];
        let mut disks = Disks::with(&[&purged, &entries]);
        disks.state = (2..=7).map(payload).collect();
        disks.checkpoint = Some(stored(at(3, 2, 7), &[1, 2, 3]));
        disks
    }

    /// A snapshot up to 9 was installed, but the log still holds void entries up to 10.
    fn with_void_entries() -> Disks {
        let entries: Vec<Record> = (2..=10).map(|index| normal(at(3, 2, index))).collect();
        let mut disks = Disks::with(&[&[membership(at(3, 2, 1), &[1, 2, 3])], &entries]);
        disks.state = (2..=9).map(payload).collect();
        disks.checkpoint = Some(stored(at(4, 3, 9), &[1, 2, 3]));
        disks
    }

    fn survivor(&self) -> Survivor {
        let files = Arc::new(self.log.clone());
        Survivor::read(files, options(), self.checkpoint.as_deref()).unwrap()
    }

    fn replayed(&self) -> Vec<Vec<u8>> {
        let mut state = self.state.clone();
        let mut push = |entry: &Entry| {
            state.extend(entry.payload.clone());
            Ok(())
        };
        self.survivor().replay(&mut push).unwrap();
        state
    }

    /// Recovers. The state is replaced in one step, as a home replaces its own.
    fn recover(&mut self) -> Result<Report, RecoverError> {
        let (survivor, replayed) = (self.survivor(), self.replayed());
        let installed = RefCell::new(None);
        let result = survivor.recover("n1:7444", |checkpoint, _| {
            *installed.borrow_mut() = Some(checkpoint.to_vec());
            Ok(())
        });
        if let Some(checkpoint) = installed.into_inner() {
            (self.checkpoint, self.state) = (Some(checkpoint), replayed);
        }
        result
    }

    fn open(&self) -> OpenLog {
        let applied = self.checkpoint.as_deref().map(wire::decode::<CheckpointV1>);
        let applied = applied.and_then(|checkpoint| checkpoint.unwrap().applied);
        let files = Arc::new(self.log.clone());
        mark::open(files, id(&options()), options().entropy, index_of(applied)).unwrap()
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.log.names().unwrap();
        names.into_iter().map(|name| (name.clone(), self.log.bytes(&name))).collect()
    }

    /// Checks that nothing is lost, and that this node is the only voter from `position` on.
    fn check_recovered(&self, expected: &[Vec<u8>]) {
        assert_eq!(self.state, expected);
        let checkpoint = wire::decode::<CheckpointV1>(self.checkpoint.as_ref().unwrap()).unwrap();
        let membership = checkpoint.stored_membership().unwrap();
        assert!(membership.membership().voter_ids().eq([ME]));
        let (open, position) = (self.open(), checkpoint.applied.unwrap());
        let point = open.engine.point();
        assert_eq!((point.last, point.purged), (Some(position), Some(position)));
        assert_eq!(point.committed, Some(position));
        assert!(open.engine.reader().read(0, u64::MAX, 1 << 20).unwrap().is_empty());
        let vote = open.mark.vote.unwrap();
        assert!(vote.term >= position.term && position.term > 5 && position.node == ME);
        assert!(!vote.committed, "it stands for election");
        let report = self.survivor().report().clone();
        assert!(!report.is_begun && report.voters == BTreeSet::from([NodeId(ME)]));
    }
}

fn scenes() -> [(&'static str, Disks, Vec<Vec<u8>>); 3] {
    let all: Vec<_> = (2..=10).map(payload).collect();
    [
        ("without a snapshot", Disks::without_snapshot(), all.clone()),
        ("with a snapshot", Disks::with_snapshot(), all.clone()),
        ("with void entries", Disks::with_void_entries(), all[..8].to_vec()),
    ]
}

#[test]
fn a_look_says_what_is_known_and_changes_nothing() {
    for (scene, disks, expected) in scenes() {
        let before = disks.files();
        let report = disks.survivor().report().clone();
        assert_eq!(disks.replayed(), expected, "{scene}");
        assert!(disks.files() == before, "{scene}");
        assert_eq!((report.term, report.is_begun), (5, false), "{scene}");
        assert_eq!(report.voters, [1, 2, 3].map(NodeId).into(), "{scene}");
        let known = (report.last, report.committed);
        let expected = match scene {
            "without a snapshot" => (at(3, 2, 10), 6),
            "with a snapshot" => (at(3, 2, 10), 7),
            _ => (at(4, 3, 9), 9),
        };
        assert_eq!(known, expected, "{scene}");
        assert_eq!(report.position, at(6, ME, 11), "{scene}: behind every entry and term");
    }
}

#[test]
fn every_entry_is_kept_whether_or_not_it_was_known_to_be_committed() {
    for (_, mut disks, expected) in scenes() {
        disks.recover().unwrap();
        disks.check_recovered(&expected);
    }
}

#[test]
fn a_recovery_that_is_cut_at_any_step_can_be_repeated_or_left() {
    for (scene, disks, expected) in scenes() {
        let operations = {
            let mut whole = Disks { log: disks.log.killed(), ..disks.clone() };
            whole.recover().unwrap();
            whole.log.operations()
        };
        let mut is_begun_seen = false;
        for cut in 0..operations {
            for is_power_cut in [false, true] {
                let mut cut_one = Disks { log: disks.log.power_cut(0), ..disks.clone() };
                // The survivor reads the log twice in this test before it writes.
                cut_one.log.fail_after(u64::MAX);
                let survivor_reads = {
                    let before = cut_one.log.operations();
                    drop((cut_one.survivor(), cut_one.replayed()));
                    cut_one.log.operations() - before
                };
                let from = cut_one.log.operations() + survivor_reads;
                cut_one.log.fail_after(from + cut);
                let is_done = cut_one.recover().is_ok();
                cut_one.log = match is_power_cut {
                    true => cut_one.log.power_cut(cut),
                    false => cut_one.log.killed(),
                };
                let told = format!("{scene}, cut after {cut}, power cut: {is_power_cut}");
                // A start without a second recovery finds a whole log, which its state follows.
                let (left, survivor) = (cut_one.open().engine.point(), cut_one.survivor());
                let is_installed = cut_one.checkpoint != disks.checkpoint;
                assert!(is_installed || left.last == disks.open().engine.point().last, "{told}");
                assert_eq!(cut_one.replayed(), expected, "{told}");
                is_begun_seen |= survivor.report().is_begun;
                drop(survivor);
                if !is_done || !is_installed {
                    cut_one.recover().unwrap_or_else(|error| panic!("{told}: {error}"));
                }
                cut_one.check_recovered(&expected);
            }
        }
        assert!(is_begun_seen, "{scene}: a cut after the state and before the log");
    }
}

#[test]
fn a_state_that_cannot_be_stored_changes_nothing_but_the_term() {
    let mut disks = Disks::with_snapshot();
    let failed = disks.survivor().recover("n1:7444", |_, _| Err(MachineFault("full".to_owned())));
    assert!(matches!(failed, Err(RecoverError::State(_))));
    let report = disks.survivor().report().clone();
    assert_eq!((report.term, report.last), (6, at(3, 2, 10)));
    disks.recover().unwrap();
    disks.check_recovered(&(2..=10).map(payload).collect::<Vec<_>>());
}

#[test]
fn a_running_node_and_an_absent_log_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(LogLock::take(dir.path()), Err(RecoverError::NoLog { .. })));
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was made");
    let files = Directory::open(&dir.path().join(SEGMENTS)).unwrap();
    mark::open(Arc::new(files), id(&options()), options().entropy, 0).unwrap();
    let running = lock(dir.path(), LOCK_PATIENCE).unwrap();
    assert!(matches!(LogLock::take(dir.path()), Err(RecoverError::InUse { .. })));
    drop(running);
    let lock = LogLock::take(dir.path()).unwrap();
    let report = Survivor::open(lock, options(), None).unwrap().report().clone();
    assert_eq!((report.last, report.voters.len()), (Position::default(), 0));
}
