use conclave_store::{
    command::FoundCluster,
    id::{ClusterId, ClusterName, Generation, LogIndex},
    machine,
    record::{Cluster, KeyringGeneration, Sealed},
    time::UnixMillis,
};

use super::*;

/// A State with one member, which has the identity key `identity` and the sealing key `[9; 32]`.
fn founded(identity: &[u8]) -> State {
    let authority_key =
        Sealed { generation: Generation(1), nonce: [0; 12], ciphertext: Vec::new() };
    let cluster = Cluster {
        id: ClusterId([1; 16]),
        name: ClusterName::parse("test").unwrap(),
        authority_der: Vec::new(),
        authority_key,
        generation: Generation(1),
        node_last: NodeId(1),
        founded: UnixMillis(0),
    };
    let member = Member {
        id: NodeId(1),
        name: NodeName::parse("n1").unwrap(),
        role: MemberRole::Voter,
        identity_der: identity.to_vec(),
        sealing_key: [9; 32],
        address: String::new(),
        joined: UnixMillis(0),
    };
    let wraps = [(NodeId(1), ByteBuf::new())].into_iter().collect();
    let keyring = KeyringGeneration { wraps, made: UnixMillis(0) };
    let found = FoundCluster { cluster, member, keyring };
    ordered(&State::default(), 1, Action::FoundCluster(Box::new(found)))
}

fn ordered(state: &State, index: u64, action: Action) -> State {
    let random = [u8::try_from(index).unwrap(); 10];
    let command = Command::by_node(NodeId(1), random, UnixMillis(0), action);
    let applied = machine::apply(state, LogIndex(index), &command);
    assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
    applied.state
}

fn request(identity: &[u8], sealing_key: [u8; 32], version: &str) -> JoinRequestV1 {
    JoinRequestV1 {
        token: TokenId([1; 8]),
        name: "n2".to_owned(),
        identity_der: identity.to_vec(),
        sealing_key,
        address: "192.0.2.2:7444".to_owned(),
        version: version.to_owned(),
    }
}

#[test]
fn a_node_joins_with_a_key_that_it_has() {
    let early = ordered(&founded(b"one"), 2, Action::SetLevel(2));
    let now = ordered(&early, 3, Action::SetLevel(3));
    let check = |state: &State, proved: Option<&[u8]>, version: &str| {
        let joiner = Joiner {
            exporter: [0; 32],
            remote: ([192, 0, 2, 2], 7444).into(),
            public_key_der: proved.map(<[u8]>::to_vec),
        };
        let checked = check_joiner(state, &joiner, &request(b"two", [2; 32], version));
        checked.err().map(|problem| problem.code)
    };
    assert_eq!(check(&now, Some(b"two"), "0.3.0"), None);
    assert_eq!(check(&now, Some(b"one"), "0.3.0"), Some(Code::JoinTokenInvalid), "another's key");
    assert_eq!(check(&now, None, "0.3.0"), Some(Code::JoinTokenInvalid));
    assert_eq!(check(&now, None, "0.2.1"), Some(Code::VersionTooOld));
    assert_eq!(check(&early, None, "0.2.1"), None, "a version that proves nothing");
    assert_eq!(check(&early, Some(b"one"), "0.3.0"), Some(Code::JoinTokenInvalid));
}

#[test]
fn a_node_with_the_keys_of_a_member_does_not_join() {
    let state = founded(b"one");
    let check = |identity: &[u8], sealing_key| {
        let checked = check_is_new(&state, &request(identity, sealing_key, "0.3.0"));
        checked.err().map(|problem| problem.code)
    };
    assert_eq!(check(b"two", [2; 32]), None);
    assert_eq!(check(b"one", [2; 32]), Some(Code::AlreadyMember));
    assert_eq!(check(b"two", [9; 32]), Some(Code::AlreadyMember));
}
