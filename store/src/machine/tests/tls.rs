//! Rules of TLS settings, client certificates, session keys and revocation lists.

use super::*;
use crate::{command::AddTrusted, limits::SESSION_KEYS_MAX};

fn session_key(made: u64, expires: u64) -> SessionKey {
    SessionKey {
        sealed: sealed(1),
        made: UnixMillis(made),
        active: None,
        not_after: UnixMillis(expires),
        expires: UnixMillis(expires),
    }
}

fn session_id(number: usize) -> SessionKeyId {
    SessionKeyId(u64::try_from(number).unwrap().to_be_bytes())
}

fn publish(of: SessionKeyUse, id: usize, key: SessionKey) -> Action {
    Action::PublishSessionKey(of, session_id(id), key)
}

impl Scene {
    fn at(&mut self, time: u64, action: Action) -> Outcome {
        let mut command = self.command(action);
        command.time = UnixMillis(time);
        self.apply(&command)
    }

    fn session_ids(&self, of: SessionKeyUse) -> Vec<SessionKeyId> {
        self.state.session_keys(of).map(|(id, _)| id).collect()
    }

    /// The key that nodes seal with.
    fn active(&self) -> Option<SessionKeyId> {
        self.state.active_session_key(SessionKeyUse::Ticket).map(|(id, _)| id)
    }
}

#[test]
fn settings_count_their_changes_and_a_change_keeps_the_flushes() {
    let mut scene = Scene::founded();
    assert_eq!(scene.state.tls_settings(), TlsSettings::default());
    assert_eq!(scene.done(Action::FlushSessions), Done::TlsSettings(Version(1)));
    let wanted = TlsSettings { session_ttl_s: 7, ..TlsSettings::default() };
    let set = Action::SetTlsSettings(Box::new(wanted.clone()));
    assert_eq!(scene.done(set), Done::TlsSettings(Version(2)));
    let again = Action::SetTlsSettings(Box::new(wanted.clone()));
    assert_eq!(scene.done(again), Done::TlsSettings(Version(2)), "nothing changed");
    scene.done(Action::FlushSessions);
    let expected = TlsSettings { flushes: 2, version: Version(3), ..wanted };
    assert_eq!(scene.state.tls_settings(), expected);
}

#[test]
fn a_domain_asks_for_client_certificates_until_it_does_not() {
    let mut scene = Scene::founded();
    scene.domain("a.example", &[]);
    let asked = ClientAuth { issuer: Fingerprint([7; 32]), is_required: true };
    let set = |asked| Action::SetClientAuth(name("a.example"), asked);
    let version = |done| match done {
        Done::Domain { version, .. } => version,
        other => panic!("{other:?}"),
    };
    assert_eq!(version(scene.done(set(Some(asked)))), Version(2));
    assert_eq!(scene.state.domain(&name("a.example")).unwrap().client_auth, Some(asked));
    scene.done(set(None));
    assert_eq!(scene.state.domain(&name("a.example")).unwrap().client_auth, None);
    scene.done(Action::RollbackDomain(name("a.example"), Version(2)));
    let domain = scene.state.domain(&name("a.example")).unwrap();
    assert_eq!(domain.client_auth, Some(asked), "it is part of the history");
    let unknown = scene.rejected(Action::SetClientAuth(name("b.example"), Some(asked)));
    assert_eq!(unknown, Rejection::DomainUnknown(name("b.example")));
}

#[test]
fn a_session_key_is_used_only_when_it_is_activated_and_the_last_one_is() {
    let mut scene = Scene::founded();
    let of = SessionKeyUse::Ticket;
    let eager = SessionKey { active: Some(UnixMillis(1)), ..session_key(1, 1_000) };
    scene.at(10, publish(of, 1, eager));
    assert_eq!(scene.active(), None, "published is not active");
    scene.at(20, Action::ActivateSessionKey(of, session_id(1)));
    assert_eq!(scene.active(), Some(session_id(1)));
    scene.at(30, publish(of, 2, session_key(30, 1_000)));
    assert_eq!(scene.active(), Some(session_id(1)), "its successor waits");
    scene.at(5, Action::ActivateSessionKey(of, session_id(2)));
    assert_eq!(scene.active(), Some(session_id(2)), "also by a clock that is behind");
    let unknown = scene.rejected(Action::ActivateSessionKey(of, session_id(3)));
    assert_eq!(unknown, Rejection::SessionKeyUnknown(session_id(3)));
    let other = scene.rejected(Action::ActivateSessionKey(SessionKeyUse::Cookie, session_id(1)));
    assert_eq!(other, Rejection::SessionKeyUnknown(session_id(1)), "of another use");
}

#[test]
fn expired_session_keys_of_every_use_leave_state() {
    let mut scene = Scene::founded();
    scene.at(0, publish(SessionKeyUse::Ticket, 1, session_key(0, 100)));
    scene.at(0, publish(SessionKeyUse::Ticket, 2, session_key(0, 101)));
    scene.at(100, publish(SessionKeyUse::Cookie, 3, session_key(100, 500)));
    assert_eq!(scene.session_ids(SessionKeyUse::Ticket), [session_id(1), session_id(2)]);
    scene.at(101, publish(SessionKeyUse::Cookie, 4, session_key(101, 500)));
    assert_eq!(scene.session_ids(SessionKeyUse::Ticket), [session_id(2)], "its time is over");
    assert_eq!(scene.session_ids(SessionKeyUse::Cookie), [session_id(3), session_id(4)]);
}

#[test]
fn too_many_session_keys_push_the_oldest_out() {
    let mut scene = Scene::founded();
    // Ids in the opposite order of age.
    for number in 0..=SESSION_KEYS_MAX {
        let made = u64::try_from(number).unwrap();
        let id = SESSION_KEYS_MAX - number;
        scene.at(0, publish(SessionKeyUse::Ticket, id, session_key(made, u64::MAX)));
    }
    let kept = scene.session_ids(SessionKeyUse::Ticket);
    assert_eq!(kept.len(), SESSION_KEYS_MAX);
    assert!(!kept.contains(&session_id(SESSION_KEYS_MAX)), "the one made first");
}

#[test]
fn a_session_key_under_an_older_generation_is_rejected() {
    let mut scene = Scene::founded();
    let old = SessionKey { sealed: sealed(0), ..session_key(0, 100) };
    let rejection = scene.rejected(publish(SessionKeyUse::Ticket, 1, old));
    let expected = Rejection::GenerationOld { found: Generation(0), current: Generation(1) };
    assert_eq!(rejection, expected);
}

#[test]
fn a_revocation_list_gives_way_only_to_a_newer_one_of_its_issuer() {
    let mut scene = Scene::founded();
    scene.domain("a.example", &[]);
    let domain = scene.state.domain(&name("a.example")).unwrap().id;
    let issuer = |number| Fingerprint([number; 32]);
    let crl = |text: u8, at| Crl { der: ByteBuf::from(vec![text]), this_update: UnixMillis(at) };
    let add = |owner: Option<&str>, crls| {
        let certificates = Vec::new();
        Action::AddTrusted(owner.map(name), Box::new(AddTrusted { certificates, crls }))
    };
    let texts = |scene: &Scene, set: &TrustSet| -> Vec<u8> {
        scene.state.crls(set).map(|(_, crl)| crl.der[0]).collect()
    };
    scene.done(add(None, vec![(issuer(1), crl(1, 10)), (issuer(2), crl(2, 10))]));
    scene.done(add(None, vec![(issuer(1), crl(3, 9)), (issuer(2), crl(4, 11))]));
    assert_eq!(texts(&scene, &TrustSet::System), [1, 4]);
    scene.done(add(Some("a.example"), vec![(issuer(1), crl(5, 1))]));
    assert_eq!(texts(&scene, &TrustSet::Domain(domain)), [5], "each set has its own");
    assert_eq!(texts(&scene, &TrustSet::System), [1, 4]);
    scene.done(Action::RemoveTrusted(None, vec![issuer(1)]));
    assert_eq!(texts(&scene, &TrustSet::System), [4]);
    let again = scene.rejected(Action::RemoveTrusted(None, vec![issuer(1)]));
    assert_eq!(again, Rejection::TrustedUnknown(issuer(1)));
    scene.done(Action::DeleteDomain(name("a.example")));
    assert!(texts(&scene, &TrustSet::Domain(domain)).is_empty(), "it goes with its domain");
}
