//! The members of a cluster and its health, as this node knows them.

use conclave_api::{
    finding::Severity,
    node::Node as ApiNode,
    problem::Code,
    status::{ClusterStatus, Health, Status, StatusProblem},
};
use conclave_raft::{Role, Status as Raft};
use conclave_store::{
    id::{Fingerprint, NodeId, ServerName},
    state::State,
};
use conclave_system::clock;

use crate::{
    config::Config,
    replica::{NodeReport, Outlook},
};

/// Largest difference of a node's clock from those of the others that is not worth a word.
const CLOCK_OFF_MS_MAX: u64 = 1_000;

/// Converts the members.
pub fn members(own: NodeId, state: &State, raft: &Raft, outlook: &Outlook) -> Vec<ApiNode> {
    let member = |(id, member): (&NodeId, &conclave_store::record::Member)| {
        let raft_id = conclave_raft::NodeId(id.0);
        let zone = state.member_place(*id).zone;
        let report = outlook.reports.get(id);
        let role = if outlook.is_confirmed && raft.leader == Some(raft_id) {
            "leader"
        } else if *id == own && raft.role == Role::Candidate {
            "candidate"
        } else if !raft.voters.contains_key(&raft_id) {
            "learner"
        } else if report.is_none() || !outlook.is_confirmed {
            // What it is now is not known.
            "voter"
        } else {
            "follower"
        };
        let state = match report {
            None => "unreachable",
            Some(report) if report.is_sealed => "sealed",
            Some(report) if report.is_draining => "draining",
            Some(_) if outlook.lagging.contains(id) => "lagging",
            Some(_) => "ready",
        };
        let matched = raft.peers.get(&raft_id).map(|peer| peer.matched);
        ApiNode {
            name: member.name.to_string(),
            id: id.0,
            role: role.to_owned(),
            state: state.to_owned(),
            address: member.address.clone(),
            zone,
            lag_entries: matched.map(|matched| raft.last.saturating_sub(matched)),
            served_index: report.map(|report| report.index.0),
            digest: report.map(|report| Fingerprint(report.digest).to_string()),
            rows: report.map(|report| report.rows),
            connections: report.map(|report| report.connections),
            handshakes: report.map(|report| report.handshakes),
            started: report.map(|report| clock::rfc3339(report.started)),
            version: report.map(|report| report.version.clone()),
            clock_ahead_ms: report.and_then(|report| report.ahead_ms),
        }
    };
    state.members().map(member).collect()
}

/// Converts the cluster. `status` has its members and problems already.
pub fn cluster(
    state: &State,
    raft: &Raft,
    outlook: &Outlook,
    status: &Status,
) -> Option<ClusterStatus> {
    let cluster = state.cluster()?;
    let name = |id: NodeId| state.member(&id).map(|member| member.name.to_string());
    let leader = raft.leader.filter(|_| outlook.is_confirmed).and_then(|id| name(NodeId(id.0)));
    let voters = raft.voters.len();
    let answers = |id: &&conclave_raft::NodeId| outlook.reports.contains_key(&NodeId(id.0));
    let reachable = raft.voters.keys().filter(answers).count();
    let quorum = voters / 2 + 1;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let health = match (&leader, status.problems.is_empty()) {
        (None, _) if reachable < quorum => Health::NoQuorum,
        (None, _) => Health::NoLeader,
        (Some(_), true) => Health::Healthy,
        (Some(_), false) => Health::Attention,
    };
    let since = outlook.confirmed_since.filter(|_| !outlook.is_confirmed);
    Some(ClusterStatus {
        name: cluster.name.to_string(),
        id: cluster.id.to_string(),
        fingerprint: Fingerprint::of(&cluster.authority_der).to_string(),
        health,
        voters: count(voters),
        learners: count(raft.learners.len()),
        stale: !outlook.is_confirmed,
        stale_s: since.map(|since| since.as_secs()),
        leader,
        term: raft.term,
        level: state.level(),
        level_possible: super::possible_level(state, &outlook.versions()),
        quorum: count(quorum),
        reachable: count(reachable),
        can_lose: count(reachable.saturating_sub(quorum)),
        commit_index: raft.committed,
        applied_index: raft.applied,
        snapshot_index: raft.snapshot,
        purged_index: raft.purged,
        rows: state.row_count(),
        digest: Fingerprint(state.digest()).to_string(),
    })
}

/// Returns what is wrong with the members: what they are, and what they say of themselves.
pub fn member_problems(state: &State, outlook: &Outlook, nodes: &[ApiNode]) -> Vec<StatusProblem> {
    let mut problems: Vec<StatusProblem> = nodes.iter().filter_map(state_problem).collect();
    let name = |id: &NodeId| match state.member(id) {
        Some(member) => member.name.to_string(),
        None => format!("node {id}"),
    };
    for (id, ahead_ms) in clocks_off(outlook) {
        let apart = std::time::Duration::from_millis(ahead_ms.unsigned_abs());
        let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
        problems.push(StatusProblem {
            code: Code::ClockOff,
            severity: Severity::Error,
            object: name(&id),
            text: format!("its clock is {} {side} those of the other nodes", in_words(apart)),
            hint: "set the clock of that machine, and let it follow a time server".to_owned(),
        });
    }
    for (id, report) in &outlook.reports {
        problems.extend(said(&name(id), report));
    }
    problems
}

fn state_problem(node: &ApiNode) -> Option<StatusProblem> {
    let (code, severity, text, hint) = match node.state.as_str() {
        "unreachable" => (
            Code::NodeUnreachable,
            Severity::Error,
            "does not answer",
            "start it, or look at its log".to_owned(),
        ),
        "sealed" => (
            Code::Sealed,
            Severity::Error,
            "is sealed: it serves no private keys",
            format!("on {}: conclave keyring unseal", node.name),
        ),
        "lagging" => (
            Code::NodeLagging,
            Severity::Error,
            "serves less than the cluster has committed",
            "it may be catching up; if it stays so, look at its disk and its log".to_owned(),
        ),
        "draining" => (
            Code::NodeDrained,
            Severity::Warning,
            "is drained: it takes no new connections",
            format!("conclave node resume {}", node.name),
        ),
        _ => return None,
    };
    let (object, text) = (node.name.clone(), text.to_owned());
    Some(StatusProblem { code, severity, object, text, hint })
}

/// Returns what a member says of itself.
fn said<'r>(
    name: &'r str,
    report: &'r NodeReport,
) -> impl Iterator<Item = StatusProblem> + use<'r> {
    report.attention.iter().map(move |one| StatusProblem {
        code: Code::parse(&one.code).unwrap_or(Code::Internal),
        severity: if one.is_error { Severity::Error } else { Severity::Warning },
        object: one.object.clone(),
        text: match one.object == name {
            true => one.text.clone(),
            false => format!("on {name}: {}", one.text),
        },
        hint: one.hint.clone(),
    })
}

/// Returns the members whose clocks differ from the median of all, with the difference.
fn clocks_off(outlook: &Outlook) -> Vec<(NodeId, i64)> {
    let ahead = outlook.reports.iter().filter_map(|(id, report)| Some((*id, report.ahead_ms?)));
    let all: Vec<(NodeId, i64)> = ahead.collect();
    let mut sorted: Vec<i64> = all.iter().map(|(_, ahead)| *ahead).collect();
    sorted.sort_unstable();
    // Of two clocks nobody can tell which is wrong; the leader's decides over leases and tokens.
    let median = if sorted.len() <= 2 { Some(&0) } else { sorted.get(sorted.len() / 2) };
    let Some(median) = median.copied() else { return Vec::new() };
    let off = all.into_iter().map(|(id, ahead)| (id, ahead.saturating_sub(median)));
    off.filter(|(_, ahead)| ahead.unsigned_abs() > CLOCK_OFF_MS_MAX).collect()
}

/// Writes a duration in its largest unit.
fn in_words(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=119 => format!("{:.1} s", duration.as_secs_f64()),
        120..=7_199 => format!("{} minutes", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Returns the problem that a shared domain already had the name of this node's Main Domain when
/// the node claimed it.
pub fn main_domain(config: &Config, state: &State) -> Option<StatusProblem> {
    let name = ServerName::from(config.main_domain.clone());
    let owner = state.name_owner(&name)?;
    Some(StatusProblem {
        code: Code::NameTaken,
        severity: Severity::Error,
        object: config.name.to_string(),
        text: format!("its Main Domain {name} has the name of the shared domain {owner}"),
        hint: format!("conclave domain rename {owner} NEW    or another [node] main_domain"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn outlook(ahead: &[i64]) -> Outlook {
        let reports = (1..).zip(ahead).map(|(id, ahead)| {
            (NodeId(id), NodeReport { ahead_ms: Some(*ahead), ..NodeReport::default() })
        });
        Outlook {
            reports: reports.collect::<BTreeMap<_, _>>(),
            lagging: BTreeSet::new(),
            is_confirmed: true,
            confirmed_since: None,
        }
    }

    #[test]
    fn the_clock_that_differs_from_most_is_off() {
        let off = |ahead: &[i64]| clocks_off(&outlook(ahead));
        assert_eq!(off(&[0, 1_000, -1_000]), []);
        assert_eq!(off(&[0, 1_700, 3]), [(NodeId(2), 1_697)]);
        // The leader itself, which measures the others by its own clock.
        assert_eq!(off(&[0, 90_000, 90_001]), [(NodeId(1), -90_000)]);
        assert_eq!(off(&[0, 90_000]), [(NodeId(2), 90_000)]);
        assert_eq!(off(&[0]), []);
    }

    #[test]
    fn durations_are_said_in_their_largest_unit() {
        let said = |seconds| in_words(std::time::Duration::from_secs(seconds));
        assert_eq!(
            [said(3), said(300), said(9_000), said(40 * 86_400)],
            ["3.0 s", "5 minutes", "2 hours", "40 days"]
        );
    }
}
