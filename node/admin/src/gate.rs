//! The gate of the admin API: who asks, whether they may, and what is written about it.
//!
//! Every request passes here before its route. What was refused, and every change that failed, goes
//! into the audit trail; what was done is told there by the rules themselves.

use std::{sync::LazyLock, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{Method, StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use conclave_api::{
    need::{About, Need},
    operation::{self, OPERATIONS},
    path::{
        ACCOUNT_LOGIN, CLUSTER_TRANSFER_LEADER, KEYRING_REKEY, KEYRING_SEAL, KEYRING_UNLOCKING,
        KEYRING_UNSEAL, LOGIN, NODE_DRAIN,
    },
    problem::{Code, Problem},
};
use conclave_cluster::{life::Rate, node::Node, operate::Caller, rights::need};
use conclave_store::{
    id::{EmailAddress, NodeId},
    limits::AUDIT_VALUE_BYTES_MAX,
    record::{AuditDifference, AuditEvent, AuditResult, Origin, Principal},
};
use conclave_system::clock;
use tokio::time::Instant;

use super::{
    auth::{self, Door},
    compress::MayCompress,
    fields::Fields,
    position::Position,
    problem::Failed,
};

/// Most entries about what strangers, or owners of accounts, were refused, in each of these intervals.
const STRANGERS_MAX: u32 = 60;
const STRANGERS_EVERY: Duration = Duration::from_secs(60);

/// Lets a request pass, or refuses it.
pub(super) async fn pass(State(node): State<Node>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let Some(matched) = parts.extensions.get::<MatchedPath>().cloned() else {
        // No such path: the fallback says so, to everybody.
        return next.run(Request::from_parts(parts, body)).await;
    };
    let asked = Asked::of(&parts);
    let decided = decide(&mut parts, &node, matched.as_str()).await;
    let who = parts.extensions.get::<Caller>().map(|caller| caller.principal.clone());
    let answer = match decided {
        Ok(()) => run(parts, body, &node, matched.as_str(), next).await,
        Err(failed) => failed.into_response(),
    };
    check_declared(&asked.method, matched.as_str(), answer.status());
    asked.log(who.as_ref(), &answer, started);
    asked.audit(&node, who, &answer, act(&asked.method, matched.as_str()));
    answer
}

/// What a request did that changes no State, for the audit trail: said by its route.
#[derive(Clone)]
pub(super) struct Acted {
    /// What it was about.
    pub(super) object: String,
    /// What is another thing now.
    pub(super) difference: AuditDifference,
}

/// Returns the event of a request that does something and changes no State, so that no rule tells
/// the audit trail of it.
fn act(method: &Method, matched: &str) -> Option<&'static str> {
    match (method.as_str(), matched) {
        ("POST", NODE_DRAIN) => Some("node.drain"),
        ("DELETE", NODE_DRAIN) => Some("node.resume"),
        ("POST", CLUSTER_TRANSFER_LEADER) => Some("leader.transfer"),
        ("POST", KEYRING_SEAL) => Some("keyring.seal"),
        ("POST", KEYRING_UNSEAL) => Some("keyring.unseal"),
        ("POST", KEYRING_REKEY) => Some("keyring.rekey"),
        _ => None,
    }
}

/// Runs the route of a request that may pass.
async fn run(mut parts: Parts, body: Body, node: &Node, matched: &str, next: Next) -> Response {
    // Strangers are told nothing about the cluster, and wait for nothing.
    let is_known = parts.extensions.get::<Caller>().is_some();
    let is_read = is_read(&parts.method);
    let fields = match Fields::read(&parts.method, &parts.uri, matched) {
        Ok(fields) => fields,
        Err(problem) => return Failed::from(problem).into_response(),
    };
    let position = match is_known {
        true => Position::take(&mut parts, node).await.map(Some),
        false => Ok(None),
    };
    let position = match position {
        Ok(position) => position,
        Err(problem) => return Failed::from(problem).into_response(),
    };
    let mut answer = next.run(Request::from_parts(parts, body)).await;
    if let Some(fields) = fields {
        answer = fields.choose(answer).await;
    }
    if let Some(position) = position {
        position.tell(node, &mut answer);
    }
    if is_read {
        answer.extensions_mut().insert(MayCompress);
    }
    answer
}

/// Logs an answer that the contract of the API does not have. It is a bug of the table, and fails
/// the suites.
fn check_declared(method: &Method, matched: &str, status: StatusCode) {
    let operation = operation::find(method.as_str(), matched);
    if operation.is_some_and(|one| !one.answers_with(status.as_u16())) {
        tracing::error!(event = "api.undeclared", %method, path = matched, status = status.as_u16());
    }
}

/// Refuses a method that a path does not have (RFC 9110, 15.5.6).
fn other_methods(matched: &str) -> Failed {
    let of_path = OPERATIONS.iter().filter(|one| one.path == matched);
    let methods = of_path.flat_map(|one| match one.method {
        operation::Method::Get => vec!["GET", "HEAD"],
        other => vec![other.as_str()],
    });
    let methods = methods.collect::<Vec<_>>().join(", ");
    let problem = Problem::new(Code::MethodUnknown, "this path has other methods only");
    Failed::from(problem.detail(methods))
}

/// Decides whether a request may pass.
async fn decide(parts: &mut Parts, node: &Node, matched: &str) -> Result<(), Failed> {
    let Some(need) = need(&parts.method, matched) else {
        // A stranger learns nothing, not even which methods a path has; but that of the login is
        // for strangers.
        if ![LOGIN, ACCOUNT_LOGIN].contains(&matched) {
            auth::caller(parts, node).await?;
        }
        // The path has other methods only. One that the router knows and the table does not is a
        // bug, which a test finds.
        return Err(other_methods(matched));
    };
    if need == Need::Nothing {
        return Ok(());
    }
    let caller = match auth::caller(parts, node).await {
        Ok(caller) => caller,
        // A sealed node cannot check a token. `Unsealer` says who may unseal it.
        Err(_) if is_for_unsealers(matched) && node.keyring().is_sealed() => return Ok(()),
        Err(failed) => return Err(failed),
    };
    let names = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|error| Problem::new(Code::Malformed, format!("the path: {error}")))?;
    let name = names.iter().next().map(|(_, value)| value.to_owned());
    let Need::Right(_, About::Account | About::OwnAccount) = need else {
        return Ok(caller.check(need, name.as_deref(), None)?);
    };
    let account = name.and_then(|address| EmailAddress::parse(&address).ok());
    let domain = account.as_ref().map(|address| domain_of(node, address));
    Ok(caller.check(need, domain.as_deref(), account.as_ref())?)
}

/// Returns the name of the domain to which an address belongs, as far as this node knows: the
/// change decides once more.
fn domain_of(node: &Node, address: &EmailAddress) -> String {
    let point = node.replica().ok().map(|replica| replica.point());
    let domain = point.as_ref().and_then(|point| point.state.domain_of(address));
    domain.map_or_else(|| address.domain(), |domain| &domain.name).to_string()
}

/// Returns whether `Unsealer` decides about a request at a sealed node.
fn is_for_unsealers(matched: &str) -> bool {
    [KEYRING_UNSEAL, KEYRING_UNLOCKING].contains(&matched)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// What was asked for, as far as the log and the audit trail tell it.
struct Asked {
    door: Option<Door>,
    method: Method,
    path: String,
    is_dry_run: bool,
    operation: Option<String>,
}

impl Asked {
    fn of(parts: &Parts) -> Asked {
        let query = parts.uri.query().unwrap_or_default();
        let operation = parts.headers.get(conclave_api::path::OPERATION_HEADER);
        Asked {
            door: parts.extensions.get::<Door>().copied(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            is_dry_run: query.split('&').any(|pair| pair == "dry_run=true"),
            operation: operation.and_then(|value| value.to_str().ok()).map(str::to_owned),
        }
    }

    fn is_read(&self) -> bool {
        is_read(&self.method)
    }

    /// Logs a request that is not a mere read.
    fn log(&self, who: Option<&Principal>, answer: &Response, started: Instant) {
        if self.is_read() {
            return;
        }
        let who = who.map_or_else(|| "not logged in".to_owned(), ToString::to_string);
        let from = self.door.map(|door| door.to_string()).unwrap_or_default();
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (method, path, status) = (&self.method, &self.path, answer.status().as_u16());
        match self.is_dry_run {
            true => tracing::debug!(
                event = "api.tried", %who, from, %method, path, status, took_ms
            ),
            false => tracing::info!(
                event = "api.change", %who, from, %method, path, status, took_ms
            ),
        }
    }

    /// Tells the audit trail of what was refused, of changes that failed, and of an act that was done.
    fn audit(
        &self,
        node: &Node,
        who: Option<Principal>,
        answer: &Response,
        act: Option<&'static str>,
    ) {
        static STRANGERS: LazyLock<Rate> =
            LazyLock::new(|| Rate::new(STRANGERS_MAX, STRANGERS_EVERY));
        static OWNERS: LazyLock<Rate> = LazyLock::new(|| Rate::new(STRANGERS_MAX, STRANGERS_EVERY));
        let status = answer.status();
        let code = answer.extensions().get::<Code>();
        // A wrong passphrase of an account is a denied login, in a dry run too.
        let is_denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || code == Some(&Code::AccountPassphraseRefused);
        let is_failure = status.is_client_error() || status.is_server_error();
        let has_failed = is_failure && !self.is_read() && !self.is_dry_run;
        // A login tells the trail itself whose it was.
        let done = act.filter(|_| status.is_success() && !self.is_dry_run);
        if done.is_none() && (!is_denied && !has_failed || self.path == LOGIN) {
            return;
        }
        // Owners, too, are many: together they must not push out what operators did.
        let bound = match &who {
            None => Some(&STRANGERS),
            Some(Principal::Owner(_)) => Some(&OWNERS),
            Some(_) => None,
        };
        if bound.is_some_and(|bound| bound.allow(Instant::now()).is_none()) {
            return;
        }
        // An act is about what its route says, the node in the path, or this one.
        let acted = answer.extensions().get::<Acted>().filter(|_| done.is_some());
        let named = self.path.strip_prefix("/v1/nodes/").and_then(|rest| rest.split('/').next());
        let named = acted.map(|acted| acted.object.as_str()).or(named);
        let mut object = match done {
            Some(_) => named.unwrap_or(node.config().name.as_str()).to_owned(),
            None => format!("{} {}", self.method, self.path),
        };
        // The path is made of ASCII.
        object.truncate(AUDIT_VALUE_BYTES_MAX);
        let code = code.map(|code| code.as_str().to_owned());
        let id = node.replica().map_or(NodeId(0), |replica| replica.id());
        let remote = self.door.and_then(|door| door.remote());
        let operation = self.operation.as_deref();
        node.audit().add(AuditEvent {
            time: clock::now(),
            principal: who.unwrap_or(Principal::Stranger),
            origin: Some(Origin { node: id, remote }),
            event: done.unwrap_or("api.request").to_owned(),
            result: match done {
                Some(_) => AuditResult::Done,
                None if is_denied => AuditResult::Denied,
                None => AuditResult::Failed,
            },
            object,
            code,
            differences: acted.map(|acted| acted.difference.clone()).into_iter().collect(),
            reason: None,
            operation: operation.and_then(|text| conclave_store::id::OperationId::parse(text).ok()),
        });
    }
}
