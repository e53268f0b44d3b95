//! Routes for the status of the cluster and its nodes.

use std::time::{Duration, Instant};

use axum::Json;
use conclave_api::{
    API_VERSION,
    change::List,
    finding::Severity,
    node::Node as ApiNode,
    status::{DomainCounts, KeyringStatus, Status},
};
use conclave_cluster::{
    fault::internal,
    view::{self, Inspected},
};
use conclave_store::scope::Scope;
use conclave_system::clock;

use super::Answer;
use crate::asked::Asked;

/// Longest time for a status to judge domains that are not remembered, as every page shows one. The
/// rest is judged in the background.
const INSPECT_TIME_MAX: Duration = Duration::from_millis(50);

pub(super) async fn nodes(asked: Asked) -> Answer<List<ApiNode>> {
    let replica = asked.operator.node.replica()?;
    let outlook = replica.outlook().await;
    let (point, raft) = (replica.point(), replica.raft().status());
    let members = view::members(replica.id(), &point.state, &raft, &outlook);
    // Members are in the order of their numbers.
    Ok(Json(asked.page.of(members, |node| format!("{:020}", node.id))))
}

/// Answers the status as this node knows it. Needs no quorum, and works before the node has a
/// cluster.
pub(super) async fn show(asked: Asked) -> Answer<Status> {
    let node = &asked.operator.node;
    let mut status = Status {
        api_version: API_VERSION.to_owned(),
        kind: "Status".to_owned(),
        node: node.config().name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: None,
        keyring: None,
        backup: None,
        nodes: Vec::new(),
        domains: DomainCounts::default(),
        canaries: Vec::new(),
        problems: Vec::new(),
    };
    let member = node.member();
    // The answer about members may take a second without a leader, so State is read after it.
    let outlook = match &member {
        Some(member) => Some(member.replica.outlook().await),
        None => None,
    };
    let point = member.as_ref().map(|member| member.replica.point()).unwrap_or_default();
    let inspected = inspect(&asked, point.state.clone()).await?;
    status.domains = inspected.counts;
    if let (Some(member), Some(outlook)) = (&member, &outlook) {
        let raft = member.replica.raft().status();
        status.nodes = view::members(member.replica.id(), &point.state, &raft, outlook);
        status.problems = view::member_problems(&point.state, outlook, &status.nodes);
        status.problems.extend(view::main_domain(node.config(), &point.state));
        status.problems.extend(view::backup_problems(&point.state, clock::now()));
        status.canaries = view::canaries(&point.state);
        status.backup = view::last_backup(&point.state, clock::now());
        status.keyring = point.state.cluster().map(|cluster| {
            let sealed = status.nodes.iter().filter(|node| node.state == "sealed");
            let sealed_nodes = sealed.map(|node| node.name.clone()).collect();
            KeyringStatus { generation: cluster.generation.0, sealed_nodes }
        });
        status.problems.extend(inspected.problems);
        status.cluster = view::cluster(&point.state, &raft, outlook, &status);
    }
    status.problems.sort_by_key(|one| std::cmp::Reverse(one.severity == Severity::Error));
    Ok(Json(status))
}

/// Counts the domains of both scopes. The problems are those of the shared ones: each node reports
/// its local ones itself.
async fn inspect(
    asked: &Asked,
    shared: conclave_store::state::State,
) -> Result<Inspected, crate::problem::Failed> {
    let node = asked.operator.node.clone();
    let inspected = tokio::task::spawn_blocking(move || {
        let (now, deadline) = (clock::now(), Instant::now() + INSPECT_TIME_MAX);
        let local = node.local().point();
        let inspections = node.inspections();
        let local = view::domains(inspections, Scope::Local, &local.state, now, deadline);
        let mut found = view::domains(inspections, Scope::Shared, &shared, now, deadline);
        found.counts = found.counts.sum(&local.counts);
        found.problems.extend(view::lists(&shared, now));
        found.problems.extend(view::issuers(&shared, now));
        found
    });
    Ok(inspected.await.map_err(|error| internal("the counts", error))?)
}
