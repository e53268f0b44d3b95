//! Real nodes over QUIC on loopback: writes, restarts, isolation, strangers, joins, damage.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "harness/nodes.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod nodes;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use conclave_raft::{JoinError, NodeId, ProposeError, Role, join_call};
use nodes::{
    ANY, DEADLINE, EXPORTER, Members, Pki, assert_same, leader, propose, start, start_with, three,
};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_write_survive_their_leader_and_catch_up_by_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let mut nodes = three(dir.path(), &pki).await;
    let done = propose(&nodes, "one").await;
    assert_eq!(done.response, b"one");
    assert_same(&nodes, done.index).await;

    let follower = nodes.iter().find(|node| node.raft.status().role != Role::Leader).unwrap();
    let refused = follower.raft.propose(b"x".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { leader: Some(_) }), "{refused}");
    let asked = nodes[0].raft.call(NodeId(2), vec![7], DEADLINE).await.unwrap();
    assert_eq!(asked, [7, 1], "the callee knows who called");
    let id = follower.raft.status().id;
    let other = NodeId(if id.0 == 3 { 2 } else { 3 });
    let asked = follower.raft.call(other, vec![7], DEADLINE).await.unwrap();
    assert_eq!(u64::from(asked[1]), id.0, "a follower reaches every other member");

    let gone = leader(&nodes).await.raft.status().id;
    let place = usize::try_from(gone.0).unwrap() - 1;
    let stopped = nodes.remove(place);
    let address = stopped.raft.local_address().unwrap();
    stopped.raft.shutdown().await.unwrap();
    drop(stopped);
    let mut last = 0;
    for number in 0..200 {
        last = propose(&nodes, &format!("while away {number}")).await.index;
    }
    let purged = |status: &conclave_raft::Status| status.purged > 100;
    leader(&nodes).await.raft.wait_status(purged, DEADLINE).await.expect("the log is purged");

    nodes.push(start(dir.path(), &pki, gone.0, address).await.unwrap());
    assert_same(&nodes, last).await;
    assert!(nodes[2].raft.status().snapshot > 100, "it came by snapshot");
    let read = leader(&nodes).await.raft.read_index().await.unwrap();
    assert!(read >= last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_nodes_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let nodes = three(dir.path(), &pki).await;
    let mut index = 0;
    for number in 0..120 {
        index = propose(&nodes, &number.to_string()).await.index;
    }
    assert_same(&nodes, index).await;
    let addresses: Vec<_> = nodes.iter().map(|node| node.raft.local_address().unwrap()).collect();
    let term = nodes[0].raft.status().term;
    for node in &nodes {
        node.raft.shutdown().await.unwrap();
    }
    drop(nodes);
    let mut nodes = Vec::new();
    for (place, address) in addresses.into_iter().enumerate() {
        let id = u64::try_from(place).unwrap() + 1;
        nodes.push(start(dir.path(), &pki, id, address).await.unwrap());
    }
    let index = propose(&nodes, "after").await.index;
    assert_same(&nodes, index).await;
    // A leader that took its old term up again could have lost entries that others have.
    assert!(leader(&nodes).await.raft.status().term > term, "led again without an election");
    assert_eq!(nodes[0].content.0.lock().unwrap().len(), 121);
}

/// Keeps proposing at the leader; ends when a proposal is not answered with its place.
async fn propose_until_refused(raft: conclave_raft::Raft, writer: u32) -> (Vec<u8>, ProposeError) {
    for number in 0.. {
        let payload = format!("{writer}.{number}").into_bytes();
        if let Err(error) = raft.propose(payload.clone()).await {
            return (payload, error);
        }
    }
    unreachable!("a leader that stops refuses")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_under_load_never_says_not_done_of_what_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let mut nodes = three(dir.path(), &pki).await;
    propose(&nodes, "one").await;
    let id = leader(&nodes).await.raft.status().id;
    let stopped = nodes.remove(usize::try_from(id.0).unwrap() - 1);
    let writers: Vec<_> = (0..16)
        .map(|writer| tokio::spawn(propose_until_refused(stopped.raft.clone(), writer)))
        .collect();
    assert!(stopped.raft.wait_applied(200, DEADLINE).await);
    stopped.raft.shutdown().await.unwrap();
    let last = propose(&nodes, "after").await.index;
    assert_same(&nodes, last).await;
    let done = nodes[0].content.0.lock().unwrap().clone();
    for writer in writers {
        let (payload, error) = writer.await.unwrap();
        let is_unknown = matches!(error, ProposeError::Unknown(_));
        assert!(is_unknown || !done.contains(&payload), "{error}: {payload:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_hands_over_without_an_election_timeout_and_loses_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let nodes = three(dir.path(), &pki).await;
    let last = propose(&nodes, "one").await.index;
    assert_same(&nodes, last).await;
    let old = leader(&nodes).await;
    let next = nodes.iter().find(|node| node.raft.status().role != Role::Leader).unwrap();
    let (from, to) = (old.raft.status().id, next.raft.status().id);
    let handover = old.raft.hand_over(to).await.expect("it leads");
    let refused = old.raft.propose(b"x".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { .. }), "{refused}");
    assert!(next.raft.take_over(handover).await);
    let is_led = |status: &conclave_raft::Status| status.leader == Some(to);
    assert!(old.raft.wait_status(is_led, DEADLINE).await.is_some(), "{from} still leads");
    assert!(!next.raft.take_over(handover).await, "a handover counts in its term only");
    assert!(old.raft.hand_over(to).await.is_none(), "only a leader hands over");
    propose(&nodes, "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_leader_gives_no_linearizable_read() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let mut nodes = three(dir.path(), &pki).await;
    propose(&nodes, "one").await;
    let id = leader(&nodes).await.raft.status().id;
    let leader = nodes.remove(usize::try_from(id.0).unwrap() - 1);
    for other in &nodes {
        other.raft.shutdown().await.unwrap();
    }
    let read = tokio::time::timeout(Duration::from_secs(3), leader.raft.read_index()).await;
    assert!(!matches!(read, Ok(Ok(_))), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_is_no_member() {
    let dir = tempfile::tempdir().unwrap();
    let (pki, foreign) = (Pki::make(), Pki::make());
    let nodes = three(dir.path(), &pki).await;
    // It believes that the members are its peers, claims to be node 2, and has another key.
    let other = dir.path().join("foreign");
    let both = Arc::new(Members(Arc::clone(&pki)));
    let stranger = start_with(&other, &foreign, 2, ANY, both).await.unwrap();
    let address = stranger.raft.local_address().unwrap().to_string();
    stranger.raft.initialize(&address).await.unwrap();
    let target = nodes[0].raft.local_address().unwrap().to_string();
    let _ = stranger.raft.add_learner(NodeId(1), &target).await;
    let asked = stranger.raft.call(NodeId(1), vec![1], Duration::from_secs(3)).await;
    assert!(asked.is_err(), "{asked:?}");
    assert_eq!(nodes[0].raft.call(NodeId(2), vec![1], DEADLINE).await.unwrap(), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_a_member_can_be_bound_to_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path(), &Pki::make()).await;
    let seen = Mutex::new(Vec::new());
    for (caller, callee) in [(0, 2), (0, 2), (0, 3), (1, 1)] {
        let build = |exporter: [u8; 32]| {
            seen.lock().unwrap().push(exporter);
            EXPORTER.to_vec()
        };
        let got = nodes[caller].raft.call_bound(NodeId(callee), build, DEADLINE).await.unwrap();
        let told = *seen.lock().unwrap().last().unwrap();
        assert_eq!(got, told, "both ends have the same");
        assert_ne!(told, [0; 32]);
    }
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen[0], seen[1], "one connection");
    assert!(
        seen[1] != seen[2] && seen[2] != seen[3] && seen[3] != seen[0],
        "different connections"
    );
}

/// The node above may hold its own threads up: Raft has others.
#[test]
fn raft_goes_on_while_the_runtime_that_started_it_stands_still() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let starting = runtime();
    let nodes = starting.block_on(three(dir.path(), &pki));
    // Nothing runs on `starting` from here on.
    runtime().block_on(async {
        let done = propose(&nodes, "from elsewhere").await;
        assert_same(&nodes, done.index).await;
        let read = leader(&nodes).await.raft.read_index().await.unwrap();
        assert!(read >= done.index);
        drop(nodes);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joining_node_talks_to_the_right_cluster_only() {
    let dir = tempfile::tempdir().unwrap();
    let (pki, foreign) = (Pki::make(), Pki::make());
    let node = start(dir.path(), &pki, 1, ANY).await.unwrap();
    let address = node.raft.local_address().unwrap();
    let options = pki.join_options(4);
    // Nobody is at the first address. The second one is tried in time.
    let addresses = [SocketAddr::from(([127, 0, 0, 1], 1)), address];
    let joined = join_call(&addresses, &options, |exporter| exporter.to_vec()).await.unwrap();
    assert_eq!(joined.answer, pki.public_key(4), "both ends have the same exporter");
    assert_eq!((joined.address, joined.public_key_der), (address, pki.public_key(1)));
    let told = Arc::new(Mutex::new(false));
    let tell = Arc::clone(&told);
    let build = move |_| {
        *tell.lock().unwrap() = true;
        Vec::new()
    };
    let refused = join_call(&[address], &foreign.join_options(4), build).await.unwrap_err();
    assert!(matches!(refused, JoinError::OtherCluster { .. }), "{refused}");
    assert!(!*told.lock().unwrap(), "nothing is told to another cluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_entries_or_its_marker_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::make();
    let node = start(dir.path(), &pki, 1, ANY).await.unwrap();
    node.raft.initialize(&node.raft.local_address().unwrap().to_string()).await.unwrap();
    let nodes = [node];
    for number in 0..20 {
        propose(&nodes, &number.to_string()).await;
    }
    nodes[0].raft.shutdown().await.unwrap();
    drop(nodes);
    let log = dir.path().join("1/raft/segments");
    let refused = async || start(dir.path(), &pki, 1, ANY).await.err().unwrap().to_string();
    let away = log.join("elsewhere");

    std::fs::rename(log.join("marker"), &away).unwrap();
    let told = refused().await;
    assert!(told.contains("no marker"), "{told}");
    std::fs::rename(&away, log.join("marker")).unwrap();

    std::fs::rename(log.join("000000000001.seg"), &away).unwrap();
    let told = refused().await;
    assert!(told.contains("was durable"), "{told}");
    std::fs::rename(&away, log.join("000000000001.seg")).unwrap();

    let whole = std::fs::read(log.join("000000000001.seg")).unwrap();
    let mut damaged = whole.clone();
    damaged[3 * 4096 + 46] ^= 1;
    std::fs::write(log.join("000000000001.seg"), damaged).unwrap();
    let told = refused().await;
    assert!(told.contains("000000000001.seg") && told.contains("damaged"), "{told}");
    std::fs::write(log.join("000000000001.seg"), whole).unwrap();

    let started = start(dir.path(), &pki, 1, ANY).await;
    assert!(started.is_ok(), "untouched, it starts: {:?}", started.err());
}
