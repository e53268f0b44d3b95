//! The log of changes that were asked of this node: who, what, from where, and what came of it.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use conclave_api::path::KEYRING_UNSEAL;
use tokio::time::Instant;

use super::auth::Door;
use crate::{node::Node, operate::Caller};

/// Passes a request on. Logs it if it is not a mere read.
pub(super) async fn log(State(node): State<Node>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &node).await;
    let who = match &caller {
        Ok(caller) => caller.principal.to_string(),
        Err(_) => "not logged in".to_owned(),
    };
    let from = parts.extensions.get::<Door>().map(ToString::to_string).unwrap_or_default();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let is_dry_run =
        parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "dry_run=true"));
    let answer = match caller {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        // A sealed node cannot check a token. `Unsealer` says who may unseal it.
        Err(_) if path == KEYRING_UNSEAL => next.run(Request::from_parts(parts, body)).await,
        Err(failed) => failed.into_response(),
    };
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = answer.status().as_u16();
    match is_dry_run {
        true => tracing::debug!(
            event = "api.tried", %who, from, %method, path, status, took_ms
        ),
        false => tracing::info!(
            event = "api.change", %who, from, %method, path, status, took_ms
        ),
    }
    answer
}
