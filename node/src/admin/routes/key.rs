//! Private keys: written, never read.

use std::sync::Arc;

use axum::{Json, extract::Path};
use conclave_api::{
    change::Change,
    key::{Generate, Import, Key},
};
use conclave_pki::key::PrivateKey;
use conclave_store::outcome::Rejection;

use super::{Answer, domain};
use crate::{
    admin::{change::Asked, problem::Failed, show},
    admit,
    node::internal,
};

pub(super) async fn generate(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let generate: Generate = asked.json()?;
    let made = tokio::task::spawn_blocking(move || admit::generate_key(&generate));
    let key = made.await.map_err(|error| internal("the key was not made", error))??;
    set(name, asked, key).await
}

pub(super) async fn import(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let import: Import = asked.json()?;
    let read = tokio::task::spawn_blocking(move || admit::import_key(&import));
    let key = read.await.map_err(|error| internal("the key was not read", error))??;
    set(name, asked, key).await
}

async fn set(name: String, asked: Asked, key: PrivateKey) -> Answer<Change> {
    let (scope, key) = (asked.scope_of(&name), Arc::new(key));
    Ok(Json(asked.change(scope, move |view| admit::set_key(view, &name, &key)).await?))
}

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Key> {
    let (_, _, found) = domain::find(&asked, &name).await?;
    let missing =
        || Failed::from(admit::rejection_problem(&Rejection::KeyMissing(found.name.clone())));
    show::key(&found).map(Json).ok_or_else(missing)
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let scope = asked.scope_of(&name);
    Ok(Json(asked.change(scope, move |view| admit::remove_key(view, &name)).await?))
}
