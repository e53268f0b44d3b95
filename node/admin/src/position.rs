//! Where an answer stands in the order of changes: `Conclave-Index`, and `Conclave-Min-Index` to
//! read at any node what was written at another.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    http::{HeaderName, HeaderValue, request::Parts},
    response::Response,
};
use conclave_api::{
    path::{INDEX_HEADER, LEADER_HEADER, MIN_INDEX_HEADER, NODE_HEADER},
    problem::{Code, Problem},
};
use conclave_cluster::{node::Node, operate::Reached};
use tokio::time::Instant;

use super::parameters;

/// The index that a request has reached: before its route, what this node had applied; after a
/// change, the index of the change.
#[derive(Clone)]
pub(super) struct Position {
    reached: Reached,
    /// Whether the request is about the local scope, which has an order of its own.
    is_local: bool,
}

impl Position {
    /// Waits for the index that the caller wants to be in the answer, and notes the present one.
    pub(super) async fn take(parts: &mut Parts, node: &Node) -> Result<Position, Problem> {
        let wanted = parts.headers.get(MIN_INDEX_HEADER);
        let wanted = wanted.map(|value| {
            let number = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
            let title = "Conclave-Min-Index must be an index: a whole number";
            number.ok_or_else(|| Problem::new(Code::Malformed, title))
        });
        if let Some(wanted) = wanted.transpose()? {
            let deadline = Instant::now() + parameters::timeout(&parts.uri);
            conclave_cluster::operate::wait_until(node, wanted, deadline).await?;
        }
        let applied = node.replica().map_or(0, |replica| replica.raft().status().applied);
        let reached = Arc::new(AtomicU64::new(applied));
        parts.extensions.insert(Arc::clone(&reached));
        let is_local = parameters::is_local(&parts.uri);
        Ok(Position { reached, is_local })
    }

    /// Says in an answer who answers, who leads, and what the answer contains.
    pub(super) fn tell(&self, node: &Node, answer: &mut Response) {
        let mut tell = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.headers_mut().insert(HeaderName::from_static(name), value);
            }
        };
        tell(NODE_HEADER, node.config().name.as_str());
        let Ok(replica) = node.replica() else { return };
        if !self.is_local {
            tell(INDEX_HEADER, &self.reached.load(Ordering::Relaxed).to_string());
        }
        let point = replica.point();
        if let Some(leader) = replica.known_leader().and_then(|id| point.state.member(&id)) {
            tell(LEADER_HEADER, leader.name.as_str());
        }
    }
}
