//! What this node knows about the members, for its status.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use conclave_raft::Role;
use conclave_store::id::{LogIndex, NodeId};
use futures::future::join_all;
use tokio::time::Instant;

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
    limits::{LAG_SHOWN, OUTLOOK_TIME_MAX},
    report::NodeReport,
    reports::{HOLD_MAX, LOOK_AGAIN, Serves, serves},
};

/// What this node knows about the members.
pub struct Outlook {
    /// Reports of the members that answer.
    pub reports: BTreeMap<NodeId, NodeReport>,
    /// Members whose served index stays behind.
    pub(crate) lagging: BTreeSet<NodeId>,
    /// Whether a leader with a quorum answered just now. Otherwise the reports are those of the
    /// members that this node reaches by itself.
    pub(crate) is_confirmed: bool,
    /// Time since this node last knew of a leader with a quorum; none if it never did since its
    /// start.
    pub(crate) confirmed_since: Option<Duration>,
}

impl Outlook {
    /// Returns the version of each member that answers.
    pub(crate) fn versions(&self) -> BTreeMap<NodeId, Option<String>> {
        let version = |report: &NodeReport| Some(report.version.clone());
        self.reports.iter().map(|(id, report)| (*id, version(report))).collect()
    }
}

/// Returns the lagging members: those that serve less than `committed`, except those with the same
/// State as the furthest member.
fn behind(reports: &BTreeMap<NodeId, NodeReport>, committed: u64) -> BTreeSet<NodeId> {
    let furthest = reports.values().max_by_key(|report| report.index);
    let same = furthest.map(|report| (report.digest, report.rows));
    let is_behind = |report: &NodeReport| {
        report.index.0 < committed && Some((report.digest, report.rows)) != same
    };
    reports.iter().filter(|(_, report)| is_behind(report)).map(|(id, _)| *id).collect()
}

impl Replica {
    /// Finds out how the members are: from the leader if one with a quorum answers, otherwise by
    /// asking each member. A node that was cut off would else repeat what it heard long ago.
    pub async fn outlook(&self) -> Outlook {
        let is_confirmed = self.linearizable(OUTLOOK_TIME_MAX).await.is_ok();
        if is_confirmed {
            let (reports, lagging) = self.lagging().await;
            let confirmed_since = Some(Duration::ZERO);
            return Outlook { reports, lagging, is_confirmed, confirmed_since };
        }
        let members = self.member_ids().into_iter();
        let asked = join_all(members.map(async |id| Some((id, self.report_of(id).await?)))).await;
        Outlook {
            reports: asked.into_iter().flatten().collect(),
            lagging: BTreeSet::new(),
            is_confirmed,
            confirmed_since: self.shared.reports.confirmed_since(),
        }
    }

    /// Returns the time since this node last knew of a leader with a quorum.
    pub fn confirmed_since(&self) -> Option<Duration> {
        self.shared.reports.confirmed_since()
    }

    pub(super) fn member_ids(&self) -> Vec<NodeId> {
        let status = self.shared.raft.status();
        status.voters.keys().chain(status.learners.keys()).map(|id| NodeId(id.0)).collect()
    }

    /// Asks a member for its report.
    async fn report_of(&self, id: NodeId) -> Option<NodeReport> {
        if id == self.shared.id {
            return Some(self.shared.reports.own());
        }
        let timeout = self.shared.election_timeout * 2;
        let peer = conclave_raft::NodeId(id.0);
        for request in [
            RequestV1::ReportV3 { after: 0, hold_ms: 0 },
            RequestV1::ReportV2 { after: 0, hold_ms: 0 },
        ] {
            let answer = self.shared.raft.call(peer, encode(&request), timeout).await.ok()?;
            match decode(&answer)? {
                AnswerV1::ReportV3(report) => return Some(report.into()),
                AnswerV1::ReportV2(report) => return Some(report.into()),
                AnswerV1::NotKnown => {}
                _ => return None,
            }
        }
        None
    }

    /// Whether another process answers with this node's identity, at the address that State has for
    /// it: then the data directory was copied.
    pub(crate) async fn is_answered_elsewhere(&self) -> bool {
        let own = conclave_raft::NodeId(self.shared.id.0);
        let request = encode(&RequestV1::ReportV3 { after: 0, hold_ms: 0 });
        let answer = self.shared.raft.call(own, request, self.shared.election_timeout * 2).await;
        match answer.ok().and_then(|answer| decode(&answer)) {
            Some(AnswerV1::ReportV3(report)) => {
                NodeReport::from(report).started != self.shared.reports.own().started
            }
            _ => false,
        }
    }

    /// Whether this node leads and has recent reports of a quorum, itself included.
    pub(super) fn leads_quorum(&self) -> bool {
        let status = self.shared.raft.status();
        let recent = self.shared.reports.recent(HOLD_MAX * 2);
        let is_recent = |id: &&conclave_raft::NodeId| recent.contains(&NodeId(id.0));
        status.role == Role::Leader
            && status.voters.keys().filter(is_recent).count() > status.voters.len() / 2
    }

    /// Returns the reports of all members, and the members whose served index stays below the index
    /// that was committed at the first look. A member with the same State as the furthest one is
    /// not behind, because not every entry changes State.
    async fn lagging(&self) -> (BTreeMap<NodeId, NodeReport>, BTreeSet<NodeId>) {
        let deadline = Instant::now() + LAG_SHOWN;
        let committed = self.shared.raft.status().committed;
        loop {
            let reports = self.all_reports().await;
            let lagging = behind(&reports, committed);
            if lagging.is_empty() || Instant::now() >= deadline {
                return (reports, lagging);
            }
            tokio::time::sleep(LOOK_AGAIN * 2).await;
        }
    }

    /// Splits the members into those that serve a command by their latest reports, and those that
    /// do not.
    pub(crate) async fn serving(&self, index: LogIndex) -> (Vec<NodeId>, Vec<NodeId>) {
        let reports = self.all_reports().await;
        let point = self.point();
        point.state.members().map(|(id, _)| *id).partition(|id| {
            reports.get(id).is_some_and(|report| serves(report, index) == Serves::Yes)
        })
    }

    /// Splits the members into those that serve what an object is now, last changed at `index`, and
    /// those that do not. What a restart built anew from State is served too.
    pub(crate) async fn serving_present(
        &self,
        index: LogIndex,
        object: &str,
    ) -> (Vec<NodeId>, Vec<NodeId>) {
        let reports = self.all_reports().await;
        let point = self.point();
        let is_served = |report: &NodeReport| {
            !report.is_sealed
                && report.index >= index
                && !report.failed.contains(&index)
                && report.attention.iter().all(|one| one.object != object)
        };
        point
            .state
            .members()
            .map(|(id, _)| *id)
            .partition(|id| reports.get(id).is_some_and(is_served))
    }

    /// Returns the reports of all members, from the leader if it answers, otherwise from this node.
    pub(crate) async fn all_reports(&self) -> BTreeMap<NodeId, NodeReport> {
        let own = self.shared.reports.known();
        let Some(leader) = self.shared.raft.status().leader else { return own };
        if leader.0 == self.shared.id.0 {
            return own;
        }
        let timeout = self.shared.election_timeout * 2;
        let mut all: BTreeMap<NodeId, NodeReport> = BTreeMap::new();
        for request in [RequestV1::ReportsV3, RequestV1::Reports] {
            let answer = self.shared.raft.call(leader, encode(&request), timeout).await;
            match answer.ok().and_then(|answer| decode(&answer)) {
                Some(AnswerV1::ReportsV3(reports)) => {
                    all.extend(reports.into_iter().map(|(id, one)| (NodeId(id), one.into())));
                }
                Some(AnswerV1::Reports(reports)) => {
                    all.extend(reports.into_iter().map(|(id, one)| (NodeId(id), one.into())));
                }
                Some(AnswerV1::NotKnown) => continue,
                _ => {}
            }
            break;
        }
        // This node knows itself best, except how far its clock is off.
        let ahead_ms = all.get(&self.shared.id).and_then(|report| report.ahead_ms);
        all.extend(own);
        if let Some(report) = all.get_mut(&self.shared.id) {
            report.ahead_ms = ahead_ms;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_who_stays_behind() {
        let state = |index, digest| NodeReport {
            digest: [digest; 32],
            index: LogIndex(index),
            ..NodeReport::default()
        };
        let all = [(1, state(26, 1)), (2, state(21, 2)), (3, state(25, 1))];
        let reports = all.map(|(id, report)| (NodeId(id), report)).into_iter().collect();
        assert_eq!(behind(&reports, 26), BTreeSet::from([NodeId(2)]));
    }
}
