//! Reports of members: the leader polls every member for the index that it serves, and changes wait
//! until the live members serve them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use conclave_api::problem::Code;
use conclave_edge::{live::Live, socket::Edge};
use conclave_keys::Keyring;
use conclave_raft::Role;
use conclave_store::{
    id::{LogIndex, NodeId},
    scope::Scope,
    time::UnixMillis,
};
use conclave_system::clock;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    Replica,
    call::{AnswerV1, RequestV1, decode, encode},
    limits::{ATTENTION_MAX, LAG_ENTRIES_MAX, LAG_TIME_MAX},
    report::{Attention, NodeReport},
};

/// Longest time for a member to hold a poll while its report does not change.
pub(super) const HOLD_MAX: Duration = Duration::from_millis(500);
/// How often a waiting change checks whether a node has become silent.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The latest reports of the members, as this node knows them; cheap to clone.
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
    /// Number of changes waiting to be served.
    waiting: watch::Sender<usize>,
    /// Start of this node's leadership; none: it does not lead.
    leading_since: watch::Sender<Option<Instant>>,
    /// Last time that the leader asked this node, or that this node led with a quorum.
    confirmed: Mutex<Option<Instant>>,
    /// What needs attention on this node, besides its listeners.
    attention: ArcSwap<Vec<Attention>>,
}

/// The last report of a peer.
struct Heard {
    report: NodeReport,
    at: Instant,
    /// Start of the time without progress while the peer is behind; none while it progresses.
    stuck_since: Option<Instant>,
    /// This node's clock when the report arrived.
    time: UnixMillis,
}

impl Heard {
    /// Makes the successor of `last` from a new report. `committed` is the committed index when the
    /// report arrived.
    fn next(last: Option<&Heard>, report: NodeReport, committed: u64, at: Instant) -> Heard {
        let is_behind = report.index.0 < committed;
        let came_further = last.is_none_or(|last| last.report.index < report.index);
        let stuck_since = (is_behind && !came_further)
            .then(|| last.and_then(|last| last.stuck_since).unwrap_or(at));
        Heard { report, at, stuck_since, time: clock::now() }
    }

    /// Whether a change at `index`, which has just committed, waits for this peer.
    fn is_close(&self, index: LogIndex, now: Instant) -> bool {
        let is_stuck = self.stuck_since.is_some_and(|since| now - since > LAG_TIME_MAX);
        !is_stuck && self.report.index.0.saturating_add(LAG_ENTRIES_MAX) >= index.0
    }
}

/// A guard for one waiting change, counted until the guard is dropped.
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
                confirmed: Mutex::default(),
                attention: ArcSwap::default(),
            }),
        }
    }

    pub(super) fn edge(&self) -> &Edge {
        &self.shared.edge
    }

    /// Returns the report of this node.
    pub(crate) fn own(&self) -> NodeReport {
        let report = self.shared.live.reports(Scope::Shared).borrow().clone();
        let counters = self.shared.edge.counters();
        NodeReport {
            index: report.index,
            failed: report.failed,
            failed_from: report.failed_from,
            time: Some(clock::now()),
            digest: report.digest,
            rows: report.rows,
            is_sealed: self.shared.keyring.sealed_reason().is_some(),
            is_draining: self.shared.edge.drain_progress().is_some(),
            connections: counters.connections,
            handshakes: counters.handshakes,
            started: self.shared.started,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            attention: self.attention(),
            ahead_ms: Some(0),
        }
    }

    /// Returns what needs attention on this node: its closed listeners, and what was noted last.
    fn attention(&self) -> Vec<Attention> {
        let closed = self.shared.edge.listeners().into_iter().flat_map(|listener| {
            let name = listener.name.to_string();
            listener.problems.into_iter().map(move |text| Attention {
                code: Code::PortUnavailable.as_str().to_owned(),
                is_error: true,
                object: name.clone(),
                text,
                hint: "conclave listener list".to_owned(),
            })
        });
        let noted = self.shared.attention.load();
        let all = closed.chain(noted.iter().cloned());
        all.take(ATTENTION_MAX).map(Attention::bounded).collect()
    }

    /// Notes what needs attention on this node, besides its listeners.
    pub(crate) fn note_attention(&self, attention: Vec<Attention>) {
        self.shared.attention.store(Arc::new(attention));
    }

    /// Notes that the leader asked this node just now.
    pub(super) fn heard_of_leader(&self) {
        *self.shared.confirmed.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Instant::now());
    }

    /// Returns the time since this node last knew of a leader with a quorum; none if it never did.
    pub(crate) fn confirmed_since(&self) -> Option<Duration> {
        let confirmed = self.shared.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.map(|at| at.elapsed())
    }

    /// Returns the report of this node and the recent reports of its peers.
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
        let mut heard = Heard::next(peers.get(&peer), report, committed, Instant::now());
        let there = heard.report.time.map(|time| time.0.cast_signed());
        heard.report.ahead_ms = there.map(|there| there.saturating_sub(heard.time.0.cast_signed()));
        peers.insert(peer, heard);
        drop(peers);
        self.shared.changed.send_replace(());
    }

    /// Whether the clocks of most peers that report a time differ from this node's by more than
    /// `slack_ms`.
    pub(super) fn is_clock_off(&self, slack_ms: u64) -> bool {
        let peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = peers.values().filter(|heard| heard.at.elapsed() < HOLD_MAX * 4);
        let differences =
            heard.filter_map(|heard| Some(heard.report.time?.0.abs_diff(heard.time.0)));
        is_most_above(differences, slack_ms)
    }

    /// Returns the members with a report younger than `age`, this node included.
    pub(super) fn recent(&self, age: Duration) -> BTreeSet<NodeId> {
        let peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = peers.iter().filter(|(_, heard)| heard.at.elapsed() < age);
        recent.map(|(id, _)| *id).chain([self.shared.own]).collect()
    }

    fn heard_index(&self, peer: NodeId) -> u64 {
        let peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&peer).map_or(0, |heard| heard.report.index.0)
    }
}

/// Wire format in which a member is asked for its report.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReportForm {
    V1,
    V2,
    V3,
}

/// Whether a member serves a command.
#[derive(PartialEq, Eq)]
pub(super) enum Serves {
    Yes,
    NotYet,
    /// It cannot serve it, or it has been silent for two election timeouts.
    No,
    /// This leader is new and has not received a report from it yet.
    NotHeard,
}

fn is_most_above(differences: impl Iterator<Item = u64>, slack: u64) -> bool {
    let (above, within): (Vec<u64>, Vec<u64>) = differences.partition(|one| *one > slack);
    above.len() > within.len()
}

pub(super) fn serves(report: &NodeReport, index: LogIndex) -> Serves {
    // Below `failed_from` the report may omit a failure.
    let may_have_failed = report.failed.contains(&index) || index < report.failed_from;
    if report.is_sealed || may_have_failed {
        Serves::No
    } else if report.index >= index {
        Serves::Yes
    } else {
        Serves::NotYet
    }
}

impl Replica {
    /// Waits until every live member serves `index`, or until the deadline. Returns the members
    /// that serve it and those that do not.
    pub(super) async fn wait_served(
        &self,
        index: LogIndex,
        deadline: Instant,
    ) -> (Vec<NodeId>, Vec<NodeId>) {
        let _waiting = Waiting::start(&self.shared.reports.shared.waiting);
        let mut own = self.shared.live.reports(Scope::Shared);
        let mut peers = self.shared.reports.shared.changed.subscribe();
        let mut close = BTreeMap::new();
        loop {
            peers.mark_unchanged();
            own.mark_unchanged();
            self.judge(index, &mut close);
            let members = self.served_by(index);
            let is_waiting = members.iter().any(|(id, serves)| match serves {
                Serves::NotYet | Serves::NotHeard => close.get(id).copied().unwrap_or(true),
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

    /// Whether every live member serves `index` or cannot serve it. A leader is new for four
    /// election timeouts and waits that long for the first report of each member. A member that is
    /// silent then is not live.
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

    /// Decides once for each member whether the change at `index`, which has just committed, waits
    /// for it. A change waits only for voters that are close behind: a learner, or a node that
    /// installs a snapshot, may need minutes. A member that has not reported to this leader yet is
    /// judged at its first report.
    fn judge(&self, index: LogIndex, close: &mut BTreeMap<NodeId, bool>) {
        let status = self.shared.raft.status();
        let (now, known) = (Instant::now(), &self.shared.reports.shared);
        let leading_since = *known.leading_since.borrow();
        let peers = known.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for id in status.learners.keys() {
            close.insert(NodeId(id.0), false);
        }
        for id in status.voters.keys().map(|id| NodeId(id.0)) {
            let heard =
                peers.get(&id).filter(|heard| leading_since.is_none_or(|at| at <= heard.at));
            if let Some(heard) = heard {
                close.entry(id).or_insert_with(|| heard.is_close(index, now));
            }
        }
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
                    // A report from before this node led does not show that the member is live.
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

    /// While this node leads, polls every member for its report. Runs until dropped.
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
            if self.leads_quorum() {
                self.shared.reports.heard_of_leader();
            }
            let has_changed = |now: &conclave_raft::Status| {
                (now.role, &now.voters, &now.learners)
                    != (status.role, &status.voters, &status.learners)
            };
            self.shared.raft.wait_status(has_changed, Duration::from_secs(1)).await;
        }
    }

    /// Polls one member with long polls: the member holds a poll until its report changes. While no
    /// change waits, pauses between polls, so that several changes share one round trip.
    async fn follow_report(self, member: NodeId) {
        let mut waiting = self.shared.reports.shared.waiting.subscribe();
        let hold = self.shared.election_timeout / 2;
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        let mut form = ReportForm::V3;
        loop {
            let after = self.shared.reports.heard_index(member);
            let request = match form {
                ReportForm::V1 => RequestV1::Report { after, hold_ms },
                ReportForm::V2 => RequestV1::ReportV2 { after, hold_ms },
                ReportForm::V3 => RequestV1::ReportV3 { after, hold_ms },
            };
            let request = encode(&request);
            let timeout = self.shared.election_timeout * 2;
            let peer = conclave_raft::NodeId(member.0);
            let answer = self.shared.raft.call(peer, request, timeout).await;
            let report: Option<NodeReport> = match answer.ok().and_then(|answer| decode(&answer)) {
                Some(AnswerV1::ReportV3(report)) => Some(report.into()),
                Some(AnswerV1::ReportV2(report)) => Some(report.into()),
                Some(AnswerV1::Report(report)) => Some(report.into()),
                Some(AnswerV1::NotKnown) if form != ReportForm::V1 => {
                    form = if form == ReportForm::V3 { ReportForm::V2 } else { ReportForm::V1 };
                    continue;
                }
                // The member may return with another version.
                _ => {
                    form = ReportForm::V3;
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
    fn a_clock_is_off_when_most_of_the_others_say_so() {
        let is_off = |differences: &[u64]| is_most_above(differences.iter().copied(), 60);
        assert!(is_off(&[61]) && is_off(&[100, 100]) && is_off(&[100, 100, 0]));
        assert!(!is_off(&[]) && !is_off(&[60]) && !is_off(&[100, 0]), "one may be wrong itself");
    }
}
