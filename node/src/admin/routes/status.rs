//! Routes for the status of the cluster and its nodes.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use conclave_api::{
    API_VERSION,
    change::List,
    node::Node as ApiNode,
    problem::Code,
    status::{ClusterStatus, DomainCounts, KeyringStatus, Status, StatusProblem},
};
use conclave_raft::Role;
use conclave_store::{
    id::{Fingerprint, NodeId, ServerName},
    record::{Domain, PkiMode},
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;

use super::Answer;
use crate::{
    admin::asked::Asked,
    fault::internal,
    replica::{NodeReport, Replica},
    view,
};

const EXPIRING_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Most domain problems in a status. The counts include the others.
const PROBLEMS_MAX: usize = 100;

pub(super) async fn nodes(asked: Asked) -> Answer<List<ApiNode>> {
    let replica = asked.operator.node.replica()?;
    let (reports, lagging) = replica.lagging().await;
    Ok(Json(List::new(members(&replica, &reports, &lagging))))
}

/// Answers the status as this node knows it. Needs no quorum, and works before the node has a
/// cluster.
pub(super) async fn show(asked: Asked) -> Answer<Status> {
    let now = clock::now();
    let local = asked.operator.node.local().point();
    let status = Status {
        api_version: API_VERSION.to_owned(),
        kind: "Status".to_owned(),
        node: asked.operator.node.config().name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: None,
        keyring: None,
        nodes: Vec::new(),
        domains: DomainCounts::default(),
        problems: Vec::new(),
    };
    let member = asked.operator.node.member();
    let point = member.as_ref().map(|member| member.replica.point()).unwrap_or_default();
    let shared = point.state.clone();
    let counted = tokio::task::spawn_blocking(move || {
        let mut status = status;
        count(local.state.domains(), now, &mut status);
        count(shared.domains(), now, &mut status);
        status
    });
    let mut status = counted.await.map_err(|error| internal("the counts", error))?;
    let Some(member) = member else { return Ok(Json(status)) };
    let replica = &member.replica;
    let (reports, lagging) = replica.lagging().await;
    status.nodes = members(replica, &reports, &lagging);
    listeners(&asked, &mut status);
    main_domain(&asked, &point.state, &mut status);
    if let Some(cluster) = point.state.cluster() {
        let sealed = |node: &&ApiNode| node.state == "sealed";
        status.keyring = Some(KeyringStatus {
            generation: cluster.generation.0,
            sealed_nodes: status.nodes.iter().filter(sealed).map(|n| n.name.clone()).collect(),
        });
    }
    node_problems(&mut status);
    status.cluster = cluster_status(replica, &point.state, &status);
    Ok(Json(status))
}

fn cluster_status(replica: &Replica, state: &State, status: &Status) -> Option<ClusterStatus> {
    let cluster = state.cluster()?;
    let raft = replica.raft().status();
    let name = |id: NodeId| state.member(&id).map(|member| member.name.to_string());
    let leader = raft.leader.and_then(|id| name(NodeId(id.0)));
    let voters = raft.voters.len();
    let is_reachable_voter =
        |node: &&ApiNode| node.state != "unreachable" && node.role != "learner";
    let reachable = status.nodes.iter().filter(is_reachable_voter).count();
    let quorum = voters / 2 + 1;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let health = match (&leader, status.problems.is_empty()) {
        (None, _) => "no-leader",
        (Some(_), true) => "healthy",
        (Some(_), false) => "attention",
    };
    Some(ClusterStatus {
        name: cluster.name.to_string(),
        id: cluster.id.to_string(),
        fingerprint: Fingerprint::of(&cluster.authority_der).to_string(),
        health: health.to_owned(),
        voters: count(voters),
        learners: count(raft.learners.len()),
        stale: leader.is_none(),
        leader,
        term: raft.term,
        quorum: count(quorum),
        can_lose: count(reachable.saturating_sub(quorum)),
        commit_index: raft.committed,
        applied_index: raft.applied,
        snapshot_index: raft.snapshot,
        purged_index: raft.purged,
        rows: state.row_count(),
        digest: Fingerprint(state.digest()).to_string(),
    })
}

fn members(
    replica: &Replica,
    reports: &BTreeMap<NodeId, NodeReport>,
    lagging: &BTreeSet<NodeId>,
) -> Vec<ApiNode> {
    let point = replica.point();
    let raft = replica.raft().status();
    let members = point.state.members();
    members
        .map(|(id, member)| {
            let raft_id = conclave_raft::NodeId(id.0);
            let report = reports.get(id);
            let role = if raft.leader == Some(raft_id) {
                "leader"
            } else if *id == replica.id() && raft.role == Role::Candidate {
                "candidate"
            } else if raft.voters.contains_key(&raft_id) {
                "follower"
            } else {
                "learner"
            };
            let state = match report {
                None => "unreachable",
                Some(report) if report.is_sealed => "sealed",
                Some(report) if report.is_draining => "draining",
                Some(_) if lagging.contains(id) => "lagging",
                Some(_) => "ready",
            };
            let matched = raft.peers.get(&raft_id).map(|peer| peer.matched);
            ApiNode {
                name: member.name.to_string(),
                id: id.0,
                role: role.to_owned(),
                state: state.to_owned(),
                address: member.address.clone(),
                lag_entries: matched.map(|matched| raft.last.saturating_sub(matched)),
                served_index: report.map(|report| report.index.0),
                digest: report.map(|report| Fingerprint(report.digest).to_string()),
                rows: report.map(|report| report.rows),
                connections: report.map(|report| report.connections),
                handshakes: report.map(|report| report.handshakes),
                started: report.map(|report| clock::rfc3339(report.started)),
                version: report.map(|report| report.version.clone()),
            }
        })
        .collect()
}

fn count<'a>(domains: impl Iterator<Item = &'a Domain>, now: UnixMillis, status: &mut Status) {
    for domain in domains {
        let counts = &mut status.domains;
        // Of two certificates, the one that expires first decides.
        let ending = domain.certificates().min_by_key(|one| one.not_after);
        counts.total += 1;
        let (severity, code) = match (domain.mode, &ending) {
            (PkiMode::Disabled, _) => {
                counts.disabled += 1;
                continue;
            }
            (PkiMode::Test, _) => {
                counts.test += 1;
                continue;
            }
            (PkiMode::Enabled, Some(found)) if now < found.not_before || found.not_after < now => {
                counts.problem += 1;
                ("error", Code::CertificateOutOfDate)
            }
            (PkiMode::Enabled, Some(found)) if found.not_after < now.plus(EXPIRING_MS) => {
                counts.expiring += 1;
                ("warning", Code::CertificateExpiring)
            }
            (PkiMode::Enabled, Some(_)) => {
                counts.valid += 1;
                continue;
            }
            (PkiMode::Enabled, None) => {
                counts.problem += 1;
                ("error", Code::CertificateMissing)
            }
        };
        if status.problems.len() < PROBLEMS_MAX {
            let text = match (code, ending) {
                (Code::CertificateExpiring, Some(found)) => {
                    format!("expires {}", clock::rfc3339(found.not_after))
                }
                _ => view::problems(domain, now).join("; "),
            };
            status.problems.push(StatusProblem {
                code,
                severity: severity.to_owned(),
                object: domain.name.to_string(),
                text,
                hint: format!("conclave domain show {}", domain.name),
            });
        }
    }
}

fn listeners(asked: &Asked, status: &mut Status) {
    for listener in asked.operator.node.edge().listeners() {
        for problem in listener.problems {
            status.problems.push(StatusProblem {
                code: Code::PortUnavailable,
                severity: "error".to_owned(),
                object: listener.name.to_string(),
                text: format!("not open on {}: {problem}", asked.operator.node.config().name),
                hint: "conclave listener list".to_owned(),
            });
        }
    }
}

/// Reports a conflict: a shared domain already had the name of this node's Main Domain when the
/// node claimed it.
fn main_domain(asked: &Asked, state: &State, status: &mut Status) {
    let config = asked.operator.node.config();
    let name = ServerName::from(config.main_domain.clone());
    if let Some(owner) = state.name_owner(&name) {
        status.problems.push(StatusProblem {
            code: Code::NameTaken,
            severity: "error".to_owned(),
            object: config.name.to_string(),
            text: format!("its Main Domain {name} has the name of the shared domain {owner}"),
            hint: format!("conclave domain rename {owner} NEW    or another [node] main_domain"),
        });
    }
}

fn node_problems(status: &mut Status) {
    for node in &status.nodes {
        let (code, text, hint) = match node.state.as_str() {
            "unreachable" => {
                (Code::NodeUnreachable, "does not answer", "start it, or look at its log")
            }
            "sealed" => (
                Code::Sealed,
                "is sealed: it serves no private keys",
                "put its unlock key back and restart it",
            ),
            "lagging" => (
                Code::NodeLagging,
                "serves less than the cluster has committed",
                "it may be catching up; if it stays so, look at its disk and its log",
            ),
            _ => continue,
        };
        status.problems.push(StatusProblem {
            code,
            severity: "error".to_owned(),
            object: node.name.clone(),
            text: text.to_owned(),
            hint: hint.to_owned(),
        });
    }
}
