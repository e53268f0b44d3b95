//! Who serves what: members report to the leader, the leader tells whoever waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use conclave_raft::Role;
use conclave_store::{
    id::{LogIndex, NodeId},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
    limits::{FAILED_MAX_V1, LAG_ENTRIES_MAX, LAG_SHOWN, LAG_TIME_MAX},
};
use crate::{
    edge::Edge,
    keys::Keyring,
    live::{Live, Scope},
};

/// Longest time for which a member holds back an unchanged report.
pub(super) const HOLD_MAX: Duration = Duration::from_millis(500);
/// How often a waiting change looks whether a node has fallen silent.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a member says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeReport {
    /// Every command up to this one is served, but for those in `failed`.
    pub(crate) index: LogIndex,
    /// Commands that it cannot serve.
    pub(crate) failed: BTreeSet<LogIndex>,
    /// From this command on `failed` is complete.
    pub(crate) failed_from: LogIndex,
    /// Digest of its State.
    pub(crate) digest: [u8; 32],
    /// Rows of its State.
    pub(crate) rows: u64,
    /// It cannot open private keys.
    pub(crate) is_sealed: bool,
    /// It takes no new connections.
    pub(crate) is_draining: bool,
    /// Open TLS connections.
    pub(crate) connections: u64,
    /// Handshakes since its start.
    pub(crate) handshakes: u64,
    /// When it started.
    pub(crate) started: UnixMillis,
    /// Version of its program.
    pub(crate) version: String,
}

/// The same on the wire.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportV1 {
    index: u64,
    failed: Vec<u64>,
    digest: [u8; 32],
    rows: u64,
    is_sealed: bool,
    is_draining: bool,
    connections: u64,
    handshakes: u64,
    started: u64,
    version: String,
}

/// The same since version 0.2.0.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportV2 {
    report: ReportV1,
    failed_from: u64,
}

impl From<NodeReport> for ReportV2 {
    fn from(report: NodeReport) -> ReportV2 {
        ReportV2 { failed_from: report.failed_from.0, report: report.into() }
    }
}

impl From<ReportV2> for NodeReport {
    fn from(report: ReportV2) -> NodeReport {
        let failed_from = LogIndex(report.failed_from);
        NodeReport { failed_from, ..report.report.into() }
    }
}

impl From<NodeReport> for ReportV1 {
    fn from(report: NodeReport) -> ReportV1 {
        ReportV1 {
            index: report.index.0,
            failed: report.failed.into_iter().map(|index| index.0).collect(),
            digest: report.digest,
            rows: report.rows,
            is_sealed: report.is_sealed,
            is_draining: report.is_draining,
            connections: report.connections,
            handshakes: report.handshakes,
            started: report.started.0,
            version: report.version,
        }
    }
}

impl From<ReportV1> for NodeReport {
    fn from(report: ReportV1) -> NodeReport {
        // Of more failures version 0.1.0 told only the newest.
        let is_full = report.failed.len() >= FAILED_MAX_V1;
        let lowest = report.failed.iter().min().filter(|_| is_full);
        NodeReport {
            failed_from: LogIndex(lowest.copied().unwrap_or(0)),
            index: LogIndex(report.index),
            failed: report.failed.into_iter().map(LogIndex).collect(),
            digest: report.digest,
            rows: report.rows,
            is_sealed: report.is_sealed,
            is_draining: report.is_draining,
            connections: report.connections,
            handshakes: report.handshakes,
            started: UnixMillis(report.started),
            version: report.version,
        }
    }
}

/// Reports of all members as this node knows them; cheap to clone.
#[derive(Clone)]
pub(crate) struct Reports {
    shared: Arc<Shared>,
}

struct Shared {
    own: NodeId,
    live: Live,
    edge: Edge,
    keyring: Arc<Keyring>,
    started: UnixMillis,
    peers: Mutex<BTreeMap<NodeId, Heard>>,
    changed: watch::Sender<()>,
    /// Changes that wait for being served.
    waiting: watch::Sender<usize>,
    /// Since when this node leads.
    leading_since: watch::Sender<Option<Instant>>,
}

/// What a peer said last.
struct Heard {
    report: NodeReport,
    at: Instant,
    /// Since when it is behind and comes no further; none while it does.
    stuck_since: Option<Instant>,
}

impl Heard {
    /// Takes a new report in; `committed` is what was committed when it came.
    fn next(last: Option<&Heard>, report: NodeReport, committed: u64, at: Instant) -> Heard {
        let is_behind = report.index.0 < committed;
        let came_further = last.is_none_or(|last| last.report.index < report.index);
        let stuck_since = (is_behind && !came_further)
            .then(|| last.and_then(|last| last.stuck_since).unwrap_or(at));
        Heard { report, at, stuck_since }
    }

    /// Whether it is close enough behind `index`, which commits now, to be waited for.
    fn is_close(&self, index: LogIndex, now: Instant) -> bool {
        let is_stuck = self.stuck_since.is_some_and(|since| now - since > LAG_TIME_MAX);
        !is_stuck && self.report.index.0.saturating_add(LAG_ENTRIES_MAX) >= index.0
    }
}

/// One change that waits; it does not any more when this is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn start(count: &'a watch::Sender<usize>) -> Waiting<'a> {
        count.send_modify(|count| *count += 1);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Reports {
    pub(crate) fn new(
        own: NodeId,
        live: Live,
        edge: Edge,
        keyring: Arc<Keyring>,
        started: UnixMillis,
    ) -> Reports {
        Reports {
            shared: Arc::new(Shared {
                own,
                live,
                edge,
                keyring,
                started,
                peers: Mutex::default(),
                changed: watch::Sender::default(),
                waiting: watch::Sender::default(),
                leading_since: watch::Sender::default(),
            }),
        }
    }

    pub(super) fn edge(&self) -> &Edge {
        &self.shared.edge
    }

    /// What this node says of itself.
    pub(crate) fn own(&self) -> NodeReport {
        let report = self.shared.live.reports(Scope::Shared).borrow().clone();
        let counters = self.shared.edge.counters();
        NodeReport {
            index: report.index,
            failed: report.failed,
            failed_from: report.failed_from,
            digest: report.digest,
            rows: report.rows,
            is_sealed: self.shared.keyring.sealed_reason().is_some(),
            is_draining: self.shared.edge.drain_progress().is_some(),
            connections: counters.connections,
            handshakes: counters.handshakes,
            started: self.shared.started,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Reports of this node and of those that this node has heard of lately.
    pub(crate) fn known(&self) -> BTreeMap<NodeId, NodeReport> {
        let peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known: BTreeMap<NodeId, NodeReport> = peers
            .iter()
            .filter(|(_, heard)| heard.at.elapsed() < HOLD_MAX * 4)
            .map(|(id, heard)| (*id, heard.report.clone()))
            .collect();
        known.insert(self.shared.own, self.own());
        known
    }

    fn heard(&self, peer: NodeId, report: NodeReport, committed: u64) {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = Heard::next(peers.get(&peer), report, committed, Instant::now());
        peers.insert(peer, heard);
        drop(peers);
        self.shared.changed.send_replace(());
    }

    fn heard_index(&self, peer: NodeId) -> u64 {
        let peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&peer).map_or(0, |heard| heard.report.index.0)
    }
}

/// Whether a member serves a command.
#[derive(PartialEq, Eq)]
enum Serves {
    Yes,
    NotYet,
    /// It cannot, or it has not been heard of for two election timeouts.
    No,
    /// This leader is new, and has not heard of it yet.
    NotHeard,
}

fn serves(report: &NodeReport, index: LogIndex) -> Serves {
    // Below what the report is complete from, a failure may be forgotten.
    let may_have_failed = report.failed.contains(&index) || index < report.failed_from;
    if report.is_sealed || may_have_failed {
        Serves::No
    } else if report.index >= index {
        Serves::Yes
    } else {
        Serves::NotYet
    }
}

/// Members that serve less than `committed`, unless their State is that of the furthest.
fn behind(reports: &BTreeMap<NodeId, NodeReport>, committed: u64) -> BTreeSet<NodeId> {
    let furthest = reports.values().max_by_key(|report| report.index);
    let same = furthest.map(|report| (report.digest, report.rows));
    let is_behind = |report: &NodeReport| {
        report.index.0 < committed && Some((report.digest, report.rows)) != same
    };
    reports.iter().filter(|(_, report)| is_behind(report)).map(|(id, _)| *id).collect()
}

impl Replica {
    /// Waits until every live member serves `index`; gives those that do and those that do not.
    pub(super) async fn wait_served(
        &self,
        index: LogIndex,
        deadline: Instant,
    ) -> (Vec<NodeId>, Vec<NodeId>) {
        let _waiting = Waiting::start(&self.shared.reports.shared.waiting);
        let mut own = self.shared.live.reports(Scope::Shared);
        let mut peers = self.shared.reports.shared.changed.subscribe();
        // Decided once: who lags now must catch up with more than this change.
        let close = self.close_to(index);
        loop {
            peers.mark_unchanged();
            own.mark_unchanged();
            let members = self.served_by(index);
            let is_waiting = members.iter().any(|(id, serves)| match serves {
                Serves::NotYet => close.contains(id),
                Serves::NotHeard => true,
                Serves::Yes | Serves::No => false,
            });
            if !is_waiting || Instant::now() >= deadline {
                let (yes, no): (Vec<_>, Vec<_>) =
                    members.into_iter().partition(|(_, serves)| *serves == Serves::Yes);
                let ids = |side: Vec<(NodeId, Serves)>| side.into_iter().map(|(id, _)| id);
                return (ids(yes).collect(), ids(no).collect());
            }
            let look_again = (Instant::now() + LOOK_AGAIN).min(deadline);
            tokio::select! {
                _ = own.changed() => {}
                _ = peers.changed() => {}
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
    }

    /// Whether no live member is still on its way to `index`. A new leader hears of each live
    /// member within two election timeouts; whoever it has not heard of until then is not live.
    pub(super) fn is_served_by_live(&self, index: LogIndex, leading_since: Instant) -> bool {
        let is_new = self.is_new(leading_since);
        let known = self.shared.reports.known();
        self.served_by(index).into_iter().all(|(id, serves)| match serves {
            Serves::Yes => true,
            Serves::NotYet | Serves::NotHeard => false,
            Serves::No => known.contains_key(&id) || !is_new,
        })
    }

    fn is_new(&self, leading_since: Instant) -> bool {
        leading_since.elapsed() < self.shared.election_timeout * 4
    }

    /// Members that a change of this index waits for, now that it is committed: voters that are
    /// not far behind. A learner, and a node that installs a snapshot, may need minutes.
    fn close_to(&self, index: LogIndex) -> BTreeSet<NodeId> {
        let voters = self.shared.raft.status().voters;
        let (now, known) = (Instant::now(), &self.shared.reports.shared);
        let peers = known.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let voters = voters.into_keys().map(|id| NodeId(id.0));
        // One that is not heard of yet is judged when it is heard of.
        voters.filter(|id| peers.get(id).is_none_or(|heard| heard.is_close(index, now))).collect()
    }

    fn served_by(&self, index: LogIndex) -> Vec<(NodeId, Serves)> {
        let status = self.shared.raft.status();
        let silence_max = self.shared.election_timeout * 2;
        let peers = self.shared.reports.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let leading_since = *self.shared.reports.shared.leading_since.borrow();
        let is_new = leading_since.is_none_or(|since| self.is_new(since));
        let members = status.voters.keys().chain(status.learners.keys());
        members
            .map(|id| NodeId(id.0))
            .map(|id| {
                if id == self.shared.id {
                    return (id, serves(&self.shared.reports.own(), index));
                }
                let heard = peers.get(&id);
                let answer = match heard {
                    // What was heard before this node led is no sign of life.
                    Some(heard) if is_new && leading_since.is_none_or(|since| heard.at < since) => {
                        Serves::NotHeard
                    }
                    Some(heard) => match serves(&heard.report, index) {
                        Serves::NotYet if heard.at.elapsed() > silence_max => Serves::No,
                        other => other,
                    },
                    None if is_new => Serves::NotHeard,
                    None => Serves::No,
                };
                (id, answer)
            })
            .collect()
    }

    /// While this node leads, keeps asking every member what it serves. Works until dropped.
    pub(crate) async fn follow_reports(self) {
        let mut asking = JoinSet::new();
        let mut asked = BTreeSet::new();
        loop {
            let status = self.shared.raft.status();
            self.shared.reports.shared.leading_since.send_modify(|since| {
                let is_leading = status.role == Role::Leader;
                *since = is_leading.then(|| since.unwrap_or_else(Instant::now));
            });
            let members: BTreeSet<NodeId> = status
                .voters
                .keys()
                .chain(status.learners.keys())
                .map(|id| NodeId(id.0))
                .filter(|id| *id != self.shared.id && status.role == Role::Leader)
                .collect();
            if members != asked {
                asking.shutdown().await;
                for member in &members {
                    asking.spawn(self.clone().follow_report(*member));
                }
                asked = members;
            }
            let has_changed = |now: &conclave_raft::Status| {
                (now.role, &now.voters, &now.learners)
                    != (status.role, &status.voters, &status.learners)
            };
            self.shared.raft.wait_status(has_changed, Duration::from_secs(1)).await;
        }
    }

    /// Long polls: an unchanged report is held back; a changed one comes at once while a change
    /// waits for it, else with the next few, since each costs a round trip.
    async fn follow_report(self, member: NodeId) {
        let mut waiting = self.shared.reports.shared.waiting.subscribe();
        let hold = self.shared.election_timeout / 2;
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        let mut is_v1 = false;
        loop {
            let after = self.shared.reports.heard_index(member);
            let request = match is_v1 {
                true => RequestV1::Report { after, hold_ms },
                false => RequestV1::ReportV2 { after, hold_ms },
            };
            let request = encode(&request);
            let timeout = self.shared.election_timeout * 2;
            let peer = conclave_raft::NodeId(member.0);
            let answer = self.shared.raft.call(peer, request, timeout).await;
            let report: Option<NodeReport> = match answer.ok().and_then(|answer| decode(&answer)) {
                Some(AnswerV1::ReportV2(report)) => Some(report.into()),
                Some(AnswerV1::Report(report)) => Some(report.into()),
                Some(AnswerV1::NotKnown) => {
                    is_v1 = true;
                    continue;
                }
                // It may be back as another version.
                _ => {
                    is_v1 = false;
                    None
                }
            };
            match report {
                Some(report) => {
                    let committed = self.shared.raft.status().committed;
                    self.shared.reports.heard(member, report, committed);
                    let _ = tokio::time::timeout(hold / 4, waiting.wait_for(|n| *n > 0)).await;
                }
                None => tokio::time::sleep(hold / 4).await,
            }
        }
    }

    /// Reports of all members, and those whose served index stays behind what was committed at
    /// the first look. Who has the same State is not behind: not every entry changes it.
    pub(crate) async fn lagging(&self) -> (BTreeMap<NodeId, NodeReport>, BTreeSet<NodeId>) {
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

    /// Who serves a command by what is known now.
    pub(crate) async fn serving(&self, index: LogIndex) -> (Vec<NodeId>, Vec<NodeId>) {
        let reports = self.all_reports().await;
        let point = self.point();
        point.state.members().map(|(id, _)| *id).partition(|id| {
            reports.get(id).is_some_and(|report| serves(report, index) == Serves::Yes)
        })
    }

    /// What is known of all members: by the leader's word, else by this node's.
    pub(crate) async fn all_reports(&self) -> BTreeMap<NodeId, NodeReport> {
        let own = self.shared.reports.known();
        let Some(leader) = self.shared.raft.status().leader else { return own };
        if leader.0 == self.shared.id.0 {
            return own;
        }
        let timeout = self.shared.election_timeout * 2;
        let answer = self.shared.raft.call(leader, encode(&RequestV1::Reports), timeout).await;
        match answer.ok().and_then(|answer| decode(&answer)) {
            Some(AnswerV1::Reports(reports)) => {
                let mut all: BTreeMap<NodeId, NodeReport> =
                    reports.into_iter().map(|(id, report)| (NodeId(id), report.into())).collect();
                all.extend(own);
                all
            }
            _ => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(index: u64) -> NodeReport {
        NodeReport { index: LogIndex(index), ..NodeReport::default() }
    }

    #[test]
    fn what_a_report_may_have_forgotten_is_not_served() {
        let mut report = report(100);
        report.failed.insert(LogIndex(90));
        report.failed_from = LogIndex(50);
        let serves = |index| serves(&report, LogIndex(index));
        assert!(serves(49) == Serves::No && serves(90) == Serves::No);
        assert!(serves(50) == Serves::Yes && serves(100) == Serves::Yes);
        assert!(serves(101) == Serves::NotYet);
    }

    #[test]
    fn a_full_report_of_the_first_release_tells_nothing_of_earlier_failures() {
        let full: BTreeSet<LogIndex> = (10..74).map(LogIndex).collect();
        let old = |failed| NodeReport::from(ReportV1::from(NodeReport { failed, ..report(100) }));
        assert_eq!(old(full.clone()).failed_from, LogIndex(10));
        assert_eq!(old(BTreeSet::from([LogIndex(10)])).failed_from, LogIndex(0));
        let new = NodeReport { failed: full, failed_from: LogIndex(7), ..report(100) };
        assert_eq!(NodeReport::from(ReportV2::from(new)).failed_from, LogIndex(7));
    }

    #[test]
    fn a_node_that_lags_or_comes_no_further_is_not_waited_for() {
        let start = Instant::now();
        let after = |ms: u64| start + Duration::from_millis(ms);
        let heard = Heard::next(None, report(10), 80, start);
        assert!(heard.is_close(LogIndex(74), start) && !heard.is_close(LogIndex(75), start));
        // Behind, but on its way.
        let heard = Heard::next(Some(&heard), report(79), 80, after(900));
        assert!(heard.is_close(LogIndex(80), after(2_000)));
        // Stuck at the same command.
        let heard = Heard::next(Some(&heard), report(79), 81, after(1_000));
        assert!(heard.is_close(LogIndex(81), after(1_500)));
        assert!(!heard.is_close(LogIndex(81), after(1_501)));
        let heard = Heard::next(Some(&heard), report(81), 81, after(1_600));
        assert!(heard.is_close(LogIndex(82), after(9_000)), "all there was is served");
    }

    #[test]
    fn the_status_tells_who_stays_behind() {
        let state = |index, digest| NodeReport { digest: [digest; 32], ..report(index) };
        let all = [(1, state(26, 1)), (2, state(21, 2)), (3, state(25, 1))];
        let reports = all.map(|(id, report)| (NodeId(id), report)).into_iter().collect();
        assert_eq!(behind(&reports, 26), BTreeSet::from([NodeId(2)]));
    }
}
