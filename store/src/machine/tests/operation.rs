//! Remembering operations by time.

use super::*;
use crate::limits::{CLOCK_WRONG_MS, OPERATION_MS_KEPT, OPERATIONS_KEPT_MAX, OPERATIONS_KEPT_MIN};
use crate::state::OperationAge;

const NOW: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;
const TEN_YEARS: u64 = 10 * 365 * 24 * 60 * MINUTE;

/// Returns a change with an id that does not contain its time.
fn change(number: u64, time: u64) -> Command {
    Command {
        operation: OperationId::parse(&format!("change-{number}")).unwrap(),
        principal: Principal::Socket { uid: 0 },
        request: [0; 32],
        time: UnixMillis(time),
        reason: None,
        expects: Vec::new(),
        action: Action::FlushSessions,
        origin: None,
    }
}

/// Returns a change with an id of the time `made`.
fn made(number: u8, made: u64, time: u64) -> Command {
    let operation = OperationId::new(UnixMillis(made), [number; 10]);
    Command { operation, ..change(0, time) }
}

impl Scene {
    /// At level 1, with the least number of operations that are remembered whatever their age.
    fn full() -> Scene {
        let mut scene = Scene::founded();
        scene.done(Action::SetLevel(1));
        for number in 0..u64::try_from(OPERATIONS_KEPT_MIN).unwrap() {
            scene.is_done(&change(number, NOW + number));
        }
        scene
    }

    #[track_caller]
    fn is_done(&mut self, command: &Command) {
        let outcome = self.apply(command);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    #[track_caller]
    fn is_forgotten(&mut self, command: &Command) {
        let outcome = self.apply(command);
        let Outcome::Rejected(Rejection::OperationForgotten { .. }) = outcome else {
            panic!("{outcome:?}")
        };
    }

    fn forgotten(&self) -> u64 {
        self.state.operation_memory().map_or(0, |memory| memory.forgotten.0)
    }
}

/// Returns the number of flushes, which each change that is not recognised as a retry increments.
fn flushes(scene: &Scene) -> u64 {
    scene.state.tls_settings().flushes
}

#[test]
fn where_changes_are_few_none_is_forgotten_for_days() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(1));
    for number in 0..100 {
        scene.is_done(&change(number, NOW));
    }
    for number in 100..200 {
        scene.is_done(&change(number, NOW + 10 * CLOCK_WRONG_MS));
    }
    let before = flushes(&scene);
    (0..200).for_each(|number| scene.is_done(&change(number, NOW)));
    assert_eq!(flushes(&scene), before, "all are answered from memory");
    scene.is_done(&change(200, NOW - MINUTE));
}

#[test]
fn what_is_forgotten_is_refused_and_never_done_again() {
    let mut scene = Scene::full();
    let early = made(1, NOW, NOW + 1);
    scene.is_done(&early);
    let last = NOW + u64::try_from(OPERATIONS_KEPT_MIN).unwrap();
    for number in 0..100 {
        scene.is_done(&change(20_000 + number, last + OPERATION_MS_KEPT - MINUTE));
    }
    let before = flushes(&scene);
    scene.is_done(&early);
    assert_eq!(flushes(&scene), before, "within its time it is remembered");
    let later = last + OPERATION_MS_KEPT + MINUTE;
    (0..200).for_each(|number| scene.is_done(&change(30_000 + number, later)));
    let before = flushes(&scene);
    scene.is_forgotten(&change(0, NOW));
    scene.is_forgotten(&early);
    // Derived again, it has a new time, but its id has the time of the first try.
    scene.is_forgotten(&made(1, NOW, later + 1));
    assert_eq!(flushes(&scene), before);
    scene.is_done(&made(2, later, later + 2));
    scene.is_done(&change(40_000, later + 3));
}

#[test]
fn an_id_by_a_clock_that_is_ahead_is_remembered_until_its_own_time_is_over() {
    let mut scene = Scene::full();
    let ahead = made(1, NOW + 10 * MINUTE, NOW);
    scene.is_done(&ahead);
    let later = NOW + OPERATION_MS_KEPT + 5 * MINUTE;
    (0..6_000).for_each(|number| scene.is_done(&change(20_000 + number, later)));
    let before = flushes(&scene);
    scene.is_done(&made(1, NOW + 10 * MINUTE, later));
    assert_eq!(flushes(&scene), before);
    let later = later + 10 * MINUTE;
    (0..6_000).for_each(|number| scene.is_done(&change(30_000 + number, later)));
    scene.is_forgotten(&made(1, NOW + 10 * MINUTE, later));
}

#[test]
fn a_clock_that_jumps_for_a_second_forgets_little_and_refuses_nothing_later() {
    let mut scene = Scene::full();
    let last = NOW + u64::try_from(OPERATIONS_KEPT_MIN).unwrap();
    (0..1_000).for_each(|number| scene.is_done(&change(20_000 + number, last)));
    for number in 0..500 {
        scene.is_done(&change(30_000 + number, last + TEN_YEARS));
    }
    assert!(scene.forgotten() < last, "{}", scene.forgotten());
    let before = flushes(&scene);
    (0..1_000).for_each(|number| scene.is_done(&change(20_000 + number, last)));
    assert_eq!(flushes(&scene), before, "what was ordered just before is remembered");
    // And the operations of that second do not stay for ten years.
    for number in 0..9_000 {
        scene.is_done(&change(40_000 + number, last + 1_000 + number));
    }
    for number in 0..12_000 {
        scene.is_done(&change(50_000 + number, last + OPERATION_MS_KEPT + 2 * MINUTE));
    }
    let newest = scene.state.newest_operation().unwrap().time.0;
    assert!(newest < last + TEN_YEARS, "{newest}");
    assert!(scene.forgotten() < last + MINUTE, "{}", scene.forgotten());
}

#[test]
fn after_a_clock_that_was_wrong_for_long_changes_go_on_and_the_watermark_is_set_right() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(1));
    let wrong = NOW + TEN_YEARS;
    (0..10_000).for_each(|number| scene.is_done(&change(number, wrong)));
    for number in 0..100 {
        scene.is_done(&change(20_000 + number, wrong + OPERATION_MS_KEPT + MINUTE));
    }
    assert!(scene.forgotten() >= wrong);
    (0..100).for_each(|number| scene.is_done(&change(30_000 + number, NOW)));
    scene.is_done(&change(40_000, NOW + OPERATION_MS_KEPT + MINUTE));
    assert!(scene.forgotten() <= NOW + 1_000, "{}", scene.forgotten());
    scene.is_forgotten(&change(30_000, NOW));
}

#[test]
fn the_number_of_remembered_operations_is_bounded() {
    let due = |count, time| {
        let id = OperationId::parse("op").unwrap();
        let oldest = OperationAge { time: UnixMillis(time), index: LogIndex(1), id };
        crate::machine::operation::is_due(count, &oldest, UnixMillis(NOW))
    };
    let old = NOW - OPERATION_MS_KEPT - 1;
    assert!(!due(OPERATIONS_KEPT_MIN - 1, 0));
    assert!(due(OPERATIONS_KEPT_MIN, old) && !due(OPERATIONS_KEPT_MIN, old + 1));
    assert!(!due(OPERATIONS_KEPT_MAX - 1, NOW) && due(OPERATIONS_KEPT_MAX, NOW));
}

#[test]
fn what_level_0_forgot_is_refused_at_level_1() {
    let mut scene = Scene::founded();
    (0..11_000).for_each(|number| scene.is_done(&change(number, NOW + number)));
    let first = change(0, NOW);
    assert!(scene.state.operation(&first.operation).is_none());
    scene.done(Action::SetLevel(1));
    scene.is_forgotten(&first);
    scene.is_done(&change(10_999, NOW + 10_999));
    scene.is_done(&change(11_000, NOW + 11_000));
}
