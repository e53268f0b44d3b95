//! Routes for client certificates of domains.

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    change::Change,
    client_auth::{Set, Shown},
};
use conclave_cluster::{admit, view};
use conclave_system::clock;

use super::{Answer, domain};
use crate::asked::Asked;

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Shown> {
    let (scope, state, domain) = domain::find(&asked, &name).await?;
    let found = domain.client_auth;
    let issuer = found.and_then(|one| admit::issuer(scope, &state, &domain, one.issuer));
    let mut problems = view::client_auth_problems(scope, &state, &domain, clock::now());
    problems.extend(admit::ways_around(&state, &domain));
    Ok(Json(Shown {
        api_version: API_VERSION.to_owned(),
        kind: "ClientAuth".to_owned(),
        domain: domain.name.to_string(),
        client_auth: found.map(|one| view::client_auth(&one, issuer.as_ref())),
        problems,
    }))
}

pub(super) async fn set(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    let scope = asked.operator.scope_of(&name);
    Ok(Json(
        asked.operator.change(scope, move |view| admit::set_client_auth(view, &name, &set)).await?,
    ))
}

pub(super) async fn clear(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let scope = asked.operator.scope_of(&name);
    Ok(Json(asked.operator.change(scope, move |view| admit::clear_client_auth(view, &name)).await?))
}
