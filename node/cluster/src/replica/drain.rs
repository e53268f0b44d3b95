//! Draining of a member, requested from any member.

use std::time::Duration;

use conclave_store::id::NodeId;
use serde::{Deserialize, Serialize};

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
};

/// A drain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Drain {
    /// Accept no new connections, and close the existing ones later.
    Start {
        /// Milliseconds until then.
        deadline_ms: u64,
    },
    /// End the drain and serve again.
    Resume,
    /// Only return the progress.
    Show,
}

/// Progress of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainedV1 {
    pub remaining: u64,
    pub finished: u64,
    pub closed: u64,
    pub is_done: bool,
}

impl Replica {
    /// Sends a drain request to a member. Returns its progress, or `None` if the member serves. The
    /// error says why the member did not answer.
    pub async fn drain(&self, id: NodeId, asked: Drain) -> Result<Option<DrainedV1>, String> {
        if id == self.shared.id {
            return Ok(self.drain_here(asked).await);
        }
        let patience = self.shared.election_timeout * 10;
        let request = encode(&RequestV1::Drain(asked));
        match self.call_proved(id, request, patience).await {
            Ok(answer) => match decode(&answer) {
                Some(AnswerV1::Drained(drained)) => Ok(drained),
                Some(AnswerV1::NotProved) => {
                    Err("this node is sealed: ask an unsealed one".to_owned())
                }
                _ => Err("it does not know this question: another version?".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) async fn drain_here(&self, asked: Drain) -> Option<DrainedV1> {
        let edge = self.shared.reports.edge();
        match asked {
            Drain::Start { deadline_ms } => {
                // First of all: who drains a node is about to stop it.
                self.hand_over_to_fit().await;
                edge.drain(Duration::from_millis(deadline_ms));
            }
            Drain::Resume => {
                // Sockets that cannot be opened are retried, and `listener list` shows them.
                edge.resume();
            }
            Drain::Show => {}
        }
        let progress = edge.drain_progress()?;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Some(DrainedV1 {
            remaining: count(progress.remaining),
            finished: count(progress.finished),
            closed: count(progress.closed),
            is_done: progress.is_done,
        })
    }
}
