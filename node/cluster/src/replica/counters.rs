//! What a replica counts for the metrics of its node.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use conclave_raft::Status;
use conclave_store::id::NodeId;
use conclave_system::{clock, histogram::Histogram};

use tokio::time::{Instant, timeout};

use super::{Replica, report::NodeReport};

/// Longest wait for the leader to tell about the members. A scrape must not wait for a dead one.
const ASK_TIMEOUT: Duration = Duration::from_millis(50);
/// Age up to which its last answer stands in for one that does not come.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(2);

/// Longest wait for a change of the status, before the wait begins anew.
const STATUS_WAIT: Duration = Duration::from_secs(600);

/// Counters since the start of the member.
#[derive(Default)]
pub struct Counters {
    /// Times from a proposal of this leader until it was committed and applied.
    pub commits: Histogram,
    /// Times until a group of records was durable in the log.
    pub flushes: Histogram,
    /// Changes that this node sent to the leader.
    pub forwarded: AtomicU64,
    /// How often this node saw another leader than before.
    pub leader_changes: AtomicU64,
    /// The last answer of a leader about the members, and when it came.
    answered: Mutex<Option<(Instant, BTreeMap<NodeId, NodeReport>)>>,
    /// Time of the last snapshot that this node took, in seconds since 1970; 0: none yet.
    pub snapshot_s: AtomicU64,
}

/// What this node knows about the members and its leader without much asking.
pub struct Contact {
    /// Reports of the members, by the leader if it answers. Of a node without a leader: its own.
    pub reports: BTreeMap<NodeId, NodeReport>,
    /// Whether this node leads, and hears a quorum.
    pub is_leader: bool,
    /// Whether this node leads, or was asked by a leader just now.
    pub has_leader: bool,
}

impl Replica {
    /// Returns what this replica counts.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Returns the number of commands that wait for a place in the log.
    pub fn commands_waiting(&self) -> usize {
        self.shared.proposer.waiting()
    }

    /// Returns the leader, if a quorum follows it as far as this node knows.
    pub fn known_leader(&self) -> Option<NodeId> {
        let (reports, recent) = (&self.shared.reports, self.shared.election_timeout * 4);
        let is_followed =
            self.leads_quorum() || reports.confirmed_since().is_some_and(|since| since < recent);
        let leader = self.shared.raft.status().leader.filter(|_| is_followed);
        leader.map(|id| NodeId(id.0))
    }

    /// Returns the reports of the members. Asks nobody but the leader, so that a node without one
    /// answers at once.
    pub async fn contact(&self) -> Contact {
        let reports = &self.shared.reports;
        let is_leader = self.leads_quorum();
        // A leader asks each member at least twice in an election timeout.
        let recent = self.shared.election_timeout * 4;
        let has_leader = is_leader || reports.confirmed_since().is_some_and(|since| since < recent);
        let known = match has_leader {
            true => self.members_heard().await,
            false => BTreeMap::from([(self.shared.id, reports.own())]),
        };
        Contact { reports: known, is_leader, has_leader }
    }

    /// Returns the reports of the members as the leader has them, or had them a moment ago.
    async fn members_heard(&self) -> BTreeMap<NodeId, NodeReport> {
        let asked = timeout(ASK_TIMEOUT, self.all_reports()).await;
        let mut last = self.shared.counters.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            // One that tells of this node alone is none, unless the node is alone.
            Ok(reports) if reports.len() > 1 || self.leads_quorum() => {
                *last = Some((Instant::now(), reports.clone()));
                reports
            }
            _ => {
                let recent = last.as_ref().filter(|(at, _)| at.elapsed() < ANSWER_AGE_MAX);
                let mut reports = recent.map(|(_, reports)| reports.clone()).unwrap_or_default();
                reports.insert(self.shared.id, self.shared.reports.own());
                reports
            }
        }
    }

    /// Counts the leaders that this node sees, and notes the time of its snapshots, until dropped.
    pub(crate) async fn follow_status(self) {
        let counters = &self.shared.counters;
        let mut last = self.shared.raft.status();
        loop {
            let is_other = |now: &Status| {
                let has_other_leader = now.leader.is_some() && now.leader != last.leader;
                has_other_leader || now.snapshot > last.snapshot || now.stopped.is_some()
            };
            let Some(status) = self.shared.raft.wait_status(is_other, STATUS_WAIT).await else {
                continue;
            };
            if status.stopped.is_some() {
                return;
            }
            if status.snapshot > last.snapshot {
                counters.snapshot_s.store(clock::now().0 / 1_000, Relaxed);
            }
            // The first leader that a node sees after its start is no change.
            let has_changed = last.leader.is_some()
                && status.leader.is_some_and(|leader| Some(leader) != last.leader);
            counters.leader_changes.fetch_add(u64::from(has_changed), Relaxed);
            let leader = status.leader.or(last.leader);
            last = Status { leader, ..status };
        }
    }
}
