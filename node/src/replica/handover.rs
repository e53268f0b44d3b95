//! A leader that stops hands its work to the voter that has most of the log.

use std::cmp::Reverse;

use conclave_raft::{Role, Status};
use conclave_store::id::NodeId;
use tokio::time::Instant;

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
    limits::HANDOVERS_MAX,
};

/// Voters that may take over: those heard of lately first, then those with most of the log.
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

impl Replica {
    /// If this node leads: has another voter lead, and waits for it and for what was proposed
    /// here, for about two election timeouts at most. Without a successor the members elect one.
    pub(crate) async fn hand_over(&self) {
        let raft = &self.shared.raft;
        let status = raft.status();
        if status.role != Role::Leader {
            return;
        }
        let deadline = Instant::now() + self.shared.election_timeout * 2;
        let left = || deadline.saturating_duration_since(Instant::now());
        let heard = self.shared.reports.known();
        let successors = successors(&status, |id| heard.contains_key(&id));
        for successor in successors.into_iter().take(HANDOVERS_MAX) {
            let to = conclave_raft::NodeId(successor.0);
            let Some(handover) = raft.hand_over(to).await else { return };
            let last = handover.last;
            let request = encode(&RequestV1::TakeOver { term: last.term, index: last.index });
            let answer = raft.call(to, request, left().min(self.shared.election_timeout)).await;
            match answer.ok().and_then(|answer| decode(&answer)) {
                Some(AnswerV1::TakingOver(true)) => {}
                _ => continue,
            }
            let is_led = |now: &Status| now.leader.is_some_and(|leader| leader != now.id);
            if raft.wait_status(is_led, left()).await.is_some() {
                // What was proposed here is answered from here, now that another commits it.
                raft.wait_applied(last.index, left()).await;
                tracing::info!(event = "raft.handed_over", to = %successor);
                return;
            }
        }
    }
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
