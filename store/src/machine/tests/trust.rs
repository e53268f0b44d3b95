use super::*;
use crate::{
    command::{AddCrlPart, AddLongCrl, AddTrusted},
    limits::CRL_PARTS_MAX,
    record::{Crl, LongCrl},
};

const ISSUER: Fingerprint = Fingerprint([1; 32]);

fn part(list: &[u8], number: u32, der: &[u8]) -> Action {
    let (list, der) = (Fingerprint::of(list), ByteBuf::from(der));
    Action::AddCrlPart(None, Box::new(AddCrlPart { list, number, der }))
}

fn long(list: &[u8], parts: u32, at: u64) -> Action {
    let crl = LongCrl { list: Fingerprint::of(list), parts, this_update: UnixMillis(at) };
    Action::AddLongCrl(None, Box::new(AddLongCrl { issuer: ISSUER, crl }))
}

fn short(der: &[u8], at: u64) -> Action {
    let crl = Crl { der: ByteBuf::from(der), this_update: UnixMillis(at) };
    let found = AddTrusted { certificates: Vec::new(), crls: vec![(ISSUER, crl)] };
    Action::AddTrusted(None, Box::new(found))
}

fn lists(scene: &Scene) -> Vec<Vec<u8>> {
    scene.state.crls(&TrustSet::System).map(|(_, crl)| crl.der.to_vec()).collect()
}

fn parts(scene: &Scene) -> usize {
    scene.state.crl_parts(&TrustSet::System).count()
}

#[test]
fn a_long_revocation_list_appears_once_all_its_parts_are_there() {
    let mut scene = Scene::founded();
    let unknown = Rejection::LevelUnknown { level: 2, max: 0 };
    assert_eq!(scene.rejected(part(b"abcd", 0, b"ab")), unknown, "0.2.0 cannot read it");
    scene.done(Action::SetLevel(2));
    scene.done(part(b"abcd", 1, b"cd"));
    let missing = Rejection::TrustedUnknown(Fingerprint::of(b"abcd"));
    assert_eq!(scene.rejected(long(b"abcd", 2, 10)), missing);
    scene.done(part(b"abcd", 0, b"ab"));
    assert!(lists(&scene).is_empty(), "parts alone are no list");
    assert_eq!(scene.rejected(long(b"abcd", 1, 10)), missing, "another number of parts");
    scene.done(long(b"abcd", 2, 10));
    assert_eq!(lists(&scene), [b"abcd"]);
    // The next one, and parts of one that was never completed.
    scene.done(part(b"never", 0, b"nev"));
    scene.done(part(b"efgh", 0, b"ef"));
    assert_eq!(parts(&scene), 3, "the parts of the unfinished list are gone");
    assert_eq!(lists(&scene), [b"abcd"]);
    scene.done(part(b"efgh", 1, b"gh"));
    scene.done(long(b"efgh", 2, 11));
    assert_eq!((lists(&scene), parts(&scene)), (vec![b"efgh".to_vec()], 2));
    // An older list changes nothing; a short one and a long one replace each other.
    scene.done(short(b"x", 10));
    assert_eq!(lists(&scene), [b"efgh"]);
    scene.done(short(b"y", 12));
    assert_eq!((lists(&scene), parts(&scene)), (vec![b"y".to_vec()], 0));
    scene.done(part(b"abcd", 0, b"ab"));
    scene.done(part(b"abcd", 1, b"cd"));
    scene.done(long(b"abcd", 2, 13));
    assert_eq!(lists(&scene), [b"abcd"]);
    scene.done(Action::RemoveTrusted(None, vec![ISSUER]));
    assert_eq!((lists(&scene).len(), parts(&scene)), (0, 0));
    let far = scene.rejected(part(b"abcd", CRL_PARTS_MAX, b"ab"));
    assert!(matches!(far, Rejection::TooMany { .. }), "{far:?}");
}

#[test]
fn the_lists_of_a_domain_go_with_it() {
    let mut scene = Scene::founded();
    scene.done(Action::SetLevel(2));
    scene.domain("a.example", &[]);
    let rows = scene.state.row_count();
    let owned = |action: Action| match action {
        Action::AddCrlPart(_, part) => Action::AddCrlPart(Some(name("a.example")), part),
        Action::AddLongCrl(_, long) => Action::AddLongCrl(Some(name("a.example")), long),
        other => other,
    };
    scene.done(owned(part(b"abcd", 0, b"abcd")));
    scene.done(owned(long(b"abcd", 1, 10)));
    scene.done(owned(part(b"never", 0, b"nev")));
    assert!(scene.state.row_count() > rows);
    scene.done(Action::DeleteDomain(name("a.example")));
    let is_left = |key: &RowKey| matches!(key, RowKey::CrlPart(_) | RowKey::LongCrl(_));
    assert_eq!(scene.state.rows().filter(|(key, _)| is_left(key)).count(), 0);
}
