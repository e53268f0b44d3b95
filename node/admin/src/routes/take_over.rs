//! Route for the next process of this node: it takes the listening sockets.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{
        StatusCode,
        header::{CONNECTION, UPGRADE},
    },
    response::{IntoResponse, Response},
};
use conclave_api::{
    node::TakeOver,
    path::TAKE_OVER_PROTOCOL,
    problem::{Code, Problem},
};
use conclave_cluster::node::{Node, TakeOverRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use tokio::net::UnixStream;

use crate::{auth::Door, problem::Failed};

const BODY_BYTES_MAX: usize = 64 * 1024;
const DEADLINE_S_MAX: u64 = 24 * 60 * 60;

/// Answers `101 Switching Protocols` and passes the connection on. Only the unix socket can: no
/// other connection carries descriptors.
pub(super) async fn take_over(
    State(node): State<Node>,
    request: Request,
) -> Result<Response, Failed> {
    let (mut parts, body) = request.into_parts();
    if !matches!(parts.extensions.get::<Door>(), Some(Door::Socket { .. })) {
        let title = "a node is taken over at its admin socket only";
        return Err(Problem::new(Code::NotAllowed, title).into());
    }
    let malformed = |what: &str| Problem::new(Code::Malformed, what);
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| malformed("a long body"))?;
    let asked: TakeOver =
        serde_json::from_slice(&body).map_err(|error| malformed(&error.to_string()))?;
    let protocol = parts.headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let (Some(upgrade), Some(TAKE_OVER_PROTOCOL)) = (upgrade, protocol) else {
        let title = format!("a take-over needs an upgrade to {TAKE_OVER_PROTOCOL}");
        return Err(Problem::new(Code::VersionTooOld, title).into());
    };
    check(&node, &asked)?;
    let place = node.take_over_place().ok_or_else(|| {
        Problem::new(Code::NotTakenOver, "another process takes this node over right now")
    })?;
    let deadline = Duration::from_secs(asked.deadline_s.min(DEADLINE_S_MAX));
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        if let Ok(parts) = downcast::<TokioIo<UnixStream>>(upgraded) {
            place.send(TakeOverRequest { stream: parts.io.into_inner(), deadline });
        }
    });
    let headers = [(UPGRADE, TAKE_OVER_PROTOCOL), (CONNECTION, "upgrade")];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Refuses a process that would be another node, and a node whose sockets are closed.
fn check(node: &Node, asked: &TakeOver) -> Result<(), Problem> {
    let own = std::fs::canonicalize(node.data_dir()).unwrap_or_default();
    if own.to_string_lossy() != asked.data_dir {
        let title = "the running node has another data_dir";
        return Err(Problem::new(Code::ConfigurationInvalid, title)
            .detail(format!("{} and {}", own.display(), asked.data_dir))
            .hint("[node] data_dir must be the same; a move needs a stop"));
    }
    if node.lock().is_manual() && !node.keyring().is_sealed() {
        let title = "the new process would be sealed: this node opens with a passphrase or shares";
        return Err(Problem::new(Code::NotTakenOver, title)
            .why("no key passes from one process to the next")
            .hint("stop it, start it, and then: conclave keyring unseal"));
    }
    if node.edge().drain_progress().is_some() {
        let name = &node.config().name;
        return Err(Problem::new(Code::NotTakenOver, "the running node is drained")
            .why("it has no open sockets to pass on")
            .hint(format!("conclave node resume {name}    or stop it, and start")));
    }
    Ok(())
}
