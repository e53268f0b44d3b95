//! Draining a member, from any other.

use std::time::Duration;

use conclave_store::id::NodeId;
use serde::{Deserialize, Serialize};

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
};

/// What is asked of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Drain {
    /// Take no new connections; close the old ones after so many milliseconds.
    Start { deadline_ms: u64 },
    /// Serve again.
    Resume,
    /// Only tell.
    Show,
}

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainedV1 {
    pub(crate) remaining: u64,
    pub(crate) finished: u64,
    pub(crate) closed: u64,
    pub(crate) is_done: bool,
}

impl Replica {
    /// Asks a member; none as the answer: it serves. The error says why it cannot be asked.
    pub(crate) async fn drain(
        &self,
        id: NodeId,
        asked: Drain,
    ) -> Result<Option<DrainedV1>, String> {
        if id == self.shared.id {
            return Ok(self.drain_here(asked));
        }
        let patience = self.shared.election_timeout * 10;
        let request = encode(&RequestV1::Drain(asked));
        match self.shared.raft.call(conclave_raft::NodeId(id.0), request, patience).await {
            Ok(answer) => match decode(&answer) {
                Some(AnswerV1::Drained(drained)) => Ok(drained),
                _ => Err("it does not know this question: another version?".to_owned()),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn drain_here(&self, asked: Drain) -> Option<DrainedV1> {
        let edge = self.shared.reports.edge();
        match asked {
            Drain::Start { deadline_ms } => edge.drain(Duration::from_millis(deadline_ms)),
            Drain::Resume => {
                // What cannot be opened is tried again, and told by `listener list`.
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
