//! Routes for logging in and out.

use axum::{Json, extract::State};
use conclave_api::{
    API_VERSION,
    change::Change,
    problem::{Code, Problem},
    user::{Login, Session},
};
use conclave_cluster::{admit, node::Node, operate, rights::Access, token::access_token_text};
use conclave_keys::Secret;
use conclave_store::{record::Principal, scope::Scope};
use conclave_system::clock;

use super::Answer;
use crate::asked::{Asked, Unknown};

pub(super) async fn open(State(_node): State<Node>, unknown: Unknown) -> Answer<Session> {
    let Unknown { asked, remote, guest } = unknown;
    let login: Login = asked.json()?;
    let password = Secret::new(login.password.into_bytes());
    let shown = operate::Shown { user: login.user, password, code: login.code };
    let session = operate::login(asked.operator, remote, shown).await?;
    if let Some(guest) = guest {
        guest.admit();
    }
    Ok(Json(Session {
        api_version: API_VERSION.to_owned(),
        kind: "Session".to_owned(),
        user: session.user.to_string(),
        token: access_token_text(session.id, session.secret, session.authority),
        expires: clock::rfc3339(session.expires),
    }))
}

/// Ends the session of the caller.
pub(super) async fn close(mut asked: Asked) -> Answer<Change> {
    let Principal::User { session, .. } = asked.operator.caller.principal else {
        return Err(
            Problem::new(Code::Malformed, "only a user who has logged in can log out").into()
        );
    };
    // The holder of a session may end it.
    asked.operator.caller.access = Access::all_rights();
    let id = session.to_string();
    let derive = move |view: &admit::View<'_>| admit::revoke_token(view, &id);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}
