//! The running membership of this node, once it belongs to a cluster.

use conclave_store_sled::Home;
use tokio::task::AbortHandle;

use crate::{membership::Membership, recovered::Recovered, replica::Replica};

/// A running member: its replica, State's home and background tasks.
pub struct Member {
    /// Its part in Raft.
    pub replica: Replica,
    pub(crate) home: Home,
    /// What it knows of the cluster without State.
    pub membership: Membership,
    /// The last recovery of this node from a lost quorum.
    pub recovered: Option<Recovered>,
    pub(crate) tasks: MemberTasks,
}

impl Member {
    /// Stops Raft. Writes pending changes of State to disk, so that the next start does not replay
    /// them.
    pub async fn stop(&self) -> std::io::Result<()> {
        self.replica.raft().shutdown().await?;
        let home = self.home.clone();
        let written = tokio::task::spawn_blocking(move || home.turn()).await;
        // A failed write loses nothing, because the log has the changes.
        if let Ok(Err(fault)) = written {
            tracing::warn!(event = "state.disk_failed", error = %fault);
        }
        Ok(())
    }

    /// Stops the member but not the process.
    pub(crate) async fn give_up(self) {
        // Stop the tasks first: `watch_raft` stops the process when Raft ends.
        drop(self.tasks);
        if let Err(error) = self.replica.raft().shutdown().await {
            tracing::warn!(event = "member.not_stopped", %error);
        }
    }
}

/// Background tasks of a member; aborted when dropped.
pub(crate) struct MemberTasks(pub(crate) Vec<AbortHandle>);

impl Drop for MemberTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}
