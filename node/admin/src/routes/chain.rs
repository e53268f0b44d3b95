//! Routes for CA chains.

use axum::{Json, extract::Path};
use conclave_api::{
    chain::{Chain, Set},
    change::Change,
};
use conclave_cluster::{admit, view};
use conclave_store::outcome::Rejection;
use conclave_system::clock;

use super::{Answer, domain};
use crate::{asked::Asked, problem::Failed};

pub(super) async fn set(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    let scope = asked.operator.scope_of(&name);
    Ok(Json(asked.operator.change(scope, move |view| admit::set_chain(view, &name, &set)).await?))
}

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Chain> {
    let (_, state, found) = domain::find(&asked, &name).await?;
    let certificates =
        view::chain(&state, admit::credential(&found, asked.operator.family)?, clock::now());
    if certificates.is_empty() {
        let missing = Rejection::ChainMissing(found.name);
        return Err(Failed::from(admit::rejection_problem(&missing)));
    }
    Ok(Json(Chain { certificates }))
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let scope = asked.operator.scope_of(&name);
    Ok(Json(asked.operator.change(scope, move |view| admit::remove_chain(view, &name)).await?))
}
