//! Authentication of API requests: by unix socket or by access token.

use std::{fmt, net::SocketAddr, sync::LazyLock, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{Method, request::Parts},
};
use conclave_api::problem::{Code, Problem};
use conclave_keys::Claim;
use conclave_store::{
    id::{Fingerprint, TokenId},
    record::{AccessToken, Principal, ProofOf, RowKey},
    state::State,
};
use conclave_system::clock;
use tokio::time::Instant;

use super::{asked, problem::Failed};
use crate::{cluster::Rate, http::Guest, node::Node, operate::Caller, token::parse_access_token};

/// Most lines about refused requests, in each of these intervals. Strangers could fill the log.
const REFUSED_LINES_MAX: u32 = 10;
const REFUSED_LINES_EVERY: Duration = Duration::from_secs(60);

/// The socket by which a request arrived. The server attaches it to each request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    /// The unix socket. A client that could open it may do everything.
    Socket { uid: u32 },
    /// HTTPS. A client needs an access token.
    Https { remote: SocketAddr },
}

impl fmt::Display for Door {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Door::Socket { .. } => write!(out, "the admin socket"),
            Door::Https { remote } => write!(out, "{remote}"),
        }
    }
}

impl FromRequestParts<Node> for Caller {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Caller, Failed> {
        if let Some(known) = parts.extensions.get::<Caller>() {
            return Ok(known.clone());
        }
        let caller = authenticate(parts, node).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

async fn authenticate(parts: &Parts, node: &Node) -> Result<Caller, Problem> {
    let door = parts.extensions.get::<Door>();
    if let Some(Door::Socket { uid }) = door {
        return Ok(Caller { principal: Principal::Socket { uid: *uid }, expects: None });
    }
    let refused = |title: &str| {
        log_refused(door, title);
        Problem::new(Code::NotLoggedIn, title)
            .hint("--token-file FILE with a token made on a member: conclave token create NAME")
    };
    let header = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let text = header.and_then(|value| value.strip_prefix("Bearer "));
    let text = text.ok_or_else(|| refused("not logged in: this address needs a token"))?;
    let (id, secret) = parse_access_token(text).ok_or_else(|| refused("invalid token"))?;
    let secret = Fingerprint::of(&secret);
    let ended = || refused("this token is not known, or it has ended");
    let replica = node.replica()?;
    let caller = holder(node, &replica.point().state, id, secret).ok_or_else(ended)?;
    if let Some(guest) = parts.extensions.get::<Guest>() {
        guest.admit();
    }
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(caller);
    }
    // This node may not have heard yet that the token was revoked. A change of the shared scope is
    // rejected then when it is applied; a drain or a change of the local scope would be made.
    let read = replica.linearizable(asked::timeout(&parts.uri)).await;
    let point = read.map_err(|_| {
        let socket = node.config().admin_socket.display();
        Problem::new(Code::NoLeader, "the cluster has no leader that a quorum follows")
            .why("so this node cannot tell whether the token was revoked")
            .hint(format!("on the node itself no token is needed: --address unix:{socket}"))
    })?;
    holder(node, &point.state, id, secret).ok_or_else(ended)
}

/// Returns the holder of a token that is valid by this State.
fn holder(node: &Node, state: &State, id: TokenId, secret: Fingerprint) -> Option<Caller> {
    // A comparison in constant time is not needed: it compares hashes of random secrets, so its
    // timing reveals nothing useful.
    let token = state.access_token(&id).filter(|token| {
        token.secret == secret
            && token.expires.is_none_or(|expires| clock::now() <= expires)
            && is_proved(node, state, id, token)
    })?;
    let principal = Principal::Token { id, name: token.name.clone() };
    let expects = Some(state.expectation(RowKey::AccessToken(id)));
    Some(Caller { principal, expects })
}

/// Logs a request without a valid token. `unlogged` counts those before it that had no line.
fn log_refused(door: Option<&Door>, why: &str) {
    static RATE: LazyLock<Rate> =
        LazyLock::new(|| Rate::new(REFUSED_LINES_MAX, REFUSED_LINES_EVERY));
    if let Some(unlogged) = RATE.allow(Instant::now()) {
        let from = door.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(event = "api.refused", from, why, unlogged);
    }
}

/// Returns whether a holder of the keyring made the token. One who can order commands could else
/// make one for themselves. A sealed node cannot tell, and takes no token.
fn is_proved(node: &Node, state: &State, id: TokenId, token: &AccessToken) -> bool {
    match state.proof(ProofOf::AccessToken(id)) {
        Some(proof) => node.keyring().verifies(&proof, &Claim::access_token(id, token)),
        None => state.is_older_than_proofs(&RowKey::AccessToken(id)),
    }
}
