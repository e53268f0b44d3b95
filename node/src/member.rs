//! This node's part in a cluster, once it has one.

use conclave_store_sled::Home;
use tokio::task::AbortHandle;

use crate::{membership::Membership, replica::Replica};

/// This node as a member.
pub(crate) struct Member {
    pub(crate) replica: Replica,
    pub(crate) home: Home,
    pub(crate) membership: Membership,
    pub(crate) tasks: MemberTasks,
}

impl Member {
    /// Stops taking part. What waits for the State's disk is written, so that the next start need
    /// not replay it.
    pub(crate) async fn stop(&self) -> std::io::Result<()> {
        self.replica.raft().shutdown().await?;
        let home = self.home.clone();
        let written = tokio::task::spawn_blocking(move || home.turn()).await;
        // The log has it in any case.
        if let Ok(Err(fault)) = written {
            tracing::warn!(event = "state.disk_failed", error = %fault);
        }
        Ok(())
    }

    /// Stops taking part, without the end of the process.
    pub(crate) async fn give_up(self) {
        // The tasks first: one of them takes the end of Raft for a reason to end the process.
        drop(self.tasks);
        if let Err(error) = self.replica.raft().shutdown().await {
            tracing::warn!(event = "member.not_stopped", %error);
        }
    }
}

/// Works in the background as long as the node is a member.
pub(crate) struct MemberTasks(pub(crate) Vec<AbortHandle>);

impl Drop for MemberTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}
