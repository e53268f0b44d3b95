//! Levels of the rules.

use super::{random::commands, *};
use crate::{record::LEVEL_MAX, wire};

/// Result of 0.1.0 for [`commands`]: a hash over all outcomes and changes, and the digest.
const MADE_BY_0_1_0: (u32, &str) =
    (1_543_716_665, "01c3518ca99acc8563d0333357e74ec1b11a971a4609f130c760739166827ddb");

#[test]
fn level_0_makes_of_commands_what_0_1_0_made() {
    let mut scene = Scene::founded();
    let mut hasher = crc32fast::Hasher::new();
    for command in commands(7, 3_000) {
        scene.index += 1;
        let applied = apply(&scene.state, LogIndex(scene.index), &command);
        hasher.update(&wire::encode_outcome(&applied.outcome).unwrap());
        for change in applied.changes {
            hasher.update(&change.key_bytes);
            hasher.update(&change.row_bytes.unwrap_or_default());
        }
        scene.state = applied.state;
    }
    let digest: String = scene.state.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((hasher.finalize(), digest.as_str()), MADE_BY_0_1_0);
}

#[test]
fn a_level_higher_gives_the_same_answers() {
    for seed in 0..20 {
        let (mut one, mut other) = (Scene::founded(), Scene::founded());
        other.done(Action::SetLevel(1));
        for command in commands(seed, 300) {
            assert_eq!(one.apply(&command), other.apply(&command), "seed {seed}, {command:?}");
        }
        let domains = |scene: &Scene| scene.state.domains().cloned().collect::<Vec<_>>();
        assert_eq!(domains(&one), domains(&other), "seed {seed}");
        let names = |scene: &Scene| scene.state.left_over_rows().count();
        assert!(names(&one) > 0 && names(&other) == 0, "seed {seed}");
        assert!(other.state.row_count() < one.state.row_count(), "seed {seed}");
    }
}

#[test]
fn what_is_derived_follows_from_the_rows_at_any_time() {
    for seed in 0..20 {
        let mut scene = Scene::founded();
        for (number, command) in commands(seed, 300).iter().enumerate() {
            if number == 150 {
                scene.done(Action::SetLevel(1));
                assert_eq!(scene.state.left_over_rows().count(), 0, "seed {seed}");
            }
            scene.apply(command);
            if number % 10 == 0 {
                let mut bytes = Vec::new();
                snapshot::write(&scene.state, &mut bytes).unwrap();
                let read = snapshot::read(&mut bytes.as_slice()).unwrap();
                assert!(read.has_derived_of(&scene.state), "seed {seed}, {number}");
            }
        }
        let names = |domain: &Domain| domain.server_names().collect::<Vec<_>>();
        for domain in scene.state.domains() {
            for name in names(domain) {
                assert_eq!(scene.state.name_owner(&name), Some(&domain.name), "seed {seed}");
            }
        }
    }
}

#[test]
fn the_level_only_rises_and_no_higher_than_is_known() {
    let mut scene = Scene::founded();
    assert_eq!(scene.state.level(), 0);
    let unknown = Rejection::LevelUnknown { level: LEVEL_MAX + 1, max: LEVEL_MAX };
    assert_eq!(scene.rejected(Action::SetLevel(LEVEL_MAX + 1)), unknown);
    scene.done(Action::SetLevel(0));
    scene.done(Action::SetLevel(LEVEL_MAX));
    scene.done(Action::SetLevel(LEVEL_MAX));
    assert_eq!(scene.state.level(), LEVEL_MAX);
    let reached = Rejection::LevelReached { level: LEVEL_MAX };
    assert_eq!(scene.rejected(Action::SetLevel(LEVEL_MAX - 1)), reached);
}

#[test]
fn several_commands_of_one_index_are_each_done_once() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(1));
    let commands: Vec<Command> = (0..10)
        .map(|number| Command {
            operation: OperationId::parse(&format!("same-{number}")).unwrap(),
            ..scene.command(create(&format!("d{number}.example"), Vec::new()))
        })
        .collect();
    let index = scene.index;
    for _ in 0..2 {
        for command in &commands {
            scene.index = index;
            assert!(matches!(scene.apply(command), Outcome::Done(_)));
        }
    }
    assert!(scene.state.domains().all(|domain| domain.version == Version(1)));
    assert_eq!(scene.state.operation_count(), 12, "with the founding and the level");
}

#[test]
fn the_session_key_that_is_activated_last_is_used_whatever_the_clocks_say() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(1));
    let of = SessionKeyUse::Ticket;
    let ahead = UnixMillis(10 * 365 * 24 * 60 * 60 * 1_000);
    for (id, time) in [(1, UnixMillis(5)), (2, ahead), (3, UnixMillis(7))] {
        let id = SessionKeyId([id; 8]);
        let (not_after, expires) = (ahead.plus(1), ahead.plus(2));
        let new = SessionKey { sealed: sealed(1), made: time, active: None, not_after, expires };
        scene.done(Action::PublishSessionKey(of, id, new));
        let mut activate = scene.command(Action::ActivateSessionKey(of, id));
        activate.time = time;
        assert!(matches!(scene.apply(&activate), Outcome::Done(_)));
        let (active, key) = scene.state.active_session_key(of).unwrap();
        assert_eq!((active, key.active), (id, Some(time)), "its time is that of the command");
    }
}
