//! Logins of users: the password and the one-time code become a session.

use std::net::IpAddr;

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Purpose, Secret, code_step, is_password};
use conclave_store::{
    id::{Fingerprint, NodeId, TokenId, UserName},
    record::{AuditEvent, AuditResult, Origin, Principal, User},
    scope::Scope,
    time::UnixMillis,
};
use conclave_system::{clock, entropy};
use tokio::time::Instant;

use super::{Caller, Operator};
use crate::{
    admit,
    fault::internal,
    node::Node,
    rights::{Access, is_from_here},
};

/// What a user shows to log in.
pub struct Shown {
    /// Name of the user.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// A one-time code.
    pub code: Option<String>,
}

/// A login.
pub struct Session {
    pub user: UserName,
    pub id: TokenId,
    pub secret: [u8; 32],
    pub expires: UnixMillis,
    /// Fingerprint of the cluster's authority, which is part of the token.
    pub authority: Fingerprint,
}

/// The answer to every wrong login: it does not tell what was wrong.
fn refused() -> Problem {
    Problem::new(Code::LoginRefused, "the user, the password or the one-time code is wrong")
}

/// Logs a user in. `operator` is the operation of a caller that is nobody yet.
pub async fn login(
    operator: Operator,
    remote: Option<IpAddr>,
    shown: Shown,
) -> Result<Session, Problem> {
    let node = operator.node.clone();
    // A name that no user can have is refused like a wrong one, and costs its network as much.
    let nobody = || UserName::parse("-nobody-").or_else(|_| UserName::parse("nobody"));
    let name = UserName::parse(&shown.user).or_else(|_| nobody());
    let name = name.map_err(|error| internal("a name", error))?;
    // At the socket there is no network; its file is the bound.
    let from = remote.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    if let Some(pause) = node.logins().pause(name.as_str(), from, Instant::now()) {
        let seconds = pause.as_secs() + 1;
        return Err(Problem::new(Code::LoginTooOften, "too many wrong logins from this network")
            .hint(format!("wait for {seconds} s")));
    }
    match check(&operator, &name, remote, shown).await {
        Ok(user) => {
            node.logins().succeeded(name.as_str(), from);
            open(operator, name, &user, remote).await
        }
        Err(problem) => {
            if problem.code == Code::LoginRefused {
                node.logins().failed(name.as_str(), from, Instant::now());
                tell_refused(&node, &name, remote);
            }
            Err(problem)
        }
    }
}

/// Checks what the user shows. Takes as long for a user that does not exist.
async fn check(
    operator: &Operator,
    name: &UserName,
    remote: Option<IpAddr>,
    shown: Shown,
) -> Result<User, Problem> {
    let node = &operator.node;
    // A user who was removed must not log in where that was not heard.
    let state = operator.read().await?;
    let user = state.user(name).cloned();
    let hash = user.as_ref().and_then(|user| user.password.clone());
    let _place = tokio::time::timeout_at(operator.deadline, node.logins().hashing().acquire())
        .await
        .map_err(|_| Problem::new(Code::LoginTooOften, "too many logins at once"))?
        .map_err(|error| internal("a login", error))?;
    let Shown { password, code, .. } = shown;
    let checked = tokio::task::spawn_blocking(move || is_password(&password, hash.as_deref()));
    let is_right = checked.await.map_err(|error| internal("a login", error))?;
    let user = user.filter(|_| is_right).ok_or_else(refused)?;
    if !crate::rights::is_proved_user(node.keyring(), &state, name, &user) {
        node.check_unsealed()?;
        return Err(refused());
    }
    if let Some(sealed) = &user.code {
        let secret = node.keyring().open(Scope::Shared, Purpose::UserCode(user.id), sealed);
        let secret = secret.map_err(|error| operator.sealed(error.to_string()))?;
        let step = code.and_then(|code| code_step(&secret, code.trim(), clock::now()));
        if !step.is_some_and(|step| node.logins().take_code(user.id, step)) {
            return Err(refused());
        }
    }
    match is_from_here(&user.grant, remote) || remote.is_none() {
        true => Ok(user),
        false => Err(refused()),
    }
}

/// Makes the token of the session.
async fn open(
    operator: Operator,
    user: UserName,
    record: &User,
    remote: Option<IpAddr>,
) -> Result<Session, Problem> {
    let (id, secret) = (TokenId(entropy::array()), entropy::array::<32>());
    let principal = Principal::User { name: user.clone(), session: id };
    let access = Access::all_rights();
    let caller = Caller { principal, access, remote, expects: Vec::new(), ends: None };
    let operator = Operator { caller, ..operator };
    let (name, of) = (user.clone(), record.id);
    let made = clock::now();
    operator
        .change(Scope::Shared, move |view| admit::login(view, &name, (id, &secret), of))
        .await?;
    let point = operator.node.replica()?.point();
    let cluster = point.state.cluster().ok_or_else(|| internal("no cluster", id))?;
    let authority = Fingerprint::of(&cluster.authority_der);
    Ok(Session { user, id, secret, expires: admit::session_end(made), authority })
}

fn tell_refused(node: &Node, name: &UserName, remote: Option<IpAddr>) {
    let id = node.replica().map_or(NodeId(0), |replica| replica.id());
    node.audit().add(AuditEvent {
        time: clock::now(),
        principal: Principal::Stranger,
        origin: Some(Origin { node: id, remote }),
        event: "user.login".to_owned(),
        result: AuditResult::Denied,
        object: name.to_string(),
        code: Some(Code::LoginRefused.as_str().to_owned()),
        differences: Vec::new(),
        reason: None,
        operation: None,
    });
}
