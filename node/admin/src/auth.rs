//! Authentication of API requests: by unix socket, by access token, by the session of a user, or by a
//! client certificate.

mod certificate;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use axum::http::{Method, request::Parts};
use conclave_api::{
    path,
    problem::{Code, Problem},
};
use conclave_cluster::{
    life::Rate,
    node::Node,
    operate::{self, BELIEVED_MAX, Caller},
    rights::{Access, is_from_here, is_proved_user},
    token::parse_access_token,
};
use conclave_keys::Claim;
use conclave_store::{
    id::{Fingerprint, TokenId, UserId, UserName},
    record::{AccessToken, Grant, Principal, ProofOf, RowKey, User},
    state::State,
};
use conclave_system::clock;
use tokio::time::Instant;

pub(crate) use certificate::PeerChain;

use self::certificate::ShownCertificate;
use super::{parameters, problem::Failed};
use crate::http::Guest;

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
    /// The pages of owners, behind a listener. A client needs the session of an owner.
    Owners { remote: SocketAddr },
}

impl fmt::Display for Door {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Door::Socket { .. } => write!(out, "the admin socket"),
            Door::Https { remote } | Door::Owners { remote } => write!(out, "{remote}"),
        }
    }
}

impl Door {
    /// Returns the address of the client; `None`: it used the admin socket.
    pub(super) fn remote(&self) -> Option<IpAddr> {
        match self {
            Door::Socket { .. } => None,
            Door::Https { remote } | Door::Owners { remote } => Some(remote.ip().to_canonical()),
        }
    }
}

/// Returns who asks; found out once for each request.
pub(super) async fn caller(parts: &mut Parts, node: &Node) -> Result<Caller, Failed> {
    if let Some(known) = parts.extensions.get::<Caller>() {
        return Ok(known.clone());
    }
    let caller = authenticate(parts, node).await?;
    parts.extensions.insert(caller.clone());
    Ok(caller)
}

async fn authenticate(parts: &Parts, node: &Node) -> Result<Caller, Problem> {
    let door = parts.extensions.get::<Door>();
    if let Some(Door::Socket { uid }) = door {
        return Ok(Caller {
            principal: Principal::Socket { uid: *uid },
            access: Access::everything(),
            remote: None,
            expects: Vec::new(),
            ends: None,
        });
    }
    let is_for_owners = matches!(door, Some(Door::Owners { .. }));
    let refused = |title: &str| {
        log_refused(door, title);
        Problem::new(Code::NotLoggedIn, title).hint(match is_for_owners {
            true => "log in: conclave account login EMAIL    or at the page /account",
            false => "--token-file FILE with a token made on a member: conclave token create NAME --role ROLE",
        })
    };
    let remote = door.and_then(Door::remote);
    let shown = match parts.headers.get("authorization") {
        Some(header) => {
            let text = header.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            match (text.and_then(parse_access_token), text) {
                (Some((id, secret)), _) if !is_for_owners => {
                    Login::Token(Shown { id, secret: Fingerprint::of(&secret), remote })
                }
                (None, Some(text)) => Login::Owner(text.to_owned(), remote),
                _ => return Err(refused("invalid token")),
            }
        }
        None => {
            let chain = parts.extensions.get::<PeerChain>();
            let chain =
                chain.ok_or_else(|| refused("not logged in: this address needs a token"))?;
            let shown = ShownCertificate::read(chain, remote);
            let shown = shown.ok_or_else(|| refused("the certificate cannot be read"))?;
            Login::Certificate(Box::new(shown))
        }
    };
    let ended = || refused(shown.ended());
    let replica = node.replica()?;
    let caller = shown.holder(node, &replica.point().state)?.ok_or_else(ended)?;
    if let Some(guest) = parts.extensions.get::<Guest>() {
        guest.admit();
    }
    if matches!(parts.method, Method::GET | Method::HEAD) {
        let is_believed = replica.confirmed_since().is_some_and(|since| since <= BELIEVED_MAX);
        // How the cluster is must be readable while it has no leader. It holds no secret.
        let is_outlook = [path::STATUS, path::NODES, path::LOAD].contains(&parts.uri.path());
        return match is_believed || is_outlook {
            true => Ok(caller),
            false => check_again(parts, node, &shown).await?.ok_or_else(ended),
        };
    }
    // This node may not have heard yet that the login was revoked. A change of the shared scope is
    // rejected then when it is applied; a drain or a change of the local scope would be made.
    check_again(parts, node, &shown).await?.ok_or_else(ended)
}

/// Looks the holder up in a State that holds everything that was acknowledged.
async fn check_again(parts: &Parts, node: &Node, shown: &Login) -> Result<Option<Caller>, Problem> {
    let read = node.replica()?.linearizable(parameters::timeout(&parts.uri)).await;
    let point = read.map_err(|_| {
        let socket = node.config().admin_socket.display();
        Problem::new(Code::NoLeader, "the cluster has no leader that a quorum follows")
            .why("so this node cannot tell whether the login was revoked")
            .hint(format!("on the node itself no token is needed: --address unix:{socket}"))
    })?;
    shown.holder(node, &point.state)
}

/// What a client shows.
enum Login {
    Token(Shown),
    Owner(String, Option<IpAddr>),
    Certificate(Box<ShownCertificate>),
}

impl Login {
    /// Returns who shows it, if it is valid by this State.
    fn holder(&self, node: &Node, state: &State) -> Result<Option<Caller>, Problem> {
        match self {
            Login::Token(shown) => shown.holder(node, state),
            Login::Owner(token, remote) => {
                let owner = operate::owner(node, state, token)?;
                Ok(owner.map(|owner| Caller { remote: *remote, ..owner }))
            }
            Login::Certificate(shown) => shown.holder(node, state),
        }
    }

    /// Says that nobody shows it.
    fn ended(&self) -> &'static str {
        match self {
            Login::Token(_) => "this token is not known, or it has ended",
            Login::Owner(..) => "this token is none, or its session has ended",
            Login::Certificate(_) => "this certificate is no login of a user",
        }
    }
}

/// A token as a client shows it.
struct Shown {
    id: TokenId,
    secret: Fingerprint,
    remote: Option<IpAddr>,
}

impl Shown {
    /// Returns the holder of the token, if it is valid by this State.
    fn holder(&self, node: &Node, state: &State) -> Result<Option<Caller>, Problem> {
        // A comparison in constant time is not needed: it compares hashes of random secrets, so its
        // timing reveals nothing useful.
        let token = state.access_token(&self.id).filter(|token| {
            token.secret == self.secret
                && token.expires.is_none_or(|expires| clock::now() <= expires)
                && is_proved(node, state, self.id, token)
        });
        let Some(token) = token else { return Ok(None) };
        if state.token_uses(&self.id) == Some(0) {
            return Err(Problem::new(Code::TokenUsedUp, "this token has made all its changes")
                .hint("conclave token create NAME --role ROLE --uses N"));
        }
        let of_token = state.expectation(RowKey::AccessToken(self.id));
        let by_token = Principal::Token { id: self.id, name: token.name.clone() };
        let (principal, access, grant, row) = match state.grant(&self.id) {
            None => (by_token, Access::all_rights(), None, None),
            Some(Grant { user: Some(user), .. }) => {
                let Some((name, user)) = user_of(node, state, *user) else { return Ok(None) };
                let principal = Principal::User { name: name.clone(), session: self.id };
                let row = RowKey::User(name.clone());
                (principal, Access::of(&user.grant), Some(&user.grant), Some(row))
            }
            Some(grant) => (by_token, Access::of(grant), Some(grant), Some(RowKey::Grant(self.id))),
        };
        if grant.is_some_and(|grant| !is_from_here(grant, self.remote)) {
            let title = "this token is not for the network that the request came from";
            return Err(Problem::new(Code::NotAllowed, title));
        }
        let row = row.map(|row| state.expectation(row));
        let expects = std::iter::once(of_token).chain(row).collect();
        let ends = token.expires;
        Ok(Some(Caller { principal, access, remote: self.remote, expects, ends }))
    }
}

/// Returns a user that a holder of the keyring has made.
fn user_of<'s>(node: &Node, state: &'s State, id: UserId) -> Option<(&'s UserName, &'s User)> {
    let (name, user) = state.users().find(|(_, user)| user.id == id)?;
    is_proved_user(node.keyring(), state, name, user).then_some((name, user))
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
    let claim = Claim::access_token(id, token, state.grant(&id));
    match state.proof(ProofOf::AccessToken(id)) {
        Some(proof) => node.keyring().verifies(&proof, &claim),
        None => state.is_older_than_proofs(&RowKey::AccessToken(id)),
    }
}
