//! Proposal of commands from any node: orders them on the leader, or forwards them to it.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use conclave_keys::{Purpose, Secret};
use conclave_raft::{CallError, ProposeError, Role};
use conclave_store::{
    id::{LogIndex, NodeId},
    outcome::Outcome,
    record::Sealed,
    wire,
};
use serde_bytes::ByteBuf;
use tokio::time::Instant;

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
};

/// Pause before a retry.
const RETRY_PAUSE: Duration = Duration::from_millis(15);

/// Prefix of the refusal with which version 0.1.0 answers when it stops during a change.
const STOPPED_V010: &str = "this node has stopped";

/// Condition for the answer to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A quorum has the change.
    Committed,
    /// Every live node serves the change.
    Served,
}

/// An applied command, and the nodes that serve it.
#[derive(Debug, Clone)]
pub struct Executed {
    pub(crate) index: LogIndex,
    pub outcome: Outcome,
    pub(super) outcome_bytes: Vec<u8>,
    pub(crate) served: Vec<NodeId>,
    pub(crate) missing: Vec<NodeId>,
}

impl Executed {
    pub(crate) fn new(
        index: LogIndex,
        outcome: Outcome,
        served: Vec<NodeId>,
        missing: Vec<NodeId>,
    ) -> Executed {
        Executed { index, outcome, outcome_bytes: Vec::new(), served, missing }
    }
}

/// Errors of executing a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// Another node leads, or no leader is known.
    #[error("this node does not lead")]
    NotLeader(Option<NodeId>),
    /// Too few voters answer.
    #[error("too few voters answer")]
    NoQuorum,
    /// No leader appeared in time. The command was not ordered.
    #[error("no leader within the time limit")]
    NoLeader,
    /// The answer was lost. The command may have been ordered.
    #[error("the answer was lost")]
    Unknown,
    /// The leader's version does not know the command. It was not ordered.
    #[error("the leader's version does not know this change")]
    NotKnown,
    /// The leader orders this for holders of the keyring only.
    #[error("only a node that holds the keyring may order this")]
    NotProved,
    /// The leader's disk has too little room. The command was not ordered.
    #[error("the disk of the leader is full")]
    NoRoom,
    /// This node or the leader refuses the command.
    #[error("{0}")]
    Refused(String),
}

impl From<ProposeError> for ExecuteError {
    fn from(error: ProposeError) -> ExecuteError {
        match error {
            ProposeError::NotLeader { leader } => {
                ExecuteError::NotLeader(leader.map(|id| NodeId(id.0)))
            }
            ProposeError::NoQuorum => ExecuteError::NoQuorum,
            ProposeError::Unknown(_) => ExecuteError::Unknown,
            other => ExecuteError::Refused(other.to_string()),
        }
    }
}

impl Replica {
    /// Executes a command on the current leader. Retries until the deadline, also after a lost
    /// answer: that is safe, because the command carries its operation id.
    pub async fn execute(
        &self,
        command: &[u8],
        wait: Wait,
        deadline: Instant,
    ) -> Result<Executed, ExecuteError> {
        let mut may_be_done = false;
        let mut not_done = ExecuteError::NoLeader;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(if may_be_done { ExecuteError::Unknown } else { not_done });
            }
            match self.execute_at_leader(command, wait, deadline).await {
                Ok(executed) => return Ok(executed),
                Err(Attempt::NotDone) => not_done = ExecuteError::NoLeader,
                // A node that is sealed for good need not wait for the end of its time.
                Err(Attempt::NotProved) if self.shared.keyring.sealed_reason().is_some() => {
                    return Err(ExecuteError::NotProved);
                }
                Err(Attempt::NotProved) => not_done = ExecuteError::NotProved,
                Err(Attempt::MayBeDone) => may_be_done = true,
                Err(Attempt::Refused(error)) => return Err(error),
            }
            // An election is short and a retry is cheap, so the pause is short too.
            tokio::time::sleep(RETRY_PAUSE.min(left)).await;
        }
    }

    async fn execute_at_leader(
        &self,
        command: &[u8],
        wait: Wait,
        deadline: Instant,
    ) -> Result<Executed, Attempt> {
        let Some(leader) = self.shared.raft.status().leader else { return Err(Attempt::NotDone) };
        if leader.0 == self.shared.id.0 {
            return match self.execute_here(command.to_vec(), wait, deadline).await {
                Ok(executed) => Ok(executed),
                Err(ExecuteError::NotLeader(_)) => Err(Attempt::NotDone),
                Err(ExecuteError::Unknown) => Err(Attempt::MayBeDone),
                Err(error) => Err(Attempt::Refused(error)),
            };
        }
        self.shared.counters.forwarded.fetch_add(1, Relaxed);
        // Bound the call, so that a dead leader is noticed well before the caller's deadline.
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.min(self.shared.election_timeout * 20);
        let granted = granted(patience, self.shared.election_timeout);
        let request = encode(&RequestV1::Execute {
            command: ByteBuf::from(command.to_vec()),
            wait_served: wait == Wait::Served,
            timeout_ms: u64::try_from(granted.as_millis()).unwrap_or(u64::MAX),
        });
        let has_successor = |status: &conclave_raft::Status| status.leader != Some(leader);
        tokio::select! {
            answer = self.call_proved(NodeId(leader.0), request, patience) => match answer {
                Ok(answer) => executed(&answer),
                Err(CallError::Unreachable(_)) => Err(Attempt::NotDone),
                Err(_) => Err(Attempt::MayBeDone),
            },
            // The connection to a dead leader times out long after its successor is elected.
            _ = self.shared.raft.wait_status(has_successor, patience) => Err(Attempt::MayBeDone),
        }
    }

    /// Orders a command as the leader and waits as `wait` says. An ordered command is answered by
    /// `deadline`, even if some nodes do not serve it by then.
    pub(super) async fn execute_here(
        &self,
        command: Vec<u8>,
        wait: Wait,
        deadline: Instant,
    ) -> Result<Executed, ExecuteError> {
        // The remaining room is reserved for Raft itself.
        if !self.shared.raft.has_room() && self.shared.raft.status().role == Role::Leader {
            return Err(ExecuteError::NoRoom);
        }
        let proposing = self.shared.proposer.propose(command);
        let committed = tokio::time::timeout_at(deadline, proposing)
            .await
            .map_err(|_| ExecuteError::Unknown)??;
        // The command was ordered; only its outcome cannot be decoded.
        let outcome =
            wire::decode_outcome(&committed.response).map_err(|_| ExecuteError::Unknown)?;
        let index = LogIndex(committed.index);
        let (served, missing) = match (wait, &outcome) {
            (Wait::Served, Outcome::Done(_)) => self.wait_served(index, deadline).await,
            _ => (Vec::new(), Vec::new()),
        };
        Ok(Executed { index, outcome, outcome_bytes: committed.response, served, missing })
    }

    /// Asks the other members one after the other to seal a secret, because this node is sealed.
    pub(crate) async fn seal_elsewhere(&self, purpose: Purpose, secret: &Secret) -> Option<Sealed> {
        let status = self.shared.raft.status();
        for peer in status.voters.keys().chain(status.learners.keys()) {
            if peer.0 == self.shared.id.0 {
                continue;
            }
            let secret = ByteBuf::from(secret.expose().to_vec());
            let request = encode(&RequestV1::Seal { purpose, secret });
            let timeout = self.shared.election_timeout * 4;
            let Ok(answer) = self.call_proved(NodeId(peer.0), request, timeout).await else {
                continue;
            };
            if let Some(AnswerV1::Sealed(sealed)) = decode(&answer) {
                return Some(sealed);
            }
        }
        None
    }
}

/// Returns how long a leader may wait for the nodes if its answer must arrive within `patience`. If
/// it arrived later, the command would be sent again. Half an election timeout is enough for the
/// transfer: if two round trips took longer, no leader would last.
fn granted(patience: Duration, election_timeout: Duration) -> Duration {
    patience.saturating_sub(election_timeout / 2).max(patience / 2)
}

/// The failure of one attempt.
enum Attempt {
    NotDone,
    /// The leader takes this from a holder of the keyring only.
    NotProved,
    MayBeDone,
    Refused(ExecuteError),
}

fn executed(answer: &[u8]) -> Result<Executed, Attempt> {
    let ids = |ids: Vec<u64>| ids.into_iter().map(NodeId).collect();
    match decode::<AnswerV1>(answer) {
        Some(AnswerV1::Executed { index, outcome, served, missing }) => {
            let decoded = wire::decode_outcome(&outcome).map_err(|_| Attempt::MayBeDone)?;
            Ok(Executed {
                index: LogIndex(index),
                outcome: decoded,
                outcome_bytes: outcome.into_vec(),
                served: ids(served),
                missing: ids(missing),
            })
        }
        Some(AnswerV1::NotLeader(_) | AnswerV1::NoQuorum) => Err(Attempt::NotDone),
        // Either side may be about to learn of a new generation, or that it is unsealed.
        Some(AnswerV1::NotProved) => Err(Attempt::NotProved),
        // A leader of version 0.1.0 also answers this for a command that it may have ordered.
        Some(AnswerV1::Refused(reason)) if reason.starts_with(STOPPED_V010) => {
            Err(Attempt::MayBeDone)
        }
        Some(AnswerV1::Refused(reason)) => Err(Attempt::Refused(ExecuteError::Refused(reason))),
        Some(AnswerV1::NoRoom) => Err(Attempt::Refused(ExecuteError::NoRoom)),
        Some(AnswerV1::NotKnown) => Err(Attempt::Refused(ExecuteError::NotKnown)),
        _ => Err(Attempt::MayBeDone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_waits_shorter_than_the_node_that_forwards_to_it() {
        let ms = Duration::from_millis;
        assert_eq!(granted(ms(6_000), ms(300)), ms(5_850));
        assert_eq!(granted(ms(100), ms(300)), ms(50), "never nothing");
    }

    #[test]
    fn an_answer_that_tells_nothing_leaves_the_change_unknown() {
        let attempt = |answer: &[u8]| executed(answer).unwrap_err();
        let refused = |reason: &str| encode(&AnswerV1::Refused(reason.to_owned()));
        let unreadable = AnswerV1::Executed {
            index: 1,
            outcome: ByteBuf::from(vec![1]),
            served: Vec::new(),
            missing: Vec::new(),
        };
        for unknown in [
            encode(&AnswerV1::Unknown),
            vec![1, 250],
            Vec::new(),
            encode(&unreadable),
            refused("this node has stopped: raft stopped"),
        ] {
            assert!(matches!(attempt(&unknown), Attempt::MayBeDone), "{unknown:?}");
        }
        for not_done in [AnswerV1::NotLeader(None), AnswerV1::NoQuorum] {
            assert!(matches!(attempt(&encode(&not_done)), Attempt::NotDone));
        }
        let too_large = refused("a proposal of 9 bytes is larger than 8");
        assert!(matches!(attempt(&too_large), Attempt::Refused(ExecuteError::Refused(_))));
        let stopped = ProposeError::Unknown("raft stopped".to_owned());
        assert_eq!(ExecuteError::from(stopped), ExecuteError::Unknown);
    }
}
