//! The questions of probes: does the process work, can it serve TLS, has it started.

use std::time::Duration;

use conclave_cluster::node::Node;
use conclave_store::scope::Scope;

/// Longest time for a loop of this process to answer.
const MOVING_TIMEOUT: Duration = Duration::from_secs(2);
/// Entries that the log notes as committed and this node may still have to apply. More is a node
/// that catches up.
const CATCH_UP_ENTRIES_MAX: u64 = 1_024;

/// One thing that a probe asks.
pub(super) struct Check {
    /// The good case, in words.
    pub(super) what: &'static str,
    /// What is wrong.
    pub(super) problem: Option<String>,
}

fn check(what: &'static str, problem: Option<impl Into<String>>) -> Check {
    Check { what, problem: problem.map(Into::into) }
}

/// Checks that the loops of this process move.
pub(super) async fn live(node: &Node) -> Vec<Check> {
    let member = node.member();
    let raft = async {
        match &member {
            Some(member) => member.replica.raft().is_moving(MOVING_TIMEOUT).await,
            None => true,
        }
    };
    let (raft, edge) = tokio::join!(raft, node.edge().is_moving(MOVING_TIMEOUT));
    let stands = |is_moving: bool| (!is_moving).then_some("it does not answer");
    vec![check("raft moves", stands(raft)), check("connections are accepted", stands(edge))]
}

/// Checks that this node can serve TLS, and does. Whether it leads does not matter, nor whether
/// anybody does: TLS needs no leader.
pub(super) fn ready(node: &Node) -> Vec<Check> {
    let observed = node.observed();
    let mut checks = started(node);
    checks.push(check("raft caught up", behind(node)));
    checks.push(check("keyring unsealed", node.keyring().sealed_reason()));
    let closed: Vec<String> = node
        .edge()
        .listeners()
        .into_iter()
        .filter(|listener| !listener.problems.is_empty())
        .map(|listener| format!("{} ({})", listener.name, listener.problems.join(", ")))
        .collect();
    checks.push(check("listeners open", (!closed.is_empty()).then(|| closed.join("; "))));
    let drains = node.edge().drain_progress().is_some() && !observed.is_stopping();
    checks.push(check("not draining", drains.then_some("new clients must go to other nodes")));
    checks.push(check("not stopping", observed.is_stopping().then_some("the process ends")));
    checks
}

/// Checks that the start is complete.
pub(super) fn started(node: &Node) -> Vec<Check> {
    let is_started = node.observed().is_started();
    vec![check("started", (!is_started).then_some("it is starting"))]
}

/// Returns why this node does not show what its log says is committed.
fn behind(node: &Node) -> Option<String> {
    let Some(member) = node.member() else { return Some("it belongs to no cluster".to_owned()) };
    let raft = member.replica.raft();
    let status = raft.status();
    if let Some(reason) = status.stopped {
        return Some(reason);
    }
    if node.live().reports(Scope::Shared).borrow().index.0 == 0 {
        return Some("the log is not replayed".to_owned());
    }
    let left = raft.settled().borrow().saturating_sub(status.applied);
    (left > CATCH_UP_ENTRIES_MAX).then(|| format!("{left} entries are not applied"))
}
