//! Reconciliation of Raft's membership with the members in State.

use std::time::Duration;

use conclave_raft::{MembershipError, NodeId, Role, Status};
use conclave_store::record::{Member, MemberRole};

use crate::replica::Replica;

const PAUSE: Duration = Duration::from_millis(250);
/// Largest lag, in entries, of a learner when it is promoted to a voter.
const LAG_MAX: u64 = 1_000;

/// One step towards the members of State.
enum Step {
    AddLearner,
    Promote,
    Demote,
    SetAddress,
    Remove,
}

impl Replica {
    /// While this node leads, brings Raft's membership to the members of State, one step at a time:
    /// new ones become learners, then voters once they have caught up. A crash in between loses
    /// nothing, because State has the intended membership. Runs until dropped.
    pub(crate) async fn reconcile_members(self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            let status = self.raft().status();
            if status.role != Role::Leader {
                continue;
            }
            let state = self.point().state.clone();
            // Before the cluster is founded, State has no members.
            if state.cluster().is_none() {
                continue;
            }
            let gone = status.voters.keys().chain(status.learners.keys());
            let is_gone = |id: &&NodeId| state.member(&conclave_store::id::NodeId(id.0)).is_none();
            if let Some(id) = gone.copied().find(|id| is_gone(&id)) {
                tell(&format!("node {id}"), &Step::Remove, self.raft().remove(id).await);
                continue;
            }
            for (id, member) in state.members() {
                let id = NodeId(id.0);
                let Some(step) = step(&status, id, member) else { continue };
                if matches!(step, Step::Demote) && id == status.id {
                    // The next leader does it.
                    self.hand_over().await;
                    break;
                }
                let raft = self.raft();
                let done = match step {
                    Step::AddLearner => raft.add_learner(id, &member.address).await,
                    Step::Promote => raft.promote(id).await,
                    Step::Demote => raft.demote(id).await,
                    Step::SetAddress => raft.set_address(id, &member.address).await,
                    Step::Remove => Ok(()),
                };
                tell(member.name.as_str(), &step, done);
                break;
            }
        }
    }
}

/// Returns the next step for one member.
fn step(status: &Status, id: NodeId, member: &Member) -> Option<Step> {
    let is_voter = status.voters.contains_key(&id);
    let Some(address) = status.voters.get(&id).or_else(|| status.learners.get(&id)) else {
        return Some(Step::AddLearner);
    };
    if *address != member.address {
        return Some(Step::SetAddress);
    }
    let is_near = || {
        let peer = status.peers.get(&id);
        peer.is_some_and(|peer| peer.matched > 0 && peer.matched + LAG_MAX >= status.last)
    };
    match member.role {
        MemberRole::Voter if !is_voter && is_near() => Some(Step::Promote),
        MemberRole::Learner if is_voter => Some(Step::Demote),
        _ => None,
    }
}

fn tell(node: &str, step: &Step, done: Result<(), MembershipError>) {
    let step = match step {
        Step::AddLearner => "learner",
        Step::Promote => "voter",
        Step::Demote => "no voter",
        Step::SetAddress => "address",
        Step::Remove => "removed",
    };
    match done {
        Ok(()) => tracing::info!(event = "cluster.member_changed", node, step),
        Err(error) => tracing::warn!(event = "cluster.member_not_changed", node, step, %error),
    }
}
