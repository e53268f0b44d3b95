//! Real nodes over QUIC on loopback, with a machine that counts.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use conclave_raft::{
    BoxFuture, Calls, Checkpoint, Committed, Entry, Identity, JoinError, Machine, MachineFault,
    NodeId, Options, Peers, ProposeError, Raft, Role, StartError, View, join_call,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// All payloads so far, kept in one file.
struct Journal {
    path: PathBuf,
    content: Content,
    checkpoint: Option<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Content(Arc<Mutex<Vec<Vec<u8>>>>);

impl Journal {
    fn open(path: PathBuf) -> Journal {
        let content = Content::default();
        let mut checkpoint = None;
        if let Ok(bytes) = std::fs::read(&path) {
            let length = usize::from(bytes[0]) * 256 + usize::from(bytes[1]);
            checkpoint = Some(bytes[2..2 + length].to_vec());
            *content.0.lock().unwrap() = parse(&bytes[2 + length..]);
        }
        Journal { path, content, checkpoint }
    }

    fn save(&mut self, checkpoint: &[u8]) {
        let length = u16::try_from(checkpoint.len()).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(checkpoint);
        self.content.write(&mut bytes).unwrap();
        std::fs::write(&self.path, bytes).unwrap();
        self.checkpoint = Some(checkpoint.to_vec());
    }
}

fn parse(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (payload, rest) = rest.split_at(usize::from(*length));
        all.push(payload.to_vec());
        bytes = rest;
    }
    all
}

impl View for Content {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for payload in self.0.lock().unwrap().iter() {
            out.write_all(&[u8::try_from(payload.len()).unwrap()])?;
            out.write_all(payload)?;
        }
        Ok(())
    }
}

impl Machine for Journal {
    fn checkpoint(&self) -> Checkpoint {
        let row_count = u64::try_from(self.content.0.lock().unwrap().len()).unwrap();
        Checkpoint { bytes: self.checkpoint.clone(), row_count, digest: [0; 32] }
    }

    fn apply(
        &mut self,
        entries: &[Entry],
        checkpoint: &[u8],
    ) -> Result<Vec<Vec<u8>>, MachineFault> {
        let mut answers = Vec::new();
        for payload in entries.iter().filter_map(|entry| entry.payload.clone()) {
            self.content.0.lock().unwrap().push(payload.clone());
            answers.push(payload);
        }
        self.save(checkpoint);
        Ok(answers)
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(Content(Arc::new(Mutex::new(self.content.0.lock().unwrap().clone()))))
    }

    fn install(&mut self, state: &mut dyn Read, checkpoint: &[u8]) -> Result<(), MachineFault> {
        let mut bytes = Vec::new();
        state.read_to_end(&mut bytes).map_err(|error| MachineFault(error.to_string()))?;
        *self.content.0.lock().unwrap() = parse(&bytes);
        self.save(checkpoint);
        Ok(())
    }
}

/// A cluster's authority and the keys of five nodes.
struct Pki {
    authority: rcgen::Certificate,
    keys: Vec<rcgen::KeyPair>,
    certificates: Vec<rcgen::Certificate>,
}

impl Pki {
    fn make() -> Arc<Pki> {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let keys: Vec<_> = (0..5).map(|_| rcgen::KeyPair::generate().unwrap()).collect();
        let certificate = |key: &rcgen::KeyPair| {
            let params = rcgen::CertificateParams::new(vec!["node.internal".to_owned()]).unwrap();
            params.signed_by(key, &issuer).unwrap()
        };
        let certificates = keys.iter().map(certificate).collect();
        Arc::new(Pki { authority, keys, certificates })
    }

    fn identity(&self, id: u64) -> Identity {
        let place = usize::try_from(id).unwrap() - 1;
        Identity {
            id: NodeId(id),
            cluster: [9; 16],
            certificate_der: self.certificates[place].der().to_vec(),
            private_key_der: self.keys[place].serialize_der(),
            authority_der: self.authority.der().to_vec(),
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.authority.der());
        digest.as_ref().try_into().unwrap()
    }
}

/// Nodes 1 to 3 are members, by the keys of one [`Pki`].
struct Members(Arc<Pki>);

impl Peers for Members {
    fn identify(&self, public_key_der: &[u8]) -> Option<NodeId> {
        use rcgen::PublicKeyData;
        let place = self.0.keys[..3]
            .iter()
            .position(|key| key.subject_public_key_info() == public_key_der)?;
        Some(NodeId(u64::try_from(place).unwrap() + 1))
    }
}

struct Echo;

impl Calls for Echo {
    fn call(&self, from: NodeId, mut request: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        request.push(u8::try_from(from.0).unwrap());
        Box::pin(async move { request })
    }

    fn join(
        &self,
        exporter: [u8; 32],
        _: SocketAddr,
        request: Vec<u8>,
    ) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async move { if request == exporter { b"welcome".to_vec() } else { Vec::new() } })
    }
}

struct Node {
    raft: Raft,
    content: Content,
}

/// Starts a node; the socket of its predecessor may take a moment to close.
async fn start(dir: &Path, pki: &Arc<Pki>, id: u64, bind: SocketAddr) -> Result<Node, StartError> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let members = Arc::new(Members(Arc::clone(pki)));
        match start_with(dir, pki, id, bind, members).await {
            Err(StartError::Network { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            started => return started,
        }
    }
}

async fn start_with(
    dir: &Path,
    pki: &Arc<Pki>,
    id: u64,
    bind: SocketAddr,
    peers: Arc<dyn Peers>,
) -> Result<Node, StartError> {
    let dir = dir.join(id.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    let journal = Journal::open(dir.join("journal"));
    let content = journal.content.clone();
    let options = Options {
        dir: dir.join("raft"),
        bind,
        identity: pki.identity(id),
        incarnation: id,
        election_timeout: Duration::from_millis(300),
        snapshot_every: 50,
        keep_log: 10,
    };
    let raft = Raft::start(options, Box::new(journal), peers, Arc::new(Echo)).await?;
    Ok(Node { raft, content })
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn three(dir: &Path, pki: &Arc<Pki>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(start(dir, pki, id, ANY).await.unwrap());
    }
    let address = |node: &Node| node.raft.local_address().unwrap().to_string();
    nodes[0].raft.initialize(&address(&nodes[0])).await.unwrap();
    leader(&nodes[..1]).await;
    // The next change of the members waits for the first to be committed.
    assert!(nodes[0].raft.wait_applied(1, DEADLINE).await);
    for (place, node) in nodes.iter().enumerate().skip(1) {
        let id = NodeId(u64::try_from(place).unwrap() + 1);
        nodes[0].raft.add_learner(id, &address(node)).await.unwrap();
        nodes[0].raft.promote(id).await.unwrap();
    }
    nodes
}

/// The one of `nodes` that leads.
async fn leader(nodes: &[Node]) -> &Node {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(leader) = nodes.iter().find(|node| node.raft.status().role == Role::Leader) {
            return leader;
        }
        assert!(tokio::time::Instant::now() < deadline, "no leader");
        nodes[0].raft.wait_status(|_| false, Duration::from_millis(20)).await;
    }
}

async fn propose(nodes: &[Node], payload: &str) -> Committed {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let leader = leader(nodes).await;
        match leader.raft.propose(payload.as_bytes().to_vec()).await {
            Ok(committed) => return committed,
            Err(ProposeError::NotLeader { .. }) => assert!(tokio::time::Instant::now() < deadline),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn assert_same(nodes: &[Node], index: u64) {
    for node in nodes {
        assert!(node.raft.wait_applied(index, DEADLINE).await, "{:?}", node.raft.status());
        let content = node.content.0.lock().unwrap().clone();
        assert_eq!(content, nodes[0].content.0.lock().unwrap().clone());
    }
}

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
async fn a_joining_node_talks_to_the_right_cluster_only() {
    let dir = tempfile::tempdir().unwrap();
    let (pki, foreign) = (Pki::make(), Pki::make());
    let node = start(dir.path(), &pki, 1, ANY).await.unwrap();
    let address = node.raft.local_address().unwrap();
    let answer = join_call(address, pki.fingerprint(), |exporter| exporter.to_vec(), DEADLINE)
        .await
        .unwrap();
    assert_eq!(answer, b"welcome", "both ends have the same exporter");
    let told = Arc::new(Mutex::new(false));
    let tell = Arc::clone(&told);
    let build = move |_| {
        *tell.lock().unwrap() = true;
        Vec::new()
    };
    let refused = join_call(address, foreign.fingerprint(), build, DEADLINE).await.unwrap_err();
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
    let raft = dir.path().join("1/raft");
    let marker = std::fs::read(raft.join("marker")).unwrap();

    std::fs::remove_file(raft.join("marker")).unwrap();
    let refused = start(dir.path(), &pki, 1, ANY).await.err().unwrap().to_string();
    assert!(refused.contains("no marker"), "{refused}");
    std::fs::write(raft.join("marker"), &marker).unwrap();

    std::fs::rename(raft.join("log"), raft.join("elsewhere")).unwrap();
    let refused = start(dir.path(), &pki, 1, ANY).await.err().unwrap().to_string();
    assert!(refused.contains("there is no log"), "{refused}");
    std::fs::remove_dir_all(raft.join("log")).unwrap();
    std::fs::rename(raft.join("elsewhere"), raft.join("log")).unwrap();

    let journal = std::fs::read(dir.path().join("1/journal")).unwrap();
    std::fs::remove_file(dir.path().join("1/journal")).unwrap();
    let refused = start(dir.path(), &pki, 1, ANY).await.err().unwrap().to_string();
    assert!(refused.contains("state was durable"), "{refused}");
    std::fs::write(dir.path().join("1/journal"), journal).unwrap();

    let started = start(dir.path(), &pki, 1, ANY).await;
    assert!(started.is_ok(), "untouched, it starts: {:?}", started.err());
}
