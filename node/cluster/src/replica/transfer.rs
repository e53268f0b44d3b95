//! Transfer of leadership on request: the leader hands over, and any member passes the request on.

use std::time::Duration;

use conclave_raft::{CallError, Role, Status};
use conclave_store::id::NodeId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
    limits::TRANSFER_RETRY_PAUSE,
};

/// A transfer of leadership: done, or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferredV1 {
    /// The node that led.
    pub from: u64,
    /// The node that leads now. The same as `from`: it was the leader already.
    pub to: u64,
    /// Time from the request at the old leader until it heard of the new one, in milliseconds.
    pub took_ms: u64,
}

/// Why a leader does not hand over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptV1 {
    /// The callee does not lead.
    NotLeader,
    /// This node has no vote.
    NoVote(u64),
    /// This node does not answer the leader.
    Silent(u64),
    /// The disk of this node is full.
    NoRoom(u64),
    /// This node is drained.
    Draining(u64),
    /// No voter can lead.
    NoSuccessor,
    /// This node did not become the leader in time.
    NotElected(u64),
}

/// Error of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferError {
    /// The leader keeps its role.
    Kept(KeptV1),
    /// No leader is known.
    NoLeader,
    /// The version of this leader does not know the request.
    NotKnown(NodeId),
    /// This node cannot prove that it holds the keyring: it is sealed.
    NotProved,
    /// The answer was lost. The leadership may have been transferred.
    Unknown,
}

impl Replica {
    /// Makes the leader hand over to `to`, or to the best voter. With `is_dry_run`, only returns
    /// who would lead.
    pub async fn transfer(
        &self,
        to: Option<NodeId>,
        is_dry_run: bool,
        deadline: Instant,
    ) -> Result<TransferredV1, TransferError> {
        loop {
            match self.transfer_at_leader(to, is_dry_run, deadline).await {
                Err(TransferError::NoLeader | TransferError::Kept(KeptV1::NotLeader)) => {}
                other => return other,
            }
            // An election may be running.
            if Instant::now() + TRANSFER_RETRY_PAUSE >= deadline {
                return Err(TransferError::NoLeader);
            }
            tokio::time::sleep(TRANSFER_RETRY_PAUSE).await;
        }
    }

    async fn transfer_at_leader(
        &self,
        to: Option<NodeId>,
        is_dry_run: bool,
        deadline: Instant,
    ) -> Result<TransferredV1, TransferError> {
        let raft = &self.shared.raft;
        let Some(leader) = raft.status().leader else { return Err(TransferError::NoLeader) };
        if leader.0 == self.shared.id.0 {
            return self.transfer_here(to, is_dry_run).await.map_err(TransferError::Kept);
        }
        let request = encode(&RequestV1::Transfer { to: to.map(|id| id.0), is_dry_run });
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.min(self.shared.election_timeout * 10);
        match self.call_proved(NodeId(leader.0), request, patience).await {
            Ok(answer) => transferred(&answer, NodeId(leader.0)),
            Err(CallError::Unreachable(_)) => Err(TransferError::NoLeader),
            Err(_) => Err(TransferError::Unknown),
        }
    }

    /// Hands over as the leader, if this node leads.
    pub(super) async fn transfer_here(
        &self,
        to: Option<NodeId>,
        is_dry_run: bool,
    ) -> Result<TransferredV1, KeptV1> {
        let started = Instant::now();
        let deadline = started + self.shared.election_timeout * 2;
        let (status, own) = (self.shared.raft.status(), self.shared.id);
        if status.role != Role::Leader {
            return Err(KeptV1::NotLeader);
        }
        let successors = match to {
            Some(to) if to == own => {
                return Ok(TransferredV1 { from: own.0, to: own.0, took_ms: 0 });
            }
            Some(to) => vec![self.fit(&status, to).await?],
            None => self.fit_successors(deadline).await,
        };
        let best = successors.first().copied().ok_or(KeptV1::NoSuccessor)?;
        let new = match is_dry_run {
            true => best,
            false => {
                let elected = self.hand_over_to(successors, deadline).await;
                elected.ok_or(KeptV1::NotElected(best.0))?
            }
        };
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(TransferredV1 { from: own.0, to: new.0, took_ms })
    }

    /// Checks that a voter can lead.
    async fn fit(&self, status: &Status, to: NodeId) -> Result<NodeId, KeptV1> {
        if !status.voters.contains_key(&conclave_raft::NodeId(to.0)) {
            return Err(KeptV1::NoVote(to.0));
        }
        let patience: Duration = self.shared.election_timeout;
        match self.has_room(to, patience).await {
            None => return Err(KeptV1::Silent(to.0)),
            Some(false) => return Err(KeptV1::NoRoom(to.0)),
            Some(true) => {}
        }
        let is_draining = self.shared.reports.known().get(&to).is_some_and(|one| one.is_draining);
        if is_draining { Err(KeptV1::Draining(to.0)) } else { Ok(to) }
    }
}

/// Reads the answer of a leader.
fn transferred(answer: &[u8], leader: NodeId) -> Result<TransferredV1, TransferError> {
    match decode(answer) {
        Some(AnswerV1::Transferred(Ok(transferred))) => Ok(transferred),
        Some(AnswerV1::Transferred(Err(kept))) => Err(TransferError::Kept(kept)),
        Some(AnswerV1::NotKnown) => Err(TransferError::NotKnown(leader)),
        Some(AnswerV1::NotProved) => Err(TransferError::NotProved),
        _ => Err(TransferError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_leader_and_a_lost_answer_are_told_apart() {
        let read = |answer: &[u8]| transferred(answer, NodeId(7));
        let done = TransferredV1 { from: 7, to: 2, took_ms: 12 };
        assert_eq!(read(&encode(&AnswerV1::Transferred(Ok(done)))), Ok(done));
        let kept = encode(&AnswerV1::Transferred(Err(KeptV1::NoVote(4))));
        assert_eq!(read(&kept), Err(TransferError::Kept(KeptV1::NoVote(4))));
        let older = encode(&AnswerV1::NotKnown);
        assert_eq!(read(&older), Err(TransferError::NotKnown(NodeId(7))));
        assert_eq!(read(&encode(&AnswerV1::NotProved)), Err(TransferError::NotProved));
        assert_eq!(read(&[]), Err(TransferError::Unknown));
    }
}
