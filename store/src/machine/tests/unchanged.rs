//! Commands that change nothing, pending keys, and listeners with new settings.

use super::*;
use crate::record::LEVEL_MAX;

/// A State at the highest level, with a domain that has everything.
fn scene() -> Scene {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(LEVEL_MAX));
    scene.domain("a.example", &["www.a.example"]);
    scene.done(Action::SetKey(name("a.example"), Box::new(key(1, 1))));
    scene.done(certificate("a.example", 1, Some(vec![ByteBuf::from(vec![1])])));
    scene
}

fn version(scene: &Scene) -> u64 {
    scene.state.domain(&name("a.example")).unwrap().version.0
}

fn again(scene: &Scene) -> Vec<Action> {
    let mut sealed_anew = key(1, 1);
    sealed_anew.sealed.ciphertext = vec![3; 40];
    let Action::SetCertificate(mut with_key) =
        certificate("a.example", 1, Some(vec![ByteBuf::from(vec![1])]))
    else {
        unreachable!()
    };
    with_key.key = Some(sealed_anew);
    let aliases = vec![ServerName::parse("www.a.example").unwrap()];
    let set = |mode, aliases| {
        Action::SetDomain(SetDomain { name: name("a.example"), aliases, addresses: None, mode })
    };
    vec![
        certificate("a.example", 1, Some(vec![ByteBuf::from(vec![1])])),
        certificate("a.example", 1, None),
        Action::SetCertificate(with_key),
        set(Some(PkiMode::Enabled), None),
        set(None, Some(aliases)),
        set(None, None),
        Action::SetClientAuth(name("a.example"), None),
        Action::RenameDomain(name("a.example"), name("a.example")),
        Action::SetTlsSettings(Box::new(scene.state.tls_settings())),
    ]
}

#[test]
fn what_changes_nothing_makes_no_version_and_is_recognized() {
    let mut scene = scene();
    let before = version(&scene);
    for action in again(&scene) {
        let command = scene.command(action);
        let applied = apply(&scene.state, LogIndex(99), &command);
        let done = applied.unchanged(&scene.state);
        assert!(done.is_some(), "{:?}: {:?}", command.action, applied.outcome);
        scene.apply(&command);
        assert_eq!(version(&scene), before, "{:?}", command.action);
    }
    let other = scene.command(certificate("a.example", 1, Some(vec![ByteBuf::from(vec![2])])));
    assert_eq!(apply(&scene.state, LogIndex(99), &other).unchanged(&scene.state), None);
    scene.apply(&other);
    assert_eq!(version(&scene), before + 1, "another chain is a change");
    // Back to the earlier content: a change. Once more: none.
    let back =
        |scene: &Scene| scene.command(Action::RollbackDomain(name("a.example"), Version(before)));
    let command = back(&scene);
    scene.apply(&command);
    assert_eq!(version(&scene), before + 2);
    let command = back(&scene);
    scene.apply(&command);
    assert_eq!(version(&scene), before + 2);
}

#[test]
fn below_level_2_the_same_content_makes_a_version_and_is_recognized_too() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(1));
    scene.domain("a.example", &[]);
    scene.done(Action::SetKey(name("a.example"), Box::new(key(1, 1))));
    scene.done(certificate("a.example", 1, None));
    let command = scene.command(certificate("a.example", 1, None));
    let applied = apply(&scene.state, LogIndex(99), &command);
    let before = Done::Domain { name: name("a.example"), version: Version(3) };
    assert_eq!(applied.unchanged(&scene.state), Some(before), "with the version that there is");
    scene.apply(&command);
    assert_eq!(version(&scene), 4, "as members of 0.2.0 do");
}

#[test]
fn sixteen_versions_survive_any_number_of_repetitions() {
    let mut scene = scene();
    let kept = |scene: &Scene| {
        let id = scene.state.domain(&name("a.example")).unwrap().id;
        scene.state.version_numbers(id).collect::<Vec<_>>()
    };
    let before = kept(&scene);
    for _ in 0..2 * VERSIONS_KEPT {
        scene.done(certificate("a.example", 1, Some(vec![ByteBuf::from(vec![1])])));
    }
    assert_eq!(kept(&scene), before);
}

#[test]
fn a_pending_key_waits_beside_the_other_until_its_certificate_comes() {
    let mut scene = scene();
    let before = version(&scene);
    let id = scene.state.domain(&name("a.example")).unwrap().id;
    let set = |public| Action::SetPendingKey(name("a.example"), Box::new(key(1, public)));
    scene.done(set(2));
    assert_eq!(version(&scene), before, "nothing in use has changed");
    let rejection = scene.rejected(set(3));
    assert!(matches!(rejection, Rejection::KeyExists { .. }), "{rejection}");
    let Action::SetCertificate(mut new) = certificate("a.example", 2, None) else { unreachable!() };
    new.key = Some(key(1, 2));
    scene.done(Action::SetCertificate(new));
    let domain = scene.state.domain(&name("a.example")).unwrap();
    assert_eq!(domain.version.0, before + 1, "key and certificate in one version");
    assert_eq!(domain.credentials[0].key.public_key, Fingerprint([2; 32]));
    assert!(domain.credentials[0].certificate.is_some());
    assert_eq!(scene.state.pending_keys(id).count(), 0);
    scene.done(set(4));
    scene.done(Action::RenameDomain(name("a.example"), name("b.example")));
    assert_eq!(scene.state.pending_keys(id).count(), 1, "a rename keeps it");
    scene.done(Action::RemovePendingKey(name("b.example"), KeyFamily::Ec));
    let rejection = scene.rejected(Action::RemovePendingKey(name("b.example"), KeyFamily::Ec));
    assert!(matches!(rejection, Rejection::KeyMissing(_)), "{rejection}");
    scene.done(Action::SetPendingKey(name("b.example"), Box::new(key(1, 5))));
    scene.done(Action::DeleteDomain(name("b.example")));
    assert_eq!(scene.state.pending_keys(id).count(), 0, "it goes with the domain");
}

#[test]
fn a_pending_key_must_be_sealed_under_the_present_generation() {
    let mut scene = scene();
    let old = Action::SetPendingKey(name("a.example"), Box::new(key(0, 2)));
    assert!(matches!(scene.rejected(old), Rejection::GenerationOld { .. }));
}

#[test]
fn what_older_members_cannot_read_is_rejected_below_its_level() {
    let mut scene = Scene::founded();
    scene.domain("a.example", &[]);
    for level in [0, 1] {
        if level > 0 {
            scene.done(Action::SetLevel(level));
        }
        let set = Action::SetPendingKey(name("a.example"), Box::new(key(1, 2)));
        assert_eq!(scene.rejected(set), Rejection::LevelUnknown { level: 2, max: level });
    }
}
