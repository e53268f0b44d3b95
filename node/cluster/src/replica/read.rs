//! Linearizable reads from any node.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Point, Replica,
    call::{AnswerV1, RequestV1, decode, encode},
};

/// Pause before a retry.
const RETRY_PAUSE: Duration = Duration::from_millis(15);

/// Errors of a linearizable read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No leader with a quorum answered within the time limit.
    #[error("no leader within the time limit")]
    NoLeader,
}

impl Replica {
    /// Returns the State by a linearizable read: it contains everything acknowledged before this
    /// call.
    pub async fn linearizable(&self, timeout: Duration) -> Result<Arc<Point>, ReadError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReadError::NoLeader);
            }
            if let Some(index) = self.read_index(left).await {
                let left = deadline.saturating_duration_since(Instant::now());
                if self.shared.raft.wait_applied(index, left).await {
                    return Ok(self.point());
                }
            }
            tokio::time::sleep(RETRY_PAUSE.min(left)).await;
        }
    }

    /// Waits until this node has applied `index`. Returns false on timeout.
    pub(crate) async fn wait_applied(&self, index: u64, timeout: Duration) -> bool {
        self.shared.raft.wait_applied(index, timeout).await
    }

    async fn read_index(&self, left: Duration) -> Option<u64> {
        let leader = self.shared.raft.status().leader?;
        // A leader without a quorum never confirms. Bound the wait, so that the retry can reach its
        // successor.
        let patience = left.min(self.shared.election_timeout * 4);
        if leader.0 == self.shared.id.0 {
            let confirmed = tokio::time::timeout(patience, self.shared.raft.read_index()).await;
            return confirmed.ok()?.ok();
        }
        let request = encode(&RequestV1::ReadIndex);
        match decode(&self.shared.raft.call(leader, request, patience).await.ok()?)? {
            AnswerV1::Index(index) => Some(index),
            _ => None,
        }
    }
}
