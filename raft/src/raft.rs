//! The public handle of a Raft node: proposals, linearizable reads, membership changes, calls to
//! peers, and status.

mod retention;
mod start;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use openraft::{
    BasicNode, RaftMetrics, ReadPolicy, ServerState,
    async_runtime::{AsyncRuntime, Select2, watch::WatchReceiver},
    errors::{ClientWriteError, LinearizableReadError, RaftError},
    raft::TransferLeaderRequest,
};

use tokio::sync::watch;

use crate::{
    limits::PAYLOAD_BYTES_MAX,
    log::Log,
    mark::LogOpenError,
    network::{CallError, Certificates, Identity, Links, OwnAddress, Transport},
    rt::{Rt, Threads, now},
    segments::Entropy,
    state_machine::{Progress, StateMachine},
    types::{LogId, NodeId, Payload, Position, Types, Vote},
    writer::FlushTimer,
};

pub use retention::Retention;
#[cfg(conclave_sim)]
pub use start::Simulated;

/// Options of [`Raft::start`].
pub struct Options {
    /// Directory of the log.
    pub dir: PathBuf,
    /// UDP address to listen on.
    pub bind: SocketAddr,
    /// Identity of this node.
    pub identity: Identity,
    /// Address of this node for other nodes, if it is known to the cluster. When the two differ,
    /// peers are also looked for in the network to which this node has moved.
    pub own_address: Option<OwnAddress>,
    /// Random number identifying this data directory, kept by the caller.
    pub incarnation: u64,
    /// Source of randomness: fills a buffer with random bytes.
    pub entropy: Entropy,
    /// Base of the election timeout. A follower that receives no heartbeat for 1.5 to 1.7 times
    /// this duration stands for election.
    pub election_timeout: Duration,
    /// Entries between two snapshots. Older entries can be purged after each snapshot.
    pub snapshot_every: u64,
    /// Amount of log kept behind the snapshot, for lagging followers.
    pub keep_log: Retention,
}

/// Error starting a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The socket cannot be opened, or the identity cannot be used.
    #[error("cannot answer other nodes on {bind}: {reason}")]
    Network {
        /// Address to listen on.
        bind: SocketAddr,
        /// The cause.
        reason: String,
    },
    /// Any other failure.
    #[error("cannot start: {0}")]
    Other(String),
}

/// A committed and applied proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Index of its entry.
    pub index: u64,
    /// The machine's answer.
    pub response: Vec<u8>,
}

/// Error of a proposal or a linearizable read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader, if this node knows one.
        leader: Option<NodeId>,
    },
    /// Too few voters answer.
    #[error("too few voters answer")]
    NoQuorum,
    /// The payload exceeds the limit of an entry.
    #[error("a proposal of {bytes} bytes is larger than {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
    },
    /// The outcome is unknown. The entry may have been appended and may still be committed. Retry
    /// only if the machine detects duplicates.
    #[error("whether the proposal is done is unknown: {0}")]
    Unknown(String),
    /// This node has stopped.
    #[error("this node has stopped: {0}")]
    Stopped(String),
}

/// Message from a leader to the voter chosen as its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// Last entry of the leader, from the leader's own term. The successor must have it.
    pub last: Position,
}

/// Error of a membership change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// The change is refused, or another change is in progress.
    #[error("{0}")]
    Refused(String),
}

/// Role of a node in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Orders entries.
    Leader,
    /// Votes and follows.
    Follower,
    /// Stands for election.
    Candidate,
    /// Follows without a vote, or is not yet part of a cluster.
    Learner,
}

/// Replication state of a peer, as seen by the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Highest index known to be replicated to the peer.
    pub matched: u64,
}

/// Status of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// The leader, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Current term.
    pub term: u64,
    /// Highest index in the log.
    pub last: u64,
    /// Highest index committed.
    pub committed: u64,
    /// Highest index applied.
    pub applied: u64,
    /// Index of the last snapshot.
    pub snapshot: u64,
    /// Highest index purged.
    pub purged: u64,
    /// Voters with their addresses.
    pub voters: BTreeMap<NodeId, String>,
    /// Learners with their addresses.
    pub learners: BTreeMap<NodeId, String>,
    /// Replication state of the peers; filled on the leader only.
    pub peers: BTreeMap<NodeId, PeerStatus>,
    /// Reason for the stop, if the node has stopped.
    pub stopped: Option<String>,
}

/// A running Raft node; cheap to clone.
#[derive(Clone)]
pub struct Raft {
    id: NodeId,
    inner: openraft::Raft<Types, StateMachine>,
    log: Log,
    progress: Arc<Progress>,
    links: Links,
    transport: Arc<dyn Transport>,
    /// Locks the log against other processes.
    _lock: Option<Arc<File>>,
    /// Declared last and so dropped last: all of Raft's tasks end with these threads.
    _threads: Threads,
}

impl Raft {
    /// Watches the index up to which the durable log notes entries as committed. After any restart,
    /// this node applies all of them before it shows anything.
    pub fn settled(&self) -> watch::Receiver<u64> {
        self.log.written().settled.subscribe()
    }

    /// Returns whether the disk of the log has room for more than Raft's own records.
    pub fn has_room(&self) -> bool {
        *self.log.written().has_room.borrow()
    }

    /// From now on tells `timer` how long each write to the log took until it was durable. Only the
    /// first call has an effect.
    pub fn time_flushes(&self, timer: FlushTimer) {
        let _ = self.log.written().timer.set(timer);
    }

    /// Returns the bytes of all entries in the log.
    pub fn log_bytes(&self) -> u64 {
        self.log.written().bytes.load(Ordering::Relaxed)
    }

    /// Returns the round-trip time to each peer that this node has a connection to.
    pub fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        self.links.round_trips()
    }

    /// Returns whether the Raft loop answers within `patience`.
    pub async fn is_moving(&self, patience: Duration) -> bool {
        let asked = self.inner.with_raft_state(|_| ());
        matches!(Rt::timeout(patience, asked).await, Ok(Ok(())))
    }

    /// Makes this node the only voter of a new cluster; its own address is `address`.
    pub async fn initialize(&self, address: &str) -> Result<(), MembershipError> {
        let members = BTreeMap::from([(self.id.0, BasicNode::new(address))]);
        self.inner
            .initialize(members)
            .await
            .map_err(|error| MembershipError::Refused(error.to_string()))
    }

    /// Shows other certificates of this node on later connections.
    pub fn renew(&self, certificates: Certificates) -> io::Result<()> {
        self.transport.renew(certificates)
    }

    /// Proposes a payload and waits until it is applied here. Only the leader can.
    pub async fn propose(&self, payload: Vec<u8>) -> Result<Committed, ProposeError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: payload.len() });
        }
        match self.inner.client_write(Payload(payload)).await {
            Ok(done) => Ok(Committed { index: done.log_id.index(), response: done.data.0 }),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id.map(NodeId) })
            }
            // No error proves that the proposal is lost. If another leader's entry took its place
            // here, a third node may still have it and commit it. If this node stopped, the entry
            // may already be in its log and on its way to peers.
            Err(error) => Err(ProposeError::Unknown(error.to_string())),
        }
    }

    /// Stops proposing in favour of the voter `to`. Returns the message with which `to` must call
    /// [`Raft::take_over`], or `None` if this node does not lead.
    pub async fn hand_over(&self, to: NodeId) -> Option<Handover> {
        self.inner.trigger().transfer_leader(to.0).await.ok()?;
        // openraft answers this after the command above, so the state includes all earlier
        // proposals.
        let handover = self.inner.with_raft_state(move |state| {
            let (vote, last) = (state.vote_ref(), state.log_ids.last().map(Position::of)?);
            let is_own = (vote.leader_id.term, vote.leader_id.node_id) == (last.term, last.node);
            (vote.committed && is_own).then_some(Handover { last })
        });
        handover.await.ok().flatten().filter(|handover| handover.last.node == self.id.0)
    }

    /// Stands for election at once, at the request of the leader that hands over. Returns false if
    /// this node lacks any of that leader's entries, or follows another leader.
    pub async fn take_over(&self, handover: Handover) -> bool {
        let last = handover.last;
        let request = TransferLeaderRequest::new(
            Vote::new_committed(last.term, last.node),
            self.id.0,
            Some(last.log_id()),
        );
        matches!(self.inner.handle_transfer_leader(request).await, Ok(Ok(())))
    }

    /// Confirms with a quorum that this node leads, and returns the index that must be applied
    /// before a linearizable read. Only the leader can.
    pub async fn read_index(&self) -> Result<u64, ProposeError> {
        #[cfg(conclave_sim)]
        if crate::mutant::is(crate::mutant::Mutant::ReadWithoutQuorum) {
            return Ok(self.progress.index());
        }
        match self.inner.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((id, _)) => Ok(id.log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id.map(NodeId) })
            }
            Err(RaftError::APIError(_)) => Err(ProposeError::NoQuorum),
            Err(error) => Err(ProposeError::Stopped(error.to_string())),
        }
    }

    /// Waits until this node has applied `index`. Returns false on timeout, or if the node stops
    /// first.
    pub async fn wait_applied(&self, index: u64, timeout: Duration) -> bool {
        let reached = Rt::timeout(timeout, self.progress.reached(index));
        match Rt::select2(reached, self.stopped()).await {
            Select2::First(reached) => reached.is_ok(),
            Select2::Second(_) => false,
        }
    }

    /// Waits until `is_reached` accepts the status. Returns `None` on timeout.
    pub async fn wait_status(
        &self,
        is_reached: impl Fn(&Status) -> bool,
        timeout: Duration,
    ) -> Option<Status> {
        let deadline = now() + timeout;
        let mut metrics = self.inner.metrics();
        loop {
            let status = self.status_of(&metrics.borrow_watched().clone());
            if is_reached(&status) {
                return Some(status);
            }
            match Rt::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                _ => return None,
            }
        }
    }

    /// Sends a request to a peer, which answers it in [`crate::Calls::call`].
    pub async fn call(
        &self,
        peer: NodeId,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        self.call_bound(peer, |_| request, timeout).await
    }

    /// Sends a request to a peer, as [`Raft::call`] does. `build` makes the request once the
    /// connection is there, from the keying material that the peer gets in [`crate::Calls::call`]
    /// with this request.
    pub async fn call_bound(
        &self,
        peer: NodeId,
        build: impl FnOnce([u8; 32]) -> Vec<u8> + Send,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        // openraft creates clients only on a leader or candidate. Elsewhere the links learn the
        // peer's address here.
        if let Some(address) = self.address_of(peer) {
            self.links.know(peer, &address);
        }
        self.links.call(peer, build, timeout).await
    }

    fn address_of(&self, peer: NodeId) -> Option<String> {
        let metrics = self.inner.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.get_node(&peer.0).map(|node| node.addr.clone())
    }

    /// Adds a learner: a node that receives all entries and does not vote. Only the leader can.
    pub async fn add_learner(&self, id: NodeId, address: &str) -> Result<(), MembershipError> {
        let added = self.inner.add_learner(id.0, BasicNode::new(address), false).await;
        added.map(|_| ()).map_err(|error| membership_error(&error))
    }

    /// Makes a learner a voter. Only the leader can.
    pub async fn promote(&self, id: NodeId) -> Result<(), MembershipError> {
        self.change_members(openraft::ChangeMembers::AddVoterIds([id.0].into()), true).await
    }

    /// Makes a voter a learner. Only the leader can.
    pub async fn demote(&self, id: NodeId) -> Result<(), MembershipError> {
        self.change_members(openraft::ChangeMembers::RemoveVoters([id.0].into()), true).await
    }

    /// Takes a member out, whatever it is. Only the leader can.
    pub async fn remove(&self, id: NodeId) -> Result<(), MembershipError> {
        if self.status().voters.contains_key(&id) {
            let change = openraft::ChangeMembers::RemoveVoters([id.0].into());
            return self.change_members(change, false).await;
        }
        self.change_members(openraft::ChangeMembers::RemoveNodes([id.0].into()), false).await
    }

    /// Changes the address of a member. Only the leader can.
    pub async fn set_address(&self, id: NodeId, address: &str) -> Result<(), MembershipError> {
        let nodes = BTreeMap::from([(id.0, BasicNode::new(address))]);
        self.change_members(openraft::ChangeMembers::SetNodes(nodes), true).await
    }

    async fn change_members(
        &self,
        change: openraft::ChangeMembers<u64, BasicNode>,
        retains: bool,
    ) -> Result<(), MembershipError> {
        let changed = self.inner.change_membership(change, retains).await;
        changed.map(|_| ()).map_err(|error| membership_error(&error))
    }

    /// Triggers a snapshot now.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        let made = self.inner.trigger().snapshot().await;
        made.map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    /// Returns the current status of this node.
    pub fn status(&self) -> Status {
        self.status_of(&self.inner.metrics().borrow_watched().clone())
    }

    /// Waits until openraft or the machine stops by itself, and returns the reason. The node must
    /// then stop too.
    pub async fn stopped(&self) -> String {
        match Rt::select2(self.progress.failed(), self.openraft_stopped()).await {
            Select2::First(fault) => fault,
            Select2::Second(fatal) => fatal,
        }
    }

    async fn openraft_stopped(&self) -> String {
        let mut metrics = self.inner.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "it was shut down".to_owned();
            }
        }
    }

    /// Returns the address for other nodes to reach this one.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.transport.local_address()
    }

    /// Stops the node. Writes the marker, so that it vouches for the whole log at the next start.
    pub async fn shutdown(&self) -> io::Result<()> {
        self.inner.shutdown().await.map_err(io::Error::other)?;
        let closing = self.transport.close();
        let stopped = self.log.stop().await;
        closing.await;
        stopped
    }

    fn status_of(&self, metrics: &RaftMetrics<Types>) -> Status {
        let index = |id: &Option<LogId>| id.as_ref().map_or(0, LogId::index);
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let (mut voting, mut learning) = (BTreeMap::new(), BTreeMap::new());
        for (id, node) in membership.nodes() {
            let side = if voters.contains(id) { &mut voting } else { &mut learning };
            side.insert(NodeId(*id), node.addr.clone());
        }
        let peers = metrics.replication.iter().flatten();
        Status {
            id: self.id,
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                _ => Role::Learner,
            },
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            last: metrics.last_log_index.unwrap_or(0),
            committed: index(&metrics.local_committed),
            applied: self.progress.index(),
            snapshot: index(&metrics.snapshot),
            purged: index(&metrics.purged),
            voters: voting,
            learners: learning,
            peers: peers
                .map(|(id, matched)| (NodeId(*id), PeerStatus { matched: index(matched) }))
                .collect(),
            stopped: metrics.running_state.as_ref().err().map(ToString::to_string),
        }
    }
}

fn membership_error(error: &RaftError<Types, ClientWriteError<Types>>) -> MembershipError {
    match error.forward_to_leader() {
        Some(_) => MembershipError::NotLeader,
        None => MembershipError::Refused(error.to_string()),
    }
}
