//! Recovery after the loss of a quorum.

use super::*;
use crate::command::RedeemJoinToken;

impl Scene {
    /// Lets a node join by the rules of levels below 3.
    fn joined_early(&mut self, id: u64) {
        let made =
            Stamp { time: UnixMillis(0), principal: Principal::Socket { uid: 0 }, reason: None };
        let expires = UnixMillis(1_000_000);
        let token = JoinToken { secret: sealed(1), expires, used: None, made };
        let token_id = TokenId([u8::try_from(id).unwrap(); 8]);
        self.done(Action::CreateJoinToken(token_id, token));
        let wraps = vec![(Generation(1), ByteBuf::from(vec![9; 80]))];
        let redeem = RedeemJoinToken { token: token_id, member: member(id), wraps };
        self.done(Action::RedeemJoinToken(Box::new(redeem)));
        self.done(Action::SetMainDomain(NodeId(id), name(&format!("node-{id}.main"))));
    }
}

fn of_former(state: &State, id: u64) -> Vec<&RowKey> {
    let id = NodeId(id);
    let is_of = |key: &RowKey| {
        [RowKey::Member(id), RowKey::MainDomain(id), RowKey::MemberPlace(id)].contains(key)
            || *key == RowKey::Proof(ProofOf::Member(id))
    };
    state.rows().map(|(key, _)| key).filter(|key| is_of(key)).collect()
}

#[test]
fn only_the_survivor_stays_with_all_else_that_was_there() {
    for level in [0, 2, 3] {
        let mut scene = Scene::founded();
        scene.joined_early(2);
        scene.joined_early(3);
        if level > 0 {
            scene.done(Action::SetLevel(level));
        }
        let before = scene.state.clone();
        let (at, now) = (LogIndex(99), UnixMillis(5));
        let after = recovered(&before, NodeId(2), at, now).unwrap();
        assert!(after.members().map(|(id, _)| id.0).eq([2]), "level {level}");
        for former in [1, 3] {
            assert_eq!(of_former(&after, former), Vec::<&RowKey>::new(), "level {level}");
            let departed = after.departed_member(&NodeId(former));
            assert_eq!(departed.is_some(), level >= 3, "level {level}");
            assert!(departed.is_none_or(|one| (one.left, one.generation) == (now, Generation(1))));
        }
        for (_, keyring) in after.generations() {
            assert!(keyring.wraps.keys().eq([&NodeId(2)]), "level {level}");
        }
        assert_eq!(after.cluster(), before.cluster(), "its numbers are never given again");
        // What stays is as old as it was: rows without a proof are trusted for their age.
        for (key, row) in after.rows().filter(|(key, _)| !matches!(key, RowKey::DepartedMember(_)))
        {
            assert_eq!(row.changed_at, before.row(key).unwrap().changed_at, "{key:?}");
        }
        let mut bytes = Vec::new();
        snapshot::write(&after, &mut bytes).unwrap();
        assert_eq!(snapshot::read(&mut bytes.as_slice()).unwrap().digest(), after.digest());
        let again = recovered(&after, NodeId(2), at, now).unwrap();
        assert_eq!(again.digest(), after.digest(), "level {level}");
    }
}

#[test]
fn a_learner_that_survives_becomes_a_voter() {
    let mut scene = Scene::founded();
    scene.joined_early(2);
    let learner = Member { role: MemberRole::Learner, ..member(2) };
    let put =
        scene.state.put(RowKey::Member(NodeId(2)), Record::Member(learner.into()), LogIndex(4));
    put.unwrap();
    let after = recovered(&scene.state, NodeId(2), LogIndex(9), UnixMillis(0)).unwrap();
    assert_eq!(after.member(&NodeId(2)).unwrap().role, MemberRole::Voter);
    let gone = recovered(&scene.state, NodeId(7), LogIndex(9), UnixMillis(0));
    assert_eq!(gone.err(), Some(Rejection::MemberUnknown(NodeId(7))));
}
