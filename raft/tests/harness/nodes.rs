//! Real nodes over QUIC on loopback, with a machine that counts.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_raft::{
    BoxFuture, Calls, Committed, Entry, Identity, JoinOptions, Joiner, Machine, MachineFault,
    NodeId, Options, OwnAddress, Peers, ProposeError, Raft, Retention, Role, Staged, Stager,
    StartError, View,
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// All payloads so far; kept in one file, which is written now and then.
struct Journal {
    path: PathBuf,
    content: Content,
    checkpoint: Option<Vec<u8>>,
    persisted: Arc<AtomicU64>,
}

/// A file is written after so many entries: what is behind it comes from the log.
const SAVED_EVERY: u64 = 7;

#[derive(Clone, Default)]
pub(crate) struct Content(pub(crate) Arc<Mutex<Vec<Vec<u8>>>>);

impl Journal {
    fn open(path: PathBuf) -> Journal {
        let content = Content::default();
        let (mut checkpoint, persisted) = (None, Arc::new(AtomicU64::new(0)));
        if let Ok(bytes) = std::fs::read(&path) {
            let (index, bytes) = bytes.split_first_chunk::<8>().unwrap();
            persisted.store(u64::from_be_bytes(*index), Ordering::Release);
            let length = usize::from(bytes[0]) * 256 + usize::from(bytes[1]);
            checkpoint = Some(bytes[2..2 + length].to_vec());
            *content.0.lock().unwrap() = parse(&bytes[2 + length..]);
        }
        Journal { path, content, checkpoint, persisted }
    }

    fn save(&mut self, index: u64, checkpoint: &[u8]) {
        let mut bytes = index.to_be_bytes().to_vec();
        let length = u16::try_from(checkpoint.len()).unwrap();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(checkpoint);
        self.content.write(&mut bytes).unwrap();
        let new = self.path.with_extension("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(new, &self.path).unwrap();
        self.checkpoint = Some(checkpoint.to_vec());
        self.persisted.store(index, Ordering::Release);
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
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.checkpoint.clone()
    }

    fn persisted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.persisted)
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
        let index = entries.last().map_or(0, |entry| entry.position.index);
        if index >= self.persisted.load(Ordering::Acquire) + SAVED_EVERY {
            self.save(index, checkpoint);
        }
        Ok(answers)
    }

    fn replayed(&mut self) {}

    fn view(&self) -> Box<dyn View> {
        Box::new(Content(Arc::new(Mutex::new(self.content.0.lock().unwrap().clone()))))
    }

    fn stager(&self) -> Arc<dyn Stager> {
        Arc::new(Receiving)
    }

    fn install(&mut self, staged: Staged) -> Result<(), MachineFault> {
        let staged = staged.downcast::<(u64, Vec<u8>, Vec<Vec<u8>>)>();
        let (index, checkpoint, payloads) =
            *staged.map_err(|_| MachineFault("staged elsewhere".to_owned()))?;
        *self.content.0.lock().unwrap() = payloads;
        self.save(index, &checkpoint);
        Ok(())
    }
}

struct Receiving;

impl Stager for Receiving {
    fn stage(
        &self,
        state: &mut dyn Read,
        checkpoint: &[u8],
        index: u64,
    ) -> Result<Staged, MachineFault> {
        let mut bytes = Vec::new();
        state.read_to_end(&mut bytes).map_err(|error| MachineFault(error.to_string()))?;
        Ok(Box::new((index, checkpoint.to_vec(), parse(&bytes))))
    }
}

/// A cluster's authority and the keys of five nodes.
pub(crate) struct Pki {
    authority: rcgen::Certificate,
    keys: Vec<rcgen::KeyPair>,
    certificates: Vec<rcgen::Certificate>,
}

impl Pki {
    pub(crate) fn make() -> Arc<Pki> {
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

    /// Settings of a join by the node with this number.
    pub(crate) fn join_options(&self, id: u64) -> JoinOptions {
        let place = usize::try_from(id).unwrap() - 1;
        let key = &self.keys[place];
        let params = rcgen::CertificateParams::new(vec!["joining.internal".to_owned()]).unwrap();
        JoinOptions {
            authority: self.fingerprint(),
            certificate_der: params.self_signed(key).unwrap().der().to_vec(),
            private_key_der: key.serialize_der(),
            timeout: DEADLINE,
        }
    }

    /// The public key of a node.
    pub(crate) fn public_key(&self, id: u64) -> Vec<u8> {
        use rcgen::PublicKeyData;
        self.keys[usize::try_from(id).unwrap() - 1].subject_public_key_info()
    }

    /// The certificate of a node.
    pub(crate) fn certificate(&self, id: u64) -> &[u8] {
        self.certificates[usize::try_from(id).unwrap() - 1].der()
    }

    pub(crate) fn identity(&self, id: u64) -> Identity {
        let place = usize::try_from(id).unwrap() - 1;
        Identity {
            id: NodeId(id),
            cluster: [9; 16],
            certificate_der: self.certificates[place].der().to_vec(),
            private_key_der: self.keys[place].serialize_der(),
            authority_der: self.authority.der().to_vec(),
            earlier_der: Vec::new(),
        }
    }

    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.authority.der());
        digest.as_ref().try_into().unwrap()
    }
}

/// Nodes 1 to 3 are members, by the keys of one [`Pki`].
pub(crate) struct Members(pub(crate) Arc<Pki>);

impl Peers for Members {
    fn identify(&self, public_key_der: &[u8]) -> Option<NodeId> {
        use rcgen::PublicKeyData;
        let place = self.0.keys[..3]
            .iter()
            .position(|key| key.subject_public_key_info() == public_key_der)?;
        Some(NodeId(u64::try_from(place).unwrap() + 1))
    }

    fn was_removed(&self, _: &[u8]) -> bool {
        false
    }
}

/// The same, without one that was removed meanwhile; 0 for none.
pub(crate) struct WithoutOne {
    pub(crate) pki: Arc<Pki>,
    pub(crate) removed: AtomicU64,
}

impl Peers for WithoutOne {
    fn identify(&self, public_key_der: &[u8]) -> Option<NodeId> {
        let found = Members(Arc::clone(&self.pki)).identify(public_key_der)?;
        (found.0 != self.removed.load(Ordering::SeqCst)).then_some(found)
    }

    fn was_removed(&self, certificate_der: &[u8]) -> bool {
        let removed = self.removed.load(Ordering::SeqCst);
        removed != 0 && self.pki.certificate(removed) == certificate_der
    }
}

struct Echo;

impl Calls for Echo {
    fn call(
        &self,
        from: NodeId,
        exporter: [u8; 32],
        mut request: Vec<u8>,
    ) -> BoxFuture<'static, Vec<u8>> {
        if request == EXPORTER {
            return Box::pin(async move { exporter.to_vec() });
        }
        request.push(u8::try_from(from.0).unwrap());
        Box::pin(async move { request })
    }

    fn join(&self, joiner: Joiner, request: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        let is_right = request == joiner.exporter;
        let answer = if is_right { joiner.public_key_der.unwrap_or_default() } else { Vec::new() };
        Box::pin(async move { answer })
    }
}

pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) content: Content,
}

/// Request whose answer is the exporter that the callee got.
pub(crate) const EXPORTER: &[u8] = b"exporter";

/// Starts a node; the socket of its predecessor may take a moment to close.
pub(crate) async fn start(
    dir: &Path,
    pki: &Arc<Pki>,
    id: u64,
    bind: SocketAddr,
) -> Result<Node, StartError> {
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

pub(crate) async fn start_with(
    dir: &Path,
    pki: &Arc<Pki>,
    id: u64,
    bind: SocketAddr,
    peers: Arc<dyn Peers>,
) -> Result<Node, StartError> {
    start_moved(dir, pki, id, bind, peers, None).await
}

/// Starts a node that may have another address than the cluster knows.
pub(crate) async fn start_moved(
    dir: &Path,
    pki: &Arc<Pki>,
    id: u64,
    bind: SocketAddr,
    peers: Arc<dyn Peers>,
    own_address: Option<OwnAddress>,
) -> Result<Node, StartError> {
    let dir = dir.join(id.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    let journal = Journal::open(dir.join("journal"));
    let content = journal.content.clone();
    let options = Options {
        dir: dir.join("raft"),
        bind,
        identity: pki.identity(id),
        own_address,
        incarnation: id,
        entropy: Arc::new(|bytes| rand::fill(bytes)),
        election_timeout: Duration::from_millis(300),
        snapshot_every: 50,
        keep_log: Retention { entries: 10, bytes_behind: 0 },
    };
    let raft = Raft::start(options, Box::new(journal), peers, Arc::new(Echo)).await?;
    Ok(Node { raft, content })
}

pub(crate) const ANY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) async fn three(dir: &Path, pki: &Arc<Pki>) -> Vec<Node> {
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
pub(crate) async fn leader(nodes: &[Node]) -> &Node {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(leader) = nodes.iter().find(|node| node.raft.status().role == Role::Leader) {
            return leader;
        }
        assert!(tokio::time::Instant::now() < deadline, "no leader");
        nodes[0].raft.wait_status(|_| false, Duration::from_millis(20)).await;
    }
}

pub(crate) async fn propose(nodes: &[Node], payload: &str) -> Committed {
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

pub(crate) async fn assert_same(nodes: &[Node], index: u64) {
    for node in nodes {
        assert!(node.raft.wait_applied(index, DEADLINE).await, "{:?}", node.raft.status());
        let content = node.content.0.lock().unwrap().clone();
        assert_eq!(content, nodes[0].content.0.lock().unwrap().clone());
    }
}
