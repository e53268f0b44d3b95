//! Members and generations of the keyring from level 3 on.

use super::*;
use crate::command::{Join, RemoveMember, Reseal, Resealed, SetMember, TurnKeyring};

fn proof(generation: u64) -> Proof {
    Proof { generation: Generation(generation), mac: [4; 32] }
}

fn turn(generation: u64, members: &[u64]) -> TurnKeyring {
    TurnKeyring {
        rotate: RotateKeyring {
            generation: Generation(generation),
            keyring: keyring(members),
            authority_key: sealed(generation),
        },
        proof: proof(generation - 1),
        members: members.iter().map(|id| (NodeId(*id), proof(generation))).collect(),
    }
}

fn own_keys(id: u64) -> Member {
    Member { sealing_key: [u8::try_from(id).unwrap() + 100; 32], ..member(id) }
}

fn join(id: u64, generations: &[u64], replaces: Option<RemoveMember>) -> Join {
    let wrap = |generation: &u64| (Generation(*generation), ByteBuf::from(vec![9; 80]));
    Join {
        token: TokenId([u8::try_from(id).unwrap(); 8]),
        member: own_keys(id),
        place: MemberPlace { zone: "rack-1".to_owned() },
        wraps: generations.iter().map(wrap).collect(),
        proof: proof(*generations.last().unwrap()),
        replaces,
    }
}

impl Scene {
    fn at_level_three() -> Scene {
        let mut scene = Scene::founded();
        scene.done(Action::SetLevel(3));
        scene
    }

    fn token(&mut self, id: u64) {
        let generation = self.state.cluster().unwrap().generation.0;
        let made =
            Stamp { time: UnixMillis(0), principal: Principal::Socket { uid: 0 }, reason: None };
        let expires = UnixMillis(1_000_000);
        let token = JoinToken { secret: sealed(generation), expires, used: None, made };
        self.done(Action::CreateJoinToken(TokenId([u8::try_from(id).unwrap(); 8]), token));
    }

    fn joined(&mut self, id: u64) {
        self.token(id);
        let generations: Vec<u64> = self.state.generations().map(|(id, _)| id.0).collect();
        self.done(Action::Join(Box::new(join(id, &generations, None))));
    }

    fn names(&self) -> Vec<String> {
        self.state.members().map(|(_, member)| member.name.to_string()).collect()
    }
}

#[test]
fn without_a_proof_nothing_decides_who_opens_secrets() {
    let mut scene = Scene::founded();
    assert!(matches!(
        scene.rejected(Action::TurnKeyring(Box::new(turn(2, &[1])))),
        Rejection::LevelUnknown { level: 3, .. }
    ));
    scene.done(Action::SetLevel(3));
    let rotate = turn(2, &[1]).rotate;
    let old = scene.rejected(Action::RotateKeyring(Box::new(rotate)));
    assert_eq!(old, Rejection::Stale(RowKey::Level), "admission makes the new form");
    assert!(scene.state.is_older_than_proofs(&RowKey::Member(NodeId(1))));
    scene.joined(2);
    assert!(!scene.state.is_older_than_proofs(&RowKey::Member(NodeId(2))));
    assert_eq!(scene.state.proof(ProofOf::Member(NodeId(2))), Some(proof(1)));
    scene.done(Action::TurnKeyring(Box::new(turn(2, &[1, 2]))));
    assert_eq!(scene.state.proof(ProofOf::Member(NodeId(1))), Some(proof(2)));
    assert_eq!(scene.state.proof(ProofOf::Generation(Generation(2))), Some(proof(1)));
    let partial = scene.rejected(Action::TurnKeyring(Box::new(turn(3, &[1]))));
    assert_eq!(partial, Rejection::WrapsMismatch);
}

#[test]
fn a_member_leaves_with_all_its_rows_and_gets_no_later_generation() {
    let mut scene = Scene::at_level_three();
    scene.joined(2);
    scene.done(Action::SetMainDomain(NodeId(2), name("main.example")));
    let remove = |id, generation, rest: &[u64]| {
        Action::RemoveMember(Box::new(RemoveMember {
            id: NodeId(id),
            turn: turn(generation, rest),
        }))
    };
    assert_eq!(scene.rejected(remove(7, 2, &[1, 2])), Rejection::MemberUnknown(NodeId(7)));
    scene.done(remove(2, 2, &[1]));
    assert_eq!(scene.names(), ["node-1"]);
    assert!(scene.state.generations().all(|(_, keyring)| !keyring.wraps.contains_key(&NodeId(2))));
    let about = |key: &RowKey| {
        matches!(key, RowKey::MainDomain(NodeId(2)) | RowKey::MemberPlace(NodeId(2)))
            || *key == RowKey::Proof(ProofOf::Member(NodeId(2)))
    };
    assert!(!scene.state.rows().any(|(key, _)| about(key)));
    let departed = scene.state.departed_member(&NodeId(2)).unwrap();
    assert_eq!((departed.name.as_str(), departed.generation), ("node-2", Generation(1)));
    let last = scene.rejected(remove(1, 3, &[]));
    assert!(matches!(last, Rejection::LastVoter(_)), "{last}");
    // Its number is never given again.
    scene.joined(3);
    assert_eq!(scene.names(), ["node-1", "node-3"]);
}

#[test]
fn a_new_machine_takes_the_name_of_a_lost_one_in_one_step() {
    let mut scene = Scene::at_level_three();
    scene.joined(2);
    scene.token(3);
    let mut replace = join(3, &[1, 2], None);
    replace.member.name = NodeName::parse("node-2").unwrap();
    let beside = Join { wraps: join(3, &[1], None).wraps, ..replace.clone() };
    let taken = scene.rejected(Action::Join(Box::new(beside)));
    assert!(matches!(taken, Rejection::NodeNameTaken(_)), "{taken}");
    replace.replaces = Some(RemoveMember { id: NodeId(2), turn: turn(2, &[1]) });
    let again = replace.clone();
    scene.done(Action::Join(Box::new(replace)));
    assert_eq!(scene.names(), ["node-1", "node-2"]);
    assert!(scene.state.member(&NodeId(3)).is_some() && scene.state.member(&NodeId(2)).is_none());
    // A retry of the same node gets the same answer.
    assert_eq!(scene.done(Action::Join(Box::new(again))), Done::Member { id: NodeId(3) });
    scene.token(4);
    let mut twin = join(4, &[1, 2], None);
    twin.member.identity_der = own_keys(3).identity_der;
    let twin = scene.rejected(Action::Join(Box::new(twin)));
    assert!(matches!(twin, Rejection::NodeKeyTaken(_)), "{twin}");
}

#[test]
fn members_move_and_change_their_role() {
    let mut scene = Scene::at_level_three();
    scene.joined(2);
    let set = |id, address: Option<&str>, role| {
        let address = address.map(str::to_owned);
        Action::SetMember(Box::new(SetMember { id: NodeId(id), address, role, place: None }))
    };
    scene.done(set(2, Some("10.0.0.2:7444"), Some(MemberRole::Learner)));
    let moved = scene.state.member(&NodeId(2)).unwrap();
    assert_eq!((moved.address.as_str(), moved.role), ("10.0.0.2:7444", MemberRole::Learner));
    let unproven = scene.rejected(set(1, Some("10.0.0.1:7444"), None));
    assert_eq!(unproven, Rejection::Stale(RowKey::Proof(ProofOf::Member(NodeId(1)))));
    let last = scene.rejected(set(1, None, Some(MemberRole::Learner)));
    assert!(matches!(last, Rejection::LastVoter(_)), "{last}");
    assert!(matches!(
        scene.rejected(set(2, Some(&"a".repeat(300)), None)),
        Rejection::TooMany { .. }
    ));
}

#[test]
fn secrets_move_to_the_current_generation_and_the_old_one_leaves() {
    let mut scene = Scene::at_level_three();
    let id = DomainId([5; 16]);
    let shop = name("shop.example");
    scene.done(Action::CreateDomain(CreateDomain {
        id,
        name: shop.clone(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        mode: PkiMode::Test,
    }));
    let key = DomainKey {
        family: KeyFamily::Ec,
        algorithm: "EC P-256".to_owned(),
        public_key_der: vec![1],
        public_key: Fingerprint([1; 32]),
        sealed: sealed(1),
        assigned: UnixMillis(0),
    };
    scene.done(Action::SetKey(shop.clone(), Box::new(key)));
    let set = SetDomain {
        name: shop.clone(),
        mode: Some(PkiMode::Disabled),
        aliases: None,
        addresses: None,
    };
    scene.done(Action::SetDomain(set));
    let times = [UnixMillis(1), UnixMillis(u64::MAX)];
    let key = |generation| SessionKey {
        sealed: sealed(generation),
        made: times[0],
        active: None,
        not_after: times[1],
        expires: times[1],
    };
    let ids = [SessionKeyId([1; 8]), SessionKeyId([2; 8])];
    scene.done(Action::PublishSessionKey(SessionKeyUse::Ticket, ids[0], key(1)));
    scene.done(Action::TurnKeyring(Box::new(turn(2, &[1]))));
    scene.done(Action::PublishSessionKey(SessionKeyUse::Ticket, ids[1], key(2)));
    let in_use = scene.rejected(Action::DropGenerations(Generation(2)));
    assert_eq!(in_use, Rejection::GenerationInUse(Generation(1)));
    let before = scene.state.domain(&shop).unwrap().clone();
    let rows = |state: &State| -> Vec<Resealed> {
        let old = |record: &Record| record.oldest_generation() == Some(Generation(1));
        let rows = state.rows().filter(|(_, row)| old(&row.record));
        rows.map(|(key, row)| {
            let secrets = row.record.sealed().iter().map(|_| sealed(2)).collect();
            Resealed { key: key.clone(), changed_at: row.changed_at, secrets }
        })
        .collect()
    };
    let found = rows(&scene.state);
    assert_eq!(scene.state.rows_before_generation(Generation(2)).0, 2, "the domain, a version");
    // What has changed since, and what has another number of secrets, is left as it is.
    let mut wrong = found.clone();
    wrong[0].changed_at = LogIndex(1);
    wrong[1].secrets.push(sealed(2));
    scene.done(Action::Reseal(Box::new(Reseal { secrets: wrong, proofs: Vec::new() })));
    assert_eq!(rows(&scene.state), found);
    scene.done(Action::Reseal(Box::new(Reseal { secrets: found, proofs: Vec::new() })));
    assert_eq!(scene.state.rows_before_generation(Generation(2)), (0, None));
    let after = scene.state.domain(&shop).unwrap();
    assert_eq!((after.version, &after.changed), (before.version, &before.changed), "no version");
    scene.done(Action::DropGenerations(Generation(2)));
    assert_eq!(scene.state.generations().count(), 1);
    // A removed node may know the session keys of its time.
    let left = scene.state.session_keys(SessionKeyUse::Ticket).map(|(id, _)| id);
    assert_eq!(left.collect::<Vec<_>>(), [ids[1]]);
    let back = Action::RollbackDomain(shop.clone(), Version(2));
    scene.done(back);
    assert_eq!(scene.state.rows_before_generation(Generation(2)), (0, None), "also its versions");
}

#[test]
fn a_backup_is_restored_into_a_cluster_without_domains_only() {
    let mut scene = Scene::at_level_three();
    let listener = |state: &State| state.listeners().count();
    let row = || {
        let settings = Record::TlsSettings(TlsSettings::default().into());
        Action::RestoreRows(vec![(RowKey::TlsSettings, settings)])
    };
    assert_eq!(scene.rejected(row()), Rejection::NotRestoring);
    scene.done(Action::BeginRestore);
    scene.done(row());
    let foreign = Record::Member(member(1).into());
    let foreign = Action::RestoreRows(vec![(RowKey::Member(NodeId(1)), foreign)]);
    assert_eq!(scene.rejected(foreign), Rejection::NotRestoring, "another cluster's member");
    scene.done(Action::FinishRestore);
    assert!(!scene.state.is_restoring() && listener(&scene.state) == 0);
    assert_eq!(scene.rejected(Action::FinishRestore), Rejection::NotRestoring);
    let note = |index| LastBackup { time: UnixMillis(1), index: LogIndex(index), node: NodeId(1) };
    scene.done(Action::NoteBackup(note(9)));
    scene.done(Action::NoteBackup(note(5)));
    assert_eq!(scene.state.last_backup(), Some(note(9)), "the latest is kept");
}
