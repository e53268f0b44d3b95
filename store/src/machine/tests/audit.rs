//! The audit trail.

use super::*;
use crate::{
    command::CutAudit,
    limits::{AUDIT_CUT_MAX, AUDIT_NOTES_MAX},
    state::StoredRow,
    wire,
};

pub(super) const PROOF: Proof = Proof { generation: Generation(1), mac: [9; 32] };

pub(super) fn scene() -> Scene {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(LEVEL_MAX));
    scene
}

/// Returns the entries as `event object`.
fn told(scene: &Scene) -> Vec<String> {
    let all = scene.state.audit(0..=u64::MAX);
    all.map(|(_, entry)| format!("{} {}", entry.event.event, entry.event.object)).collect()
}

/// Checks that every entry follows the one before.
fn assert_chained(state: &State) {
    let cut = state.audit_cut();
    let (mut number, mut hash) = (cut.first, cut.previous);
    for (found, entry) in state.audit(0..=u64::MAX) {
        assert_eq!((found, entry.previous), (number, hash));
        assert!(entry.is_intact(found));
        (number, hash) = (found + 1, entry.hash);
    }
}

#[test]
fn every_change_tells_what_was_before_and_what_is_now() {
    let mut scene = scene();
    scene.domain("shop.example", &["www.shop.example"]);
    let set = SetDomain {
        name: name("shop.example"),
        mode: Some(PkiMode::Test),
        aliases: None,
        addresses: None,
    };
    let mut command = scene.command(Action::SetDomain(set));
    command.reason = Some("a reason".to_owned());
    command.origin = Some(Origin { node: NodeId(3), remote: "192.0.2.1".parse().ok() });
    assert!(matches!(scene.apply(&command), Outcome::Done(_)));
    scene.done(Action::RenameDomain(name("shop.example"), name("store.example")));
    assert_eq!(
        told(&scene),
        [
            "cluster.level ",
            "domain.create shop.example",
            "domain.set shop.example",
            "domain.rename shop.example"
        ]
    );
    let (_, set) = scene.state.audit(3..=3).next().unwrap();
    let difference = |what: &str, before: &str, after: &str| AuditDifference {
        what: what.to_owned(),
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
    };
    assert_eq!(set.event.differences, [difference("PKI services", "enabled", "test")]);
    assert_eq!(set.event.reason.as_deref(), Some("a reason"));
    assert_eq!(set.event.origin.as_ref().unwrap().place(), "192.0.2.1");
    assert_eq!(set.event.principal, command.principal);
    let (_, renamed) = scene.state.audit_last().unwrap();
    let (old, new) = ("shop.example www.shop.example", "store.example www.shop.example");
    assert_eq!(renamed.event.differences, [difference("names", old, new)]);
    assert_chained(&scene.state);
}

#[test]
fn what_changes_nothing_and_the_upkeep_of_nodes_have_no_entry() {
    let mut scene = scene();
    scene.domain("shop.example", &[]);
    let before = scene.state.audit_last().unwrap().0;
    let same = SetDomain {
        name: name("shop.example"),
        mode: Some(PkiMode::Enabled),
        aliases: None,
        addresses: None,
    };
    scene.done(Action::SetDomain(same));
    let again = create("shop.example", Vec::new());
    scene.rejected(again);
    let key = SessionKey {
        sealed: sealed(1),
        made: UnixMillis(1),
        active: None,
        not_after: UnixMillis(9),
        expires: UnixMillis(9),
    };
    scene.done(Action::PublishSessionKey(SessionKeyUse::Ticket, SessionKeyId([1; 8]), key));
    assert_eq!(scene.state.audit_last().unwrap().0, before);
    // A retry is answered from memory.
    let command = scene.command(create("other.example", Vec::new()));
    assert!(matches!(scene.apply(&command), Outcome::Done(_)));
    assert!(matches!(scene.apply(&command), Outcome::Done(_)));
    assert_eq!(scene.state.audit_last().unwrap().0, before + 1);
}

#[test]
fn nothing_is_told_below_level_4() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(3));
    scene.domain("shop.example", &[]);
    assert!(scene.state.audit_last().is_none());
    assert!(matches!(
        scene.rejected(Action::NoteAudit(Vec::new())),
        Rejection::LevelUnknown { level: 4, max: 3 }
    ));
}

fn denied(object: &str) -> AuditEvent {
    AuditEvent {
        time: UnixMillis(5),
        principal: Principal::Stranger,
        origin: None,
        event: "domain.set".to_owned(),
        result: AuditResult::Denied,
        object: object.to_owned(),
        code: Some("X003".to_owned()),
        differences: Vec::new(),
        reason: None,
        operation: None,
    }
}

#[test]
fn the_beginning_leaves_and_the_rest_stays_bound_to_it() {
    let mut scene = scene();
    for number in 0..10 {
        let events = (0..4).map(|event| denied(&format!("{number}-{event}"))).collect();
        scene.done(Action::NoteAudit(events));
    }
    assert_eq!(scene.state.audit_last().unwrap().0, 41);
    let hash = |scene: &Scene, number| scene.state.audit(number..=number).next().unwrap().1.hash;
    let cut =
        |first, previous| Action::CutAudit(Box::new(CutAudit { first, previous, proof: PROOF }));
    for (first, previous) in
        [(1, Fingerprint([0; 32])), (20, Fingerprint([1; 32])), (50, Fingerprint([0; 32]))]
    {
        assert_eq!(scene.rejected(cut(first, previous)), Rejection::AuditCutWrong(first));
    }
    let previous = hash(&scene, 29);
    scene.done(cut(30, previous));
    assert_eq!(scene.state.audit_cut().first, 30);
    assert_eq!(scene.state.audit(0..=u64::MAX).next().unwrap().0, 30);
    assert_eq!(told(&scene).last().unwrap(), "audit.cut ");
    assert_chained(&scene.state);
    // Everything but the last.
    let last = scene.state.audit_last().unwrap().0;
    let previous = hash(&scene, last);
    scene.done(cut(last + 1, previous));
    assert_eq!(scene.state.audit(0..=u64::MAX).count(), 1);
    assert_chained(&scene.state);
    assert!(usize::try_from(AUDIT_CUT_MAX).unwrap() > AUDIT_NOTES_MAX, "a cut must keep up");
    let many = vec![denied("x"); AUDIT_NOTES_MAX + 1];
    assert!(matches!(scene.rejected(Action::NoteAudit(many)), Rejection::TooMany { .. }));
}

#[test]
fn a_changed_entry_does_not_have_its_hash() {
    let mut scene = scene();
    scene.domain("shop.example", &[]);
    let (number, entry) = scene.state.audit_last().unwrap();
    let mut changed = entry.clone();
    assert!(changed.is_intact(number));
    changed.event.object = "other.example".to_owned();
    assert!(!changed.is_intact(number));
    let mut changed = entry.clone();
    changed.previous = Fingerprint([7; 32]);
    assert!(!changed.is_intact(number));
}

#[test]
fn a_million_entries_are_read_from_their_end_at_once() {
    let event = denied("shop.example");
    let rows = (1..=1_000_000_u64).map(|number| {
        let entry = AuditEntry {
            previous: Fingerprint([1; 32]),
            hash: Fingerprint([2; 32]),
            event: event.clone(),
        };
        let key = wire::encode_key(&RowKey::Audit(number)).unwrap();
        let row = wire::encode_row(LogIndex(number), &Record::Audit(entry.into())).unwrap();
        StoredRow::read(&key, &row).unwrap()
    });
    let state = State::load(rows.collect());
    let begin = std::time::Instant::now();
    let last: Vec<u64> =
        state.audit(0..=u64::MAX).rev().take(100).map(|(number, _)| number).collect();
    let took = begin.elapsed();
    assert_eq!((last.first(), last.last()), (Some(&1_000_000), Some(&999_901)));
    assert!(took.as_millis() < 100, "{took:?}");
    println!("{took:?} for the last 100 of 1,000,000 entries");
}
