//! Reconciliation of Raft's membership with the members in State.

use std::time::Duration;

use conclave_raft::{NodeId, Role};
use conclave_store::record::MemberRole;

use crate::replica::Replica;

const PAUSE: Duration = Duration::from_millis(250);
/// Largest lag, in entries, of a learner when it is promoted to a voter.
const LAG_MAX: u64 = 1_000;

impl Replica {
    /// While this node leads, adds members of State to Raft as learners and promotes those that
    /// have caught up. A crash in between loses nothing, because State has the intended membership.
    /// Runs until dropped.
    pub(crate) async fn reconcile_members(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let status = self.raft().status();
            if status.role != Role::Leader {
                continue;
            }
            for (id, member) in self.point().state.members() {
                let id = NodeId(id.0);
                if status.voters.contains_key(&id) {
                    continue;
                }
                let changed = if !status.learners.contains_key(&id) {
                    self.raft().add_learner(id, &member.address).await
                } else if member.role == MemberRole::Voter
                    && status.peers.get(&id).is_some_and(|peer| {
                        peer.matched > 0 && peer.matched + LAG_MAX >= status.last
                    })
                {
                    self.raft().promote(id).await
                } else {
                    continue;
                };
                match changed {
                    Ok(()) => tracing::info!(event = "cluster.member_changed", node = %member.name),
                    Err(error) => {
                        tracing::warn!(event = "cluster.member_not_changed", node = %member.name, %error);
                    }
                }
            }
        }
    }
}
