//! Routes for private keys. Keys can be written, never read.

use std::sync::Arc;

use axum::{Json, extract::Path};
use conclave_api::{
    change::{Change, List},
    key::{Generate, Import, Key, Test},
};
use conclave_cluster::{
    admit::{self, NewKey},
    fault::internal,
    view,
};
use conclave_pki::key::PrivateKey;
use conclave_store::scope::Scope;
use tokio::time::Instant;

use super::{Answer, domain};
use crate::asked::Asked;

pub(super) async fn generate(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let generate: Generate = asked.json()?;
    let made = tokio::task::spawn_blocking(move || admit::generate_key(&generate));
    let key = made.await.map_err(|error| internal("the key was not made", error))??;
    let Json(change) = set(name, asked, key, NewKey::Generated).await?;
    Ok(Json(change.made_afresh("key")))
}

pub(super) async fn import(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let import: Import = asked.json()?;
    let read = tokio::task::spawn_blocking(move || admit::import_key(&import));
    let key = read.await.map_err(|error| internal("the key was not read", error))??;
    set(name, asked, key, NewKey::Imported).await
}

/// Makes a key that waits for its certificate.
pub(super) async fn set_pending(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let generate: Generate = asked.json()?;
    let made = tokio::task::spawn_blocking(move || admit::generate_key(&generate));
    let key = made.await.map_err(|error| internal("the key was not made", error))??;
    let scope = asked.operator.scope_of(&name);
    let derive = move |view: &admit::View<'_>| admit::set_pending_key(view, &name, &key);
    Ok(Json(asked.operator.change(scope, derive).await?.made_afresh("key")))
}

pub(super) async fn remove_pending(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let scope = asked.operator.scope_of(&name);
    let derive = move |view: &admit::View<'_>| admit::remove_pending_key(view, &name);
    Ok(Json(asked.operator.change(scope, derive).await?))
}

async fn set(name: String, asked: Asked, key: PrivateKey, new: NewKey) -> Answer<Change> {
    let (scope, key) = (asked.operator.scope_of(&name), Arc::new(key));
    let derive = move |view: &admit::View<'_>| admit::set_key(view, &name, &key, new);
    Ok(Json(asked.operator.change(scope, derive).await?))
}

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Key> {
    let (_, state, found) = domain::find(&asked, &name).await?;
    let key = &admit::credential(&found, asked.operator.family)?.key;
    let pending = state.pending_keys(found.id).find(|one| one.family == key.family);
    let pending = pending.map(|one| Box::new(view::key(one)));
    Ok(Json(Key { pending, ..view::key(key) }))
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let scope = asked.operator.scope_of(&name);
    Ok(Json(asked.operator.change(scope, move |view| admit::remove_key(view, &name)).await?))
}

pub(super) async fn test(Path(name): Path<String>, asked: Asked) -> Answer<List<Test>> {
    let (scope, state, found) = domain::find(&asked, &name).await?;
    let own = asked.operator.node.config().name.to_string();
    let tested = match scope {
        Scope::Shared => {
            let tested = asked.operator.node.replica()?.test_key(&found.name).await;
            let name = |id| state.member(&id).map_or(own.clone(), |one| one.name.to_string());
            tested.into_iter().map(|(id, tested)| shown(name(id), tested)).collect()
        }
        Scope::Local => {
            let started = Instant::now();
            let node = asked.operator.node.clone();
            let testing = move || node.keyring().test_keys(Scope::Local, &found);
            let tested = tokio::task::spawn_blocking(testing).await;
            let tested = tested.map_err(|error| internal("the key was not tested", error))?;
            let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            vec![shown(own, tested.map(|()| took_us))]
        }
    };
    Ok(Json(List::new(tested)))
}

fn shown(node: String, tested: Result<u64, String>) -> Test {
    match tested {
        Ok(took_us) => {
            Test { node, ok: true, message: "Verification String is OK".to_owned(), took_us }
        }
        Err(message) => Test { node, ok: false, message, took_us: 0 },
    }
}
