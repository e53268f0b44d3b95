//! Routes for users of the admin API.

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    change::{Change, List},
    user::{Certificate, Create, NewCode, Set, User},
};
use conclave_cluster::{
    admit::{self, NewUser, SetUser, user_name},
    fault::internal,
    rights::shown_grant,
};
use conclave_keys::{code_secret_text, make_code_secret};
use conclave_store::{
    id::{UserId, UserName},
    outcome::Rejection,
    record::User as Record,
    scope::Scope,
    state::State,
};
use conclave_system::{clock, entropy};

use super::Answer;
use crate::{asked::Asked, problem::Failed};

fn shown(state: &State, name: &UserName, user: &Record) -> User {
    let certificate = |one: &conclave_store::record::CertificateLogin| Certificate {
        issuer: one.issuer.to_string(),
        name: one.name.clone(),
    };
    let now = clock::now();
    let is_open = |id| {
        let token = state.access_token(&id);
        token.is_some_and(|token| token.expires.is_none_or(|expires| expires > now))
    };
    let sessions = state.sessions().filter(|(id, of)| *of == user.id && is_open(*id));
    User {
        name: name.to_string(),
        grant: shown_grant(&user.grant),
        has_password: user.password.is_some(),
        has_code: user.code.is_some(),
        certificates: user.certificates.iter().map(certificate).collect(),
        sessions: sessions.count(),
        changed: clock::rfc3339(user.changed.time),
        changed_by: user.changed.principal.to_string(),
    }
}

pub(super) async fn list(asked: Asked) -> Answer<List<User>> {
    let state = asked.operator.read().await?;
    let users = state.users().map(|(name, user)| shown(&state, name, user));
    Ok(Json(asked.page.of(users.collect(), |one| one.name.clone())))
}

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<User> {
    let name = user_name(&name)?;
    let state = asked.operator.read().await?;
    let unknown = || Failed::from(admit::rejection_problem(&Rejection::UserUnknown(name.clone())));
    Ok(Json(shown(&state, &name, state.user(&name).ok_or_else(unknown)?)))
}

pub(super) async fn create(asked: Asked) -> Answer<Change> {
    let create: Create = asked.json()?;
    let id = UserId(entropy::array());
    let read = tokio::task::spawn_blocking(move || NewUser::read(create, id));
    let new = read.await.map_err(|error| internal("the user", error))??;
    let derive = move |view: &admit::View<'_>| admit::create_user(view, &new);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn set(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    let read = tokio::task::spawn_blocking(move || SetUser::read(set));
    let set = read.await.map_err(|error| internal("the user", error))??;
    let derive = move |view: &admit::View<'_>| admit::set_user(view, &name, &set);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn delete(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let derive = move |view: &admit::View<'_>| admit::delete_user(view, &name);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

/// Makes a new secret for one-time codes. It is shown once.
pub(super) async fn make_code(Path(name): Path<String>, asked: Asked) -> Answer<NewCode> {
    asked.operator.for_real()?;
    let name = user_name(&name)?;
    let secret = make_code_secret();
    let text = code_secret_text(&secret);
    let (of, set) = (name.to_string(), SetUser::code(Some(secret)));
    let derive = move |view: &admit::View<'_>| admit::set_user(view, &of, &set);
    let change = asked.operator.change(Scope::Shared, derive).await?;
    let point = asked.operator.node.replica()?.point();
    let cluster = point.state.cluster().map(|cluster| cluster.name.to_string());
    let cluster = cluster.unwrap_or_default();
    // Names of users and clusters have no character that needs escaping here but `@`.
    let account = name.as_str().replace('@', "%40");
    Ok(Json(NewCode {
        api_version: API_VERSION.to_owned(),
        kind: "Code".to_owned(),
        url: format!("otpauth://totp/{cluster}:{account}?secret={text}&issuer={cluster}"),
        secret: text,
        change,
    }))
}

pub(super) async fn remove_code(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set = SetUser::code(None);
    let derive = move |view: &admit::View<'_>| admit::set_user(view, &name, &set);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}
