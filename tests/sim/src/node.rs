//! A node: the Raft of the program over simulated disk and network, and the calls between nodes.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use conclave_raft::{
    BoxFuture, Calls, Identity, Joiner, NodeId, Options, ProposeError, Raft, Retention, Simulated, StartError,
    executor::{SimRt, rng::Rng},
};
use openraft::AsyncRuntime;

use crate::{
    disk::{Directory, SharedDisk},
    machine::{Registers, Shared, payload},
    net::{Net, Port},
    oracle,
};

/// How long a node waits for the answer of another.
const CALL_PATIENCE: Duration = Duration::from_millis(600);
/// How long a read waits until this node has come as far as it must.
const APPLY_PATIENCE: Duration = Duration::from_millis(800);

/// What a node stands on.
pub struct Machine<'a> {
    pub id: usize,
    pub disk: &'a SharedDisk,
    pub home: &'a Shared,
    pub net: &'a Net,
    /// For files of snapshots, which need not survive.
    pub snapshots: PathBuf,
    /// Entries after which the log is shortened.
    pub snapshot_every: u64,
    pub rng: Rng,
}

/// A running node.
#[derive(Clone)]
pub struct Node {
    pub id: usize,
    pub raft: Raft,
    pub state: Shared,
}

/// An answer to a client.
#[derive(Clone, Debug)]
pub enum Answer {
    Written(u64),
    Value(Option<(u64, u64)>),
    NotLeader(Option<u64>),
    Failed,
}

impl Node {
    /// Starts a node; it is there when it shows again what it showed before.
    pub async fn start(on: Machine<'_>) -> Result<Node, StartError> {
        let Machine { id, disk, home, net, snapshots, snapshot_every, mut rng } = on;
        let (registers, state) = Registers::open(id, home);
        registers.persist(Rng::new(rng.next(), 0));
        let entropy = Mutex::new(Rng::new(rng.next(), 0));
        let options = Options {
            dir: snapshots,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            own_address: None,
            identity: Identity {
                id: NodeId(id as u64),
                cluster: [9; 16],
                certificate_der: Vec::new(),
                private_key_der: Vec::new(),
                authority_der: Vec::new(),
                earlier_der: Vec::new(),
            },
            incarnation: id as u64,
            entropy: Arc::new(move |bytes| {
                let mut entropy = entropy.lock().unwrap();
                bytes.iter_mut().for_each(|byte| *byte = entropy.next() as u8);
            }),
            election_timeout: Duration::from_millis(300),
            snapshot_every,
            keep_log: Retention { entries: snapshot_every / 5, bytes_behind: 0 },
        };
        let device = Arc::clone(disk);
        let simulated = Simulated {
            files: Arc::new(Directory::open(disk)),
            latency: Arc::new(move || device.lock().unwrap().latency()),
            transport: Arc::new(Port { net: net.clone(), node: id }),
        };
        let answerer = Arc::new(Answerer::default());
        let calls: Arc<dyn Calls> = Arc::clone(&answerer) as Arc<dyn Calls>;
        let (raft, door) =
            Raft::start_simulated(options, simulated, Box::new(registers), calls).await?;
        oracle::shows(id, state.lock().unwrap().index);
        *answerer.raft.lock().unwrap() = Some(raft.clone());
        net.open(id, door);
        let node = Node { id, raft, state };
        node.show_log();
        Ok(node)
    }

    /// Tells the oracle what is in the log.
    pub fn show_log(&self) {
        match self.raft.positions() {
            Ok(log) => oracle::has_log(self.id, &log),
            Err(error) => oracle::fault(format!("node {} cannot read its log: {error}", self.id)),
        }
    }

    pub async fn write(&self, key: u64, value: u64, filling: usize) -> Answer {
        let written = self.raft.propose(payload(key, value, filling)).await;
        oracle::settled(self.id, *self.raft.settled().borrow());
        match written {
            Ok(committed) => Answer::Written(committed.index),
            Err(ProposeError::NotLeader { leader }) => Answer::NotLeader(leader.map(|l| l.0)),
            Err(_) => Answer::Failed,
        }
    }

    /// From this node's state, after the leader told how far it must be.
    pub async fn read(&self, key: u64) -> Answer {
        let leader = self.raft.status().leader;
        let index = match leader {
            None => return Answer::NotLeader(None),
            Some(leader) if leader.0 == self.id as u64 => match self.raft.read_index().await {
                Ok(index) => index,
                Err(_) => return Answer::NotLeader(None),
            },
            Some(leader) => {
                let asked = self.raft.call(leader, Vec::new(), CALL_PATIENCE).await;
                match asked.ok().and_then(|answer| <[u8; 8]>::try_from(answer).ok()) {
                    Some(index) => u64::from_be_bytes(index),
                    None => return Answer::NotLeader(None),
                }
            }
        };
        if !self.raft.wait_applied(index, APPLY_PATIENCE).await {
            return Answer::Failed;
        }
        oracle::settled(self.id, *self.raft.settled().borrow());
        Answer::Value(self.state.lock().unwrap().values.get(&key).copied())
    }

    pub fn applied(&self) -> u64 {
        self.state.lock().unwrap().index
    }

    pub fn status(&self) -> String {
        let status = self.raft.status();
        format!(
            "{}: {:?} t{} last {} committed {} applied {} leader {:?} voters {:?} stopped {:?}",
            self.id,
            status.role,
            status.term,
            status.last,
            status.committed,
            self.applied(),
            status.leader,
            status.voters.keys().map(|id| id.0).collect::<Vec<_>>(),
            status.stopped
        )
    }
}

/// Answers the calls of other nodes: how far a read must be.
#[derive(Default)]
struct Answerer {
    raft: Mutex<Option<Raft>>,
}

impl Calls for Answerer {
    fn call(&self, _: NodeId, _: [u8; 32], _: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        let raft = self.raft.lock().unwrap().clone();
        Box::pin(async move {
            let Some(raft) = raft else { return Vec::new() };
            let index = SimRt::timeout(CALL_PATIENCE, raft.read_index()).await;
            index.ok().and_then(Result::ok).map_or(Vec::new(), |index| index.to_be_bytes().into())
        })
    }

    fn join(&self, _: Joiner, _: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async { Vec::new() })
    }
}
