//! Canaries: what they change, and what ends them.

use super::*;
use crate::{command::StartCanary, record::LEVEL_MAX};

const SHOP: &str = "a.example";

/// A State at the highest level, with a domain whose chain is `[1]`.
fn scene() -> Scene {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(LEVEL_MAX));
    scene.domain(SHOP, &[]);
    scene.done(Action::SetKey(name(SHOP), Box::new(key(1, 1))));
    scene.done(certificate(SHOP, 1, chain(1)));
    scene
}

fn chain(byte: u8) -> Option<Vec<ByteBuf>> {
    Some(vec![ByteBuf::from(vec![byte])])
}

fn set(public: u8, of: u8) -> SetCertificate {
    let Action::SetCertificate(set) = certificate(SHOP, public, chain(of)) else { unreachable!() };
    SetCertificate { key: Some(key(1, public)), ..*set }
}

fn start(public: u8, of: u8) -> Action {
    let (node, until) = (NodeId(1), UnixMillis(9));
    Action::StartCanary(Box::new(StartCanary { set: set(public, of), node, until }))
}

fn end(is_promoted: bool) -> Action {
    Action::EndCanary(name(SHOP), is_promoted)
}

fn uses(scene: &Scene, of: u8) -> Option<u64> {
    let fingerprint = Chain::fingerprint(&chain(of).unwrap());
    scene.state.chain(&fingerprint).map(|chain| chain.uses)
}

fn domain(scene: &Scene) -> &Domain {
    scene.state.domain(&name(SHOP)).unwrap()
}

#[test]
fn a_promoted_canary_is_what_an_import_would_have_made() {
    let (mut tried, mut direct) = (scene(), scene());
    let before = domain(&tried).clone();
    tried.done(start(2, 2));
    assert_eq!(*domain(&tried), before, "others serve what they served");
    let canary = tried.state.canary(&name(SHOP)).unwrap();
    assert_eq!((canary.node, canary.domain.version), (NodeId(1), before.version));
    assert_eq!(uses(&tried, 2), Some(1));
    assert_eq!(tried.rejected(start(3, 3)), Rejection::CanaryExists(name(SHOP)));
    tried.done(end(true));
    direct.done(Action::SetCertificate(Box::new(set(2, 2))));
    assert!(domain(&tried).has_content_of(domain(&direct)));
    assert_eq!(domain(&tried).version, domain(&direct).version);
    assert_eq!(domain(&tried).changed.principal, domain(&direct).changed.principal);
    assert_eq!([uses(&tried, 1), uses(&tried, 2)], [uses(&direct, 1), uses(&direct, 2)]);
    let versions = |scene: &Scene| scene.state.version_numbers(before.id).collect::<Vec<_>>();
    assert_eq!(versions(&tried), versions(&direct));
    assert_eq!(tried.rejected(end(true)), Rejection::CanaryUnknown(name(SHOP)));
}

#[test]
fn a_canary_that_ends_leaves_nothing() {
    let enable = || SetDomain {
        name: name(SHOP),
        mode: Some(PkiMode::Test),
        aliases: None,
        addresses: None,
    };
    for change in [
        end(false),
        Action::SetDomain(enable()),
        certificate(SHOP, 1, chain(3)),
        Action::RenameDomain(name(SHOP), name("b.example")),
        Action::DeleteDomain(name(SHOP)),
    ] {
        let mut scene = scene();
        let before = domain(&scene).version;
        scene.done(start(2, 2));
        scene.done(change.clone());
        assert_eq!(scene.state.canaries().count(), 0, "{change:?}");
        assert_eq!(uses(&scene, 2), None, "{change:?}");
        let is_ended_only = matches!(change, Action::EndCanary(..));
        assert!(!is_ended_only || domain(&scene).version == before);
    }
}

#[test]
fn the_same_certificate_makes_no_canary_and_an_unknown_node_gets_none() {
    let mut scene = scene();
    let command = scene.command(start(1, 1));
    let applied = apply(&scene.state, LogIndex(99), &command);
    assert!(applied.unchanged(&scene.state).is_some(), "{:?}", applied.outcome);
    let (node, until) = (NodeId(7), UnixMillis(9));
    let elsewhere = StartCanary { set: set(2, 2), node, until };
    let rejection = scene.rejected(Action::StartCanary(Box::new(elsewhere)));
    assert_eq!(rejection, Rejection::MemberUnknown(node));
}

#[test]
fn the_keys_of_a_canary_are_sealed_anew() {
    let mut scene = scene();
    scene.done(start(2, 2));
    let record = scene.state.row(&RowKey::Canary(name(SHOP))).unwrap().record.clone();
    assert_eq!(record.oldest_generation(), Some(Generation(1)));
    let resealed = record.with_sealed(&[sealed(2)]).unwrap();
    assert_eq!(resealed.oldest_generation(), Some(Generation(2)));
    assert_eq!(scene.state.rows_before_generation(Generation(2)).1, Some(Generation(1)));
}
