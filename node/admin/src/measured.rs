//! Counts of the requests to the API, for the metrics of the node.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use conclave_cluster::node::Node;
use tokio::time::Instant;

/// Passes a request on, and counts it by the template of its path: the path itself is the client's
/// choice.
pub(super) async fn count(State(node): State<Node>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let answer = next.run(request).await;
    let route = route.as_ref().map(MatchedPath::as_str);
    let (status, took) = (answer.status().as_u16(), started.elapsed());
    node.observed().requests().count(route, method.as_str(), status, took);
    answer
}
