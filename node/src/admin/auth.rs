//! Authentication of API requests: by unix socket or by access token.

use std::{fmt, net::SocketAddr};

use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use conclave_api::problem::{Code, Problem};
use conclave_keys::Claim;
use conclave_store::{
    id::{Fingerprint, TokenId},
    record::{AccessToken, Principal, ProofOf, RowKey},
};
use conclave_system::clock;

use super::problem::Failed;
use crate::{node::Node, operate::Caller, token::parse_access_token};

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
        let door = parts.extensions.get::<Door>().copied();
        if let Some(Door::Socket { uid }) = door {
            return Ok(Caller { principal: Principal::Socket { uid }, expects: None });
        }
        let refused = |title: &str| {
            Failed::from(Problem::new(Code::NotLoggedIn, title).hint(
                "--token-file FILE with a token made on a member: conclave token create NAME",
            ))
        };
        let State(node) = State::<Node>::from_request_parts(parts, node)
            .await
            .map_err(|_| refused("not logged in"))?;
        let text = parts
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| refused("not logged in: this address needs a token"))?;
        let (id, secret) = parse_access_token(text).ok_or_else(|| refused("invalid token"))?;
        let point = node.replica()?.point();
        // A comparison in constant time is not needed: it compares hashes of random secrets, so its
        // timing reveals nothing useful.
        let token = point.state.access_token(&id).filter(|token| {
            token.secret == Fingerprint::of(&secret)
                && token.expires.is_none_or(|expires| clock::now() <= expires)
                && is_proved(&node, &point.state, id, token)
        });
        let token = token.ok_or_else(|| refused("this token is not known, or it has ended"))?;
        let principal = Principal::Token { id, name: token.name.clone() };
        let expects = Some(point.state.expectation(RowKey::AccessToken(id)));
        Ok(Caller { principal, expects })
    }
}

/// Returns whether a holder of the keyring made the token. Whoever can order commands could else
/// make one for themselves. A sealed node cannot tell, and takes no token.
fn is_proved(
    node: &Node,
    state: &conclave_store::state::State,
    id: TokenId,
    token: &AccessToken,
) -> bool {
    match state.proof(ProofOf::AccessToken(id)) {
        Some(proof) => node.keyring().verifies(&proof, &Claim::access_token(id, token)),
        None => state.is_older_than_proofs(&RowKey::AccessToken(id)),
    }
}
