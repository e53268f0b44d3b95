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
        NodeReport {
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
    peers: Mutex<BTreeMap<NodeId, (NodeReport, Instant)>>,
    changed: watch::Sender<()>,
    /// Changes that wait for being served.
    waiting: watch::Sender<usize>,
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
            .filter(|(_, (_, heard))| heard.elapsed() < HOLD_MAX * 4)
            .map(|(id, (report, _))| (*id, report.clone()))
            .collect();
        known.insert(self.shared.own, self.own());
        known
    }

    fn heard(&self, peer: NodeId, report: NodeReport) {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.insert(peer, (report, Instant::now()));
        drop(peers);
        self.shared.changed.send_replace(());
    }

    fn heard_index(&self, peer: NodeId) -> u64 {
        let peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&peer).map_or(0, |(report, _)| report.index.0)
    }
}

/// Whether a member serves a command.
#[derive(PartialEq, Eq)]
enum Serves {
    Yes,
    NotYet,
    /// It cannot, or it has not been heard of for two election timeouts.
    No,
}

fn serves(report: &NodeReport, index: LogIndex) -> Serves {
    if report.is_sealed || report.failed.contains(&index) {
        Serves::No
    } else if report.index >= index {
        Serves::Yes
    } else {
        Serves::NotYet
    }
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
        loop {
            peers.mark_unchanged();
            own.mark_unchanged();
            let members = self.served_by(index);
            let is_waiting = members.iter().any(|(_, serves)| *serves == Serves::NotYet);
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
        let is_new = leading_since.elapsed() < self.shared.election_timeout * 4;
        let known = self.shared.reports.known();
        self.served_by(index).into_iter().all(|(id, serves)| match serves {
            Serves::Yes => true,
            Serves::NotYet => false,
            Serves::No => known.contains_key(&id) || !is_new,
        })
    }

    fn served_by(&self, index: LogIndex) -> Vec<(NodeId, Serves)> {
        let status = self.shared.raft.status();
        let silence_max = self.shared.election_timeout * 2;
        let peers = self.shared.reports.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let members = status.voters.keys().chain(status.learners.keys());
        members
            .map(|id| NodeId(id.0))
            .map(|id| {
                if id == self.shared.id {
                    return (id, serves(&self.shared.reports.own(), index));
                }
                let heard = peers.get(&id);
                let answer = match heard {
                    Some((report, heard)) => match serves(report, index) {
                        Serves::NotYet if heard.elapsed() > silence_max => Serves::No,
                        other => other,
                    },
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
        loop {
            let after = self.shared.reports.heard_index(member);
            let request = encode(&RequestV1::Report { after, hold_ms });
            let timeout = self.shared.election_timeout * 2;
            let peer = conclave_raft::NodeId(member.0);
            let answer = self.shared.raft.call(peer, request, timeout).await;
            match answer.ok().and_then(|answer| decode(&answer)) {
                Some(AnswerV1::Report(report)) => {
                    self.shared.reports.heard(member, report.into());
                    let _ = tokio::time::timeout(hold / 4, waiting.wait_for(|n| *n > 0)).await;
                }
                _ => tokio::time::sleep(hold / 4).await,
            }
        }
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
