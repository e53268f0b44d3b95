//! Handover of leadership: a leader that stops, drains, is sealed, or whose disk is full, makes
//! another voter lead.

use std::{cmp::Reverse, time::Duration};

use conclave_raft::{Role, Status};
use conclave_store::id::NodeId;
use futures::future::join_all;
use tokio::time::Instant;

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
    limits::HANDOVERS_MAX,
};

/// Ranks the other voters as successors: those that reported recently first, then those with the
/// longest log.
fn successors(status: &Status, is_heard: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
    let others = status.voters.keys().filter(|id| **id != status.id);
    let mut ranked: Vec<_> = others
        .map(|id| {
            let matched = status.peers.get(id).map_or(0, |peer| peer.matched);
            (Reverse(is_heard(NodeId(id.0))), Reverse(matched), NodeId(id.0))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, _, id)| id).collect()
}

/// How often a leader checks whether another voter should lead.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Replica {
    /// While this node leads, hands over as soon as its disk is full, it drains or it is sealed, and
    /// another voter is fit to lead. A sealed leader cannot check who may order what. Runs until
    /// dropped.
    pub(crate) async fn step_aside(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let is_draining = self.shared.reports.edge().drain_progress().is_some();
            let is_sealed = self.shared.keyring.is_sealed();
            if is_draining || is_sealed || !self.shared.raft.has_room() {
                self.hand_over_to_fit().await;
            }
        }
    }

    /// If this node leads, hands over to a voter that is fit to lead. Without one it keeps leading:
    /// the cluster would elect it again.
    pub(crate) async fn hand_over_to_fit(&self) {
        if self.shared.raft.status().role == Role::Leader {
            let deadline = Instant::now() + self.shared.election_timeout * 2;
            let fit = self.fit_successors(deadline).await;
            self.hand_over_to(fit, deadline).await;
        }
    }

    /// If this node leads, hands over to another voter. Waits for the new leader and for the
    /// commands proposed here, for at most about two election timeouts. Without a successor the
    /// members elect one.
    pub async fn hand_over(&self) {
        if self.shared.raft.status().role != Role::Leader {
            return;
        }
        let deadline = Instant::now() + self.shared.election_timeout * 2;
        let (fit, others) = self.successors(deadline).await;
        self.hand_over_to([fit, others].concat(), deadline).await;
    }

    /// Returns the voters that are fit to lead, best first.
    pub(super) async fn fit_successors(&self, deadline: Instant) -> Vec<NodeId> {
        self.successors(deadline).await.0
    }

    /// Returns the possible successors, best first: those that report room on their disks, are
    /// unsealed and do not drain, and the others.
    async fn successors(&self, deadline: Instant) -> (Vec<NodeId>, Vec<NodeId>) {
        let heard = self.shared.reports.known();
        let ranked = successors(&self.shared.raft.status(), |id| heard.contains_key(&id));
        let ask = async |id: NodeId| {
            let patience = left(deadline).min(self.shared.election_timeout);
            let report = heard.get(&id);
            let is_unfit = report.is_some_and(|report| report.is_draining || report.is_sealed);
            !is_unfit && self.has_room(id, patience).await == Some(true)
        };
        let answers = join_all(ranked.iter().map(|id| ask(*id))).await;
        let (fit, others): (Vec<_>, Vec<_>) =
            ranked.into_iter().zip(answers).partition(|(_, is_fit)| *is_fit);
        let ids = |all: Vec<(NodeId, bool)>| all.into_iter().map(|(id, _)| id).collect();
        (ids(fit), ids(others))
    }

    /// Asks a voter whether its disk has room. Returns none if it does not answer.
    pub(super) async fn has_room(&self, id: NodeId, patience: Duration) -> Option<bool> {
        let request = encode(&RequestV1::HasRoom);
        let answer = self.shared.raft.call(conclave_raft::NodeId(id.0), request, patience);
        match decode(&answer.await.ok()?)? {
            AnswerV1::HasRoom(has_room) => Some(has_room),
            _ => None,
        }
    }

    /// Hands over to one of the successors. Returns the new leader once it is elected.
    pub(super) async fn hand_over_to(
        &self,
        successors: Vec<NodeId>,
        deadline: Instant,
    ) -> Option<NodeId> {
        let raft = &self.shared.raft;
        for successor in successors.into_iter().take(HANDOVERS_MAX) {
            let to = conclave_raft::NodeId(successor.0);
            let handover = raft.hand_over(to).await?;
            let last = handover.last;
            let request = encode(&RequestV1::TakeOver { term: last.term, index: last.index });
            let patience = left(deadline).min(self.shared.election_timeout);
            let answer = raft.call(to, request, patience).await;
            match answer.ok().and_then(|answer| decode(&answer)) {
                Some(AnswerV1::TakingOver(true)) => {}
                _ => continue,
            }
            let is_led = |now: &Status| now.leader.is_some_and(|leader| leader != now.id);
            if let Some(now) = raft.wait_status(is_led, left(deadline)).await {
                // This node still answers the commands that were proposed here, so wait until the
                // new leader has committed them.
                raft.wait_applied(last.index, left(deadline)).await;
                tracing::info!(event = "raft.handed_over", to = %successor);
                return now.leader.map(|leader| NodeId(leader.0));
            }
        }
        None
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use conclave_raft::PeerStatus;

    use super::*;

    #[test]
    fn the_successor_answers_and_has_most_of_the_log() {
        let id = conclave_raft::NodeId;
        let voters = (1..=4).map(|number| (id(number), String::new())).collect();
        let peer = |number, matched| (id(number), PeerStatus { matched });
        let status = Status {
            id: id(1),
            role: Role::Leader,
            leader: Some(id(1)),
            term: 1,
            last: 9,
            committed: 9,
            applied: 9,
            snapshot: 0,
            purged: 0,
            voters,
            learners: BTreeMap::new(),
            peers: BTreeMap::from([peer(2, 7), peer(3, 9), peer(4, 9)]),
            stopped: None,
        };
        let ranked = successors(&status, |id| id != NodeId(3));
        assert_eq!(ranked, [NodeId(4), NodeId(2), NodeId(3)]);
    }
}
