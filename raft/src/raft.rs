//! A node's part in Raft: propose, read, follow, and say how it stands.

mod retention;
mod start;

use std::{
    collections::BTreeMap, fs::File, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration,
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
    network::{CallError, Identity, Links, Transport},
    rt::{Rt, Threads, now},
    segments::Entropy,
    state_machine::{Progress, StateMachine},
    types::{LogId, NodeId, Payload, Position, Types, Vote},
};

pub use retention::Retention;
#[cfg(conclave_sim)]
pub use start::Simulated;

/// How to take part.
pub struct Options {
    /// Directory of the log.
    pub dir: PathBuf,
    /// UDP address to listen on.
    pub bind: SocketAddr,
    /// Who this node is.
    pub identity: Identity,
    /// Random number of this data directory, kept by the caller.
    pub incarnation: u64,
    /// Fills with random bytes.
    pub entropy: Entropy,
    /// A follower that hears nothing for 1.5 to 1.7 of these stands for election.
    pub election_timeout: Duration,
    /// Entries after which a snapshot is made and older ones are purged.
    pub snapshot_every: u64,
    /// What of the log is kept behind the snapshot, for followers that are late.
    pub keep_log: Retention,
}

/// Why a node cannot take part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log is not what it was.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The socket cannot be opened, or the identity cannot be used.
    #[error("cannot answer other nodes on {bind}: {reason}")]
    Network {
        /// The address.
        bind: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Anything else.
    #[error("cannot start: {0}")]
    Other(String),
}

/// A proposal that was committed and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its place.
    pub index: u64,
    /// The machine's answer.
    pub response: Vec<u8>,
}

/// Why a proposal or a read is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Another node leads, or none that this one knows.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads.
        leader: Option<NodeId>,
    },
    /// Too few voters answer.
    #[error("too few voters answer")]
    NoQuorum,
    /// Larger than an entry may be.
    #[error("a proposal of {bytes} bytes is larger than {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Bytes proposed.
        bytes: usize,
    },
    /// It may have been appended, and may still be committed: repeat it only if the machine
    /// tells a repetition.
    #[error("whether the proposal is done is unknown: {0}")]
    Unknown(String),
    /// This node has stopped.
    #[error("this node has stopped: {0}")]
    Stopped(String),
}

/// What a leader tells the voter that is to lead after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// The last entry of the leader, in the leader's own term: the successor must have it.
    pub last: Position,
}

/// Why the members of Raft did not change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Another node leads.
    #[error("this node does not lead")]
    NotLeader,
    /// The change is refused, or one is going on.
    #[error("{0}")]
    Refused(String),
}

/// What a node is in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Orders entries.
    Leader,
    /// Votes and follows.
    Follower,
    /// Stands for election.
    Candidate,
    /// Follows without a vote, or has no part yet.
    Learner,
}

/// A peer as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Highest index known to be on the peer.
    pub matched: u64,
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// What it is.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Term.
    pub term: u64,
    /// Highest index in the log.
    pub last: u64,
    /// Highest index committed.
    pub committed: u64,
    /// Highest index applied.
    pub applied: u64,
    /// Index of the last snapshot.
    pub snapshot: u64,
    /// Entries up to this one are gone.
    pub purged: u64,
    /// Voters with their addresses.
    pub voters: BTreeMap<NodeId, String>,
    /// Learners with their addresses.
    pub learners: BTreeMap<NodeId, String>,
    /// Peers, on the leader.
    pub peers: BTreeMap<NodeId, PeerStatus>,
    /// Why the node has stopped, if it has.
    pub stopped: Option<String>,
}

/// A node's part in Raft; cheap to clone.
#[derive(Clone)]
pub struct Raft {
    id: NodeId,
    inner: openraft::Raft<Types, StateMachine>,
    log: Log,
    progress: Arc<Progress>,
    links: Links,
    transport: Arc<dyn Transport>,
    /// Keeps other processes from the log.
    _lock: Option<Arc<File>>,
    /// Dropped last: all of Raft's tasks end with them.
    _threads: Threads,
}

impl Raft {
    /// Index up to which this node has everything again after any restart, before it shows
    /// anything; as it rises.
    pub fn settled(&self) -> watch::Receiver<u64> {
        self.log.written().settled.subscribe()
    }

    /// Whether the disk of the log has room for more than what Raft needs for itself.
    pub fn has_room(&self) -> bool {
        *self.log.written().has_room.borrow()
    }

    /// Makes this node the only voter of a new cluster; its own address is `address`.
    pub async fn initialize(&self, address: &str) -> Result<(), MembershipError> {
        let members = BTreeMap::from([(self.id.0, BasicNode::new(address))]);
        self.inner
            .initialize(members)
            .await
            .map_err(|error| MembershipError::Refused(error.to_string()))
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
            // Discarded: its place went to another leader's entry, but a third one may have it
            // and commit it. Stopped: it may lie in this log already, and on its way to others.
            Err(error) => Err(ProposeError::Unknown(error.to_string())),
        }
    }

    /// Stops proposing in favour of the voter `to`, and gives what it must be told to
    /// [`Raft::take_over`]. None if this node does not lead.
    pub async fn hand_over(&self, to: NodeId) -> Option<Handover> {
        self.inner.trigger().transfer_leader(to.0).await.ok()?;
        // Answered after the command above, and with all that was proposed before it.
        let handover = self.inner.with_raft_state(move |state| {
            let (vote, last) = (state.vote_ref(), state.log_ids.last().map(Position::of)?);
            let is_own = (vote.leader_id.term, vote.leader_id.node_id) == (last.term, last.node);
            (vote.committed && is_own).then_some(Handover { last })
        });
        handover.await.ok().flatten().filter(|handover| handover.last.node == self.id.0)
    }

    /// Stands for election at once, as the leader that hands over asks; false if this node does
    /// not have all of its entries, or follows another.
    pub async fn take_over(&self, handover: Handover) -> bool {
        let last = handover.last;
        let request = TransferLeaderRequest::new(
            Vote::new_committed(last.term, last.node),
            self.id.0,
            Some(last.log_id()),
        );
        matches!(self.inner.handle_transfer_leader(request).await, Ok(Ok(())))
    }

    /// Confirms with a quorum that this node leads, and gives the index that a linearizable
    /// read must have seen. Only the leader can.
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

    /// Waits until this node has applied `index`; false if it does not within `timeout`.
    pub async fn wait_applied(&self, index: u64, timeout: Duration) -> bool {
        let reached = Rt::timeout(timeout, self.progress.reached(index));
        match Rt::select2(reached, self.stopped()).await {
            Select2::First(reached) => reached.is_ok(),
            Select2::Second(_) => false,
        }
    }

    /// Waits until the status is as wished; none if it is not within `timeout`.
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

    /// Asks a peer; see [`crate::Calls::call`].
    pub async fn call(
        &self,
        peer: NodeId,
        request: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        // Only a leader or candidate has openraft's clients; a follower learns addresses here.
        if let Some(address) = self.address_of(peer) {
            self.links.know(peer, &address);
        }
        self.links.call(peer, request, timeout).await
    }

    fn address_of(&self, peer: NodeId) -> Option<String> {
        let metrics = self.inner.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.get_node(&peer.0).map(|node| node.addr.clone())
    }

    /// Adds a node that receives everything and does not vote. Only the leader can.
    pub async fn add_learner(&self, id: NodeId, address: &str) -> Result<(), MembershipError> {
        let added = self.inner.add_learner(id.0, BasicNode::new(address), false).await;
        added.map(|_| ()).map_err(|error| membership_error(&error))
    }

    /// Makes a learner a voter. Only the leader can.
    pub async fn promote(&self, id: NodeId) -> Result<(), MembershipError> {
        let ids = std::collections::BTreeSet::from([id.0]);
        let change = openraft::ChangeMembers::AddVoterIds(ids);
        let changed = self.inner.change_membership(change, true).await;
        changed.map(|_| ()).map_err(|error| membership_error(&error))
    }

    /// Makes a snapshot now.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        let made = self.inner.trigger().snapshot().await;
        made.map_err(|error| ProposeError::Stopped(error.to_string()))
    }

    /// How this node stands now.
    pub fn status(&self) -> Status {
        self.status_of(&self.inner.metrics().borrow_watched().clone())
    }

    /// Waits until openraft stops by itself, and says why: the node must not go on.
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

    /// Address at which other nodes reach this one.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.transport.local_address()
    }

    /// Stops taking part; the marker is written, so that the next start finds all as it was.
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
