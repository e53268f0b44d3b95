//! Tests of the writer's steps, without its thread.
#![allow(clippy::unwrap_used)]

use openraft::EntryPayload;

use super::*;
use crate::{
    mark::{self, OpenLog},
    segments::{LogId, tests::disk::TestDisk},
    types::Payload,
};

const ID: LogId = LogId { cluster: [7; 16], incarnation: 1 };

struct Scene {
    disk: TestDisk,
    writer: Writer,
    depot: Arc<crate::segments::Depot>,
    persisted: Arc<AtomicU64>,
}

fn open(disk: &TestDisk) -> OpenLog {
    mark::open(Arc::new(disk.clone()), ID, Arc::new(|bytes| bytes.fill(9)), u64::MAX).unwrap()
}

fn at(index: u64) -> Position {
    Position { term: 1, node: 1, index }
}

fn append(indexes: std::ops::RangeInclusive<u64>, bytes: usize) -> Write {
    let entries = indexes.map(|index| {
        let payload = EntryPayload::Normal(Payload(vec![1; bytes]));
        LogEntry { log_id: at(index).log_id(), payload }
    });
    Write::Append(entries.collect(), IOFlushed::noop())
}

impl Scene {
    fn new() -> Scene {
        let disk = TestDisk::new();
        let persisted = Arc::new(AtomicU64::new(0));
        let open = open(&disk);
        let writer = Writer::new(open.engine, open.marker, open.mark, Arc::clone(&persisted));
        Scene { disk, writer, depot: open.depot, persisted }
    }

    fn turn(&mut self, writes: impl IntoIterator<Item = Write>) -> Turn {
        self.writer.turn(&mut writes.into_iter().collect()).unwrap()
    }

    /// Opens the log after a power cut that keeps only synced data.
    fn left(&self) -> OpenLog {
        open(&self.disk.power_cut(0))
    }

    fn groups(&self) -> u64 {
        self.writer.engine.point().group.sequence
    }
}

#[test]
fn everything_that_waits_is_one_group() {
    let mut scene = Scene::new();
    let writes = (1..=64).map(|index| append(index..=index, 1_000));
    assert_eq!(scene.turn(writes), Turn::Done);
    assert_eq!(scene.groups(), 1);
    assert_eq!(scene.left().engine.point().last, Some(at(64)));
    assert_eq!(scene.writer.written().synced.load(Ordering::Relaxed), 64);
}

#[test]
fn an_append_larger_than_a_group_is_cut_and_answered_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.turn([append(1..=100, 70_000), append(101..=101, 1)]), Turn::Done);
    assert!((7..=10).contains(&scene.groups()), "{}", scene.groups());
    assert_eq!(scene.left().engine.point().last, Some(at(101)));
}

#[test]
fn a_commit_rides_along_or_is_written_when_nothing_else_comes() {
    let mut scene = Scene::new();
    scene.turn([append(1..=3, 10)]);
    scene.turn([Write::Committed(at(2))]);
    assert_eq!(scene.groups(), 1, "it waits for company");
    assert!(scene.writer.has_notes());
    scene.turn([append(4..=4, 10)]);
    assert_eq!((scene.groups(), *scene.writer.written().settled.borrow()), (2, 2));
    scene.turn([Write::Committed(at(4))]);
    scene.turn([]);
    assert_eq!((scene.groups(), *scene.writer.written().settled.borrow()), (3, 4));
    scene.turn([]);
    assert_eq!(scene.groups(), 3, "nothing is left to write");
    assert_eq!(scene.left().engine.point().committed, Some(at(4)));
}

#[test]
fn entries_go_only_when_their_effect_is_durable() {
    let mut scene = Scene::new();
    scene.turn([append(1..=10, 10), Write::Purge(at(6))]);
    scene.turn([]);
    assert_eq!(scene.left().engine.point().purged, None);
    scene.persisted.store(7, Ordering::Release);
    scene.turn([Write::Purge(at(8))]);
    scene.turn([]);
    assert_eq!(scene.left().engine.point().purged, Some(at(6)), "7 and 8 must be kept");
    scene.persisted.store(8, Ordering::Release);
    scene.turn([]);
    assert_eq!(scene.left().engine.point().purged, Some(at(8)));
}

#[test]
fn behind_an_installed_snapshot_the_log_goes_on() {
    let mut scene = Scene::new();
    scene.persisted.store(50, Ordering::Release);
    scene.turn([append(1..=3, 10), Write::Purge(at(50)), append(51..=52, 10)]);
    let left = scene.left();
    assert_eq!(left.engine.point().purged, Some(at(50)));
    assert_eq!(left.engine.point().last, Some(at(52)));
}

#[test]
fn a_vote_is_durable_in_both_slots_when_it_is_answered() {
    let mut scene = Scene::new();
    let vote = VoteV1 { term: 9, node: 2, committed: false };
    let (done, mut answered) = oneshot::channel();
    scene.turn([Write::Vote(vote, done)]);
    answered.try_recv().unwrap().unwrap();
    for slot in [0, 4096] {
        let damaged = scene.disk.power_cut(0);
        damaged.damage(mark::MARKER, |bytes| bytes[slot + 20] ^= 1);
        assert_eq!(open(&damaged).mark.vote, Some(vote), "slot at {slot} is damaged");
    }
}

#[test]
fn what_fails_to_sync_is_answered_as_failed_and_ends_the_writer() {
    let mut scene = Scene::new();
    scene.disk.fail_after(scene.disk.operations() + 1);
    let (done, mut answered) = oneshot::channel();
    let mut writes = VecDeque::from([append(1..=1, 10), Write::TruncateAfter(Some(at(1)), done)]);
    assert!(scene.writer.turn(&mut writes).is_err());
    assert!(answered.try_recv().unwrap().is_err());
    scene.disk.fail_after(u64::MAX);
    assert!(scene.writer.turn(&mut VecDeque::from([append(1..=1, 10)])).is_err());
}

#[test]
fn a_full_disk_keeps_what_waits_until_there_is_room() {
    let mut scene = Scene::new();
    scene.disk.set_free(0);
    let mut index = 0;
    let mut waiting = VecDeque::new();
    loop {
        waiting.push_back(append(index + 1..=index + 20, 60_000));
        if scene.writer.turn(&mut waiting).unwrap() == Turn::NoRoom {
            break;
        }
        index += 20;
        assert!(index < 2_000, "there is an end to the room");
    }
    assert!(!*scene.writer.written().has_room.borrow());
    assert_eq!(scene.writer.turn(&mut waiting).unwrap(), Turn::NoRoom);
    scene.disk.set_free(u64::MAX / 2);
    assert_eq!(scene.writer.turn(&mut waiting).unwrap(), Turn::Done);
    scene.depot.turn().unwrap();
    scene.turn([]);
    assert!(*scene.writer.written().has_room.borrow());
    assert_eq!(scene.left().engine.point().last, Some(at(index + 20)));
}
