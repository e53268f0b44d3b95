//! Rules, one claim per test.

mod account;
mod audit;
mod canary;
mod level;
mod listener;
mod member;
mod operation;
mod random;
mod recover;
mod tls;
mod token;
mod trust;
mod unchanged;

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;

use super::*;
use crate::{
    command::{
        CreateDomain, FoundCluster, RedeemJoinToken, RotateKeyring, SetCertificate, SetDomain,
    },
    id::*,
    limits::VERSIONS_KEPT,
    record::*,
    snapshot,
    time::UnixMillis,
};

fn sealed(generation: u64) -> Sealed {
    Sealed { generation: Generation(generation), nonce: [1; 12], ciphertext: vec![2; 40] }
}

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

fn member(id: u64) -> Member {
    Member {
        id: NodeId(id),
        name: NodeName::parse(&format!("node-{id}")).unwrap(),
        role: MemberRole::Voter,
        identity_der: vec![u8::try_from(id).unwrap(); 10],
        sealing_key: [3; 32],
        address: "127.0.0.1:1".to_owned(),
        joined: UnixMillis(0),
    }
}

fn keyring(members: &[u64]) -> KeyringGeneration {
    let wraps = members.iter().map(|id| (NodeId(*id), ByteBuf::from(vec![9; 80])));
    KeyringGeneration { wraps: wraps.collect(), made: UnixMillis(0) }
}

/// A founded State, and commands one after the other.
struct Scene {
    state: State,
    index: u64,
}

impl Scene {
    fn founded() -> Scene {
        let mut scene = Scene { state: State::default(), index: 0 };
        let cluster = Cluster {
            id: ClusterId([1; 16]),
            name: ClusterName::parse("test").unwrap(),
            authority_der: vec![1],
            authority_key: sealed(1),
            generation: Generation(1),
            node_last: NodeId(1),
            founded: UnixMillis(0),
        };
        let found = FoundCluster { cluster, member: member(1), keyring: keyring(&[1]) };
        scene.done(Action::FoundCluster(Box::new(found)));
        scene
    }

    fn command(&self, action: Action) -> Command {
        Command {
            operation: OperationId::parse(&format!("op{}", self.index)).unwrap(),
            principal: Principal::Socket { uid: 0 },
            request: [0; 32],
            time: UnixMillis(self.index),
            reason: None,
            expects: Vec::new(),
            action,
            origin: None,
        }
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        self.index += 1;
        let before = self.state.digest();
        let applied = apply(&self.state, LogIndex(self.index), command);
        if matches!(applied.outcome, Outcome::Rejected(_)) {
            assert_eq!(applied.state.digest(), before, "a rejection changes nothing");
            assert!(applied.changes.is_empty());
        }
        self.state = applied.state;
        applied.outcome
    }

    fn act(&mut self, action: Action) -> Outcome {
        let command = self.command(action);
        self.apply(&command)
    }

    fn done(&mut self, action: impl Into<Action>) -> Done {
        match self.act(action.into()) {
            Outcome::Done(done) => done,
            Outcome::Rejected(rejection) => panic!("{rejection}"),
        }
    }

    fn rejected(&mut self, action: impl Into<Action>) -> Rejection {
        match self.act(action.into()) {
            Outcome::Rejected(rejection) => rejection,
            Outcome::Done(done) => panic!("{done:?}"),
        }
    }

    fn domain(&mut self, text: &str, aliases: &[&str]) {
        let aliases = aliases.iter().map(|alias| ServerName::parse(alias).unwrap()).collect();
        let create = create(text, aliases);
        self.done(create);
    }
}

fn create(text: &str, aliases: Vec<ServerName>) -> Action {
    Action::CreateDomain(CreateDomain {
        id: DomainId([text.as_bytes()[0]; 16]),
        name: name(text),
        aliases,
        addresses: Vec::new(),
        mode: PkiMode::Enabled,
    })
}

fn key(generation: u64, public: u8) -> DomainKey {
    DomainKey {
        family: KeyFamily::Ec,
        algorithm: "EC P-256".to_owned(),
        public_key_der: vec![public],
        public_key: Fingerprint([public; 32]),
        sealed: sealed(generation),
        assigned: UnixMillis(0),
    }
}

fn certificate(text: &str, public: u8, chain: Option<Vec<ByteBuf>>) -> Action {
    Action::SetCertificate(Box::new(SetCertificate {
        name: name(text),
        key: None,
        certificate: Certificate {
            der: vec![7],
            public_key: Fingerprint([public; 32]),
            not_before: UnixMillis(0),
            not_after: UnixMillis(1),
        },
        chain,
    }))
}

#[test]
fn a_secret_under_an_older_generation_is_rejected() {
    let mut scene = Scene::founded();
    scene.domain("a.example", &[]);
    let rotate = RotateKeyring {
        generation: Generation(2),
        keyring: keyring(&[1]),
        authority_key: sealed(2),
    };
    scene.done(Action::RotateKeyring(Box::new(rotate)));
    let old = Action::SetKey(name("a.example"), Box::new(key(1, 1)));
    let expected = Rejection::GenerationOld { found: Generation(1), current: Generation(2) };
    assert_eq!(scene.rejected(old), expected);
    scene.done(Action::SetKey(name("a.example"), Box::new(key(2, 1))));
}

#[test]
fn a_rotation_is_for_exactly_the_members() {
    let mut scene = Scene::founded();
    for members in [&[][..], &[1, 2], &[2]] {
        let rotate = RotateKeyring {
            generation: Generation(2),
            keyring: keyring(members),
            authority_key: sealed(2),
        };
        let rejection = scene.rejected(Action::RotateKeyring(Box::new(rotate)));
        assert_eq!(rejection, Rejection::WrapsMismatch, "{members:?}");
    }
}

#[test]
fn a_join_token_works_once_in_its_time_and_again_for_the_same_node() {
    let mut scene = Scene::founded();
    let id = TokenId([1; 8]);
    let made = Stamp { time: UnixMillis(0), principal: Principal::Socket { uid: 0 }, reason: None };
    let token = JoinToken { secret: sealed(1), expires: UnixMillis(1_000), used: None, made };
    scene.done(Action::CreateJoinToken(id, token));
    let join = |node: u64| {
        let wraps = vec![(Generation(1), ByteBuf::from(vec![1]))];
        Action::RedeemJoinToken(Box::new(RedeemJoinToken {
            token: id,
            member: member(node),
            wraps,
        }))
    };
    let mut late = scene.command(join(2));
    late.time = UnixMillis(1_001);
    assert!(matches!(scene.apply(&late), Outcome::Rejected(Rejection::JoinTokenExpired { .. })));
    assert_eq!(scene.rejected(join(3)), Rejection::WrapsMismatch, "not the next number");
    assert_eq!(scene.done(join(2)), Done::Member { id: NodeId(2) });
    assert_eq!(scene.done(join(2)), Done::Member { id: NodeId(2) }, "the same node asks again");
    assert!(matches!(scene.rejected(join(3)), Rejection::JoinTokenUsed { .. }));
    let wrapped = scene.state.generation(&Generation(1)).unwrap();
    assert!(wrapped.wraps.contains_key(&NodeId(2)));
}

#[test]
fn a_name_belongs_to_one_domain_and_is_free_when_it_goes() {
    let mut scene = Scene::founded();
    scene.domain("a.example", &["www.example", "*.apps.example"]);
    for taken in ["a.example", "www.example"] {
        let rejection = scene.rejected(create(taken, Vec::new()));
        assert!(matches!(rejection, Rejection::NameTaken { .. }), "{rejection}");
    }
    scene.done(Action::DeleteDomain(name("a.example")));
    scene.domain("www.example", &["*.apps.example"]);
}

#[test]
fn no_shared_domain_has_the_name_of_a_main_domain() {
    let mut scene = Scene::founded();
    let early = Action::SetMainDomain(NodeId(7), name("main.example"));
    assert_eq!(scene.rejected(early), Rejection::NoCluster, "only members have one");
    scene.done(Action::SetMainDomain(NodeId(1), name("main.example")));
    let taken = Rejection::MainDomain { name: name("main.example"), node: "node-1".to_owned() };
    assert_eq!(scene.rejected(create("main.example", Vec::new())), taken);
    let alias = vec![ServerName::parse("main.example").unwrap()];
    assert_eq!(scene.rejected(create("shop.example", alias)), taken);
    scene.domain("shop.example", &[]);
    let rename = Action::RenameDomain(name("shop.example"), name("main.example"));
    assert_eq!(scene.rejected(rename), taken);
    // Another configuration frees the old name; a name that is shared cannot become one.
    let shop = Action::SetMainDomain(NodeId(1), name("shop.example"));
    assert!(matches!(scene.rejected(shop), Rejection::NameTaken { .. }));
    scene.done(Action::SetMainDomain(NodeId(1), name("other.example")));
    scene.domain("main.example", &[]);
}

#[test]
fn a_certificate_certifies_the_domains_key_and_goes_with_it() {
    let mut scene = Scene::founded();
    scene.domain("a.example", &[]);
    assert!(matches!(scene.rejected(certificate("a.example", 1, None)), Rejection::KeyMissing(_)));
    scene.done(Action::SetKey(name("a.example"), Box::new(key(1, 1))));
    let again = Action::SetKey(name("a.example"), Box::new(key(1, 2)));
    assert!(matches!(scene.rejected(again), Rejection::KeyExists { .. }));
    let other = scene.rejected(certificate("a.example", 2, None));
    assert!(matches!(other, Rejection::CertificateOfOtherKey { .. }));
    scene.done(certificate("a.example", 1, None));
    scene.done(Action::RemoveKey(name("a.example"), KeyFamily::Ec));
    assert!(scene.state.domain(&name("a.example")).unwrap().credentials.is_empty());
}

#[test]
fn a_domain_has_one_key_of_each_family_each_with_its_certificate() {
    let mut scene = Scene::founded();
    scene.domain("a.example", &[]);
    let rsa = DomainKey { family: KeyFamily::Rsa, ..key(1, 2) };
    scene.done(Action::SetKey(name("a.example"), Box::new(rsa.clone())));
    scene.done(Action::SetKey(name("a.example"), Box::new(key(1, 1))));
    let again = scene.rejected(Action::SetKey(name("a.example"), Box::new(rsa)));
    assert!(matches!(again, Rejection::KeyExists { family: KeyFamily::Rsa, .. }));
    scene.done(certificate("a.example", 2, Some(vec![ByteBuf::from(vec![4])])));
    let domain = scene.state.domain(&name("a.example")).unwrap().clone();
    let has: Vec<_> =
        domain.credentials.iter().map(|one| (one.key.family, one.certificate.is_some())).collect();
    assert_eq!(has, [(KeyFamily::Ec, false), (KeyFamily::Rsa, true)], "faster first");
    let none = scene.rejected(Action::RemoveCertificate(name("a.example"), KeyFamily::Ec));
    assert!(matches!(none, Rejection::CertificateMissing(_)));
    scene.done(Action::RemoveKey(name("a.example"), KeyFamily::Ec));
    let domain = scene.state.domain(&name("a.example")).unwrap();
    assert!(domain.credential(KeyFamily::Rsa).unwrap().certificate.is_some(), "the other stays");
}

#[test]
fn a_chain_is_stored_once_and_goes_with_its_last_user() {
    let mut scene = Scene::founded();
    let chain = vec![ByteBuf::from(vec![4; 100])];
    let fingerprint = Chain::fingerprint(&chain);
    let set = |text| Action::SetChain(name(text), KeyFamily::Ec, chain.clone());
    let remove = |text| Action::RemoveChain(name(text), KeyFamily::Ec);
    for text in ["a.example", "b.example"] {
        scene.domain(text, &[]);
        scene.done(Action::SetKey(name(text), Box::new(key(1, 1))));
        scene.done(set(text));
    }
    assert_eq!(scene.state.chain(&fingerprint).unwrap().uses, 2);
    scene.done(set("a.example"));
    assert_eq!(scene.state.chain(&fingerprint).unwrap().uses, 3, "set again: one more version");
    scene.done(remove("a.example"));
    scene.done(Action::DeleteDomain(name("b.example")));
    assert_eq!(scene.state.chain(&fingerprint).unwrap().uses, 2, "earlier versions send it");
    let back = scene.state.domain(&name("a.example")).unwrap().version;
    let back = Action::RollbackDomain(name("a.example"), Version(back.0 - 1));
    scene.done(back);
    let sends =
        |domain: &Domain| domain.credentials.iter().any(|one| one.chain == Some(fingerprint));
    assert!(sends(scene.state.domain(&name("a.example")).unwrap()));
    for _ in 0..=VERSIONS_KEPT {
        scene.done(remove("a.example"));
        scene.done(set("a.example"));
    }
    scene.done(remove("a.example"));
    let versions = scene.state.domain_versions(scene.state.domain(&name("a.example")).unwrap().id);
    let holding = versions.filter(|one| sends(one)).count();
    let uses = scene.state.chain(&fingerprint).unwrap().uses;
    assert_eq!(u64::try_from(holding).unwrap(), uses, "each version holds one use");
    scene.done(Action::DeleteDomain(name("a.example")));
    assert!(scene.state.chain(&fingerprint).is_none());
}

#[test]
fn a_chain_that_only_the_oldest_version_has_can_be_set_again() {
    let text = "a.example";
    let chain = vec![ByteBuf::from(vec![4; 100])];
    let fingerprint = Chain::fingerprint(&chain);
    let set = || Action::SetChain(name(text), KeyFamily::Ec, chain.clone());
    let remove = || Action::RemoveChain(name(text), KeyFamily::Ec);
    let oldest = |scene: &Scene| {
        let id = scene.state.domain(&name(text)).unwrap().id;
        scene.state.domain_versions(id).next().unwrap()
    };
    let sends = |domain: &Domain| domain.credentials.iter().any(|one| one.chain.is_some());
    for rolls_back in [false, true] {
        let mut scene = Scene::founded();
        scene.done(Action::SetLevel(1));
        scene.domain(text, &[]);
        scene.done(Action::SetKey(name(text), Box::new(key(1, 1))));
        scene.done(set());
        scene.done(remove());
        while !sends(&oldest(&scene))
            || scene.state.version_numbers(oldest(&scene).id).count() < VERSIONS_KEPT
        {
            scene.done(Action::SetDomain(SetDomain {
                name: name(text),
                mode: Some(PkiMode::Test),
                aliases: None,
                addresses: None,
            }));
        }
        assert_eq!(scene.state.chain(&fingerprint).unwrap().uses, 1, "the oldest version has it");
        scene.done(match rolls_back {
            true => Action::RollbackDomain(name(text), oldest(&scene).version),
            false => set(),
        });
        assert!(sends(scene.state.domain(&name(text)).unwrap()));
        assert_eq!(scene.state.chain(&fingerprint).unwrap().uses, 1, "{rolls_back}");
    }
}

#[test]
fn a_command_derived_from_what_has_changed_is_stale() {
    let mut scene = Scene::founded();
    let row = RowKey::Domain(name("a.example"));
    let mut first = scene.command(create("a.example", Vec::new()));
    first.expects = vec![scene.state.expectation(row.clone())];
    scene.apply(&first);
    let mut second = scene.command(Action::DeleteDomain(name("a.example")));
    second.expects = first.expects;
    assert_eq!(scene.apply(&second), Outcome::Rejected(Rejection::Stale(row.clone())));
    second.expects = vec![scene.state.expectation(row)];
    assert!(matches!(scene.apply(&second), Outcome::Done(_)));
}

#[test]
fn an_operation_is_done_once_and_forgotten_in_time() {
    let mut scene = Scene::founded();
    let command = scene.command(create("a.example", Vec::new()));
    let first = scene.apply(&command);
    assert_eq!(scene.apply(&command), first);
    assert_eq!(scene.state.domain(&name("a.example")).unwrap().version, Version(1));
    let mut other = command.clone();
    other.request = [1; 32];
    assert!(matches!(scene.apply(&other), Outcome::Rejected(Rejection::OperationReused(_))));
    let mut later = scene.command(create("b.example", Vec::new()));
    later.time = UnixMillis(crate::limits::OPERATION_AGE_MS_MAX + 1_000);
    scene.apply(&later);
    assert!(scene.state.operation(&OperationId::parse("op0").unwrap()).is_none());
}

#[test]
fn replaying_the_same_commands_gives_the_same_state_and_a_snapshot_of_it_reads_back() {
    let play = || {
        let mut scene = Scene::founded();
        for number in 0..50 {
            scene.domain(&format!("d{number}.example"), &[]);
        }
        scene.done(Action::DeleteDomain(name("d7.example")));
        scene.state
    };
    let (one, other) = (play(), play());
    assert_eq!(one.digest(), other.digest());
    let mut bytes = Vec::new();
    snapshot::write(&one, &mut bytes).unwrap();
    let read = snapshot::read(&mut bytes.as_slice()).unwrap();
    assert_eq!((read.digest(), read.row_count()), (one.digest(), one.row_count()));
    for place in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(snapshot::read(&mut damaged.as_slice()).is_err(), "byte {place}");
    }
    let listed: BTreeMap<_, _> =
        one.domains().map(|domain| (&domain.name, domain.version)).collect();
    assert_eq!(listed.len(), 49);
}
