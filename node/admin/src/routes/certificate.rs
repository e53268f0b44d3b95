//! Routes for certificates.

use axum::{Json, extract::Path};
use conclave_api::{
    certificate::{Certificate, Import, Refresh, SelfSign},
    change::Change,
};
use conclave_cluster::{admit, fault::internal, view};
use conclave_store::outcome::Rejection;
use conclave_system::clock;

use super::{Answer, domain};
use crate::{asked::Asked, problem::Failed};

pub(super) async fn import(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let import: Import = asked.json()?;
    let read = tokio::task::spawn_blocking(move || admit::read_import(&import));
    let imported = read.await.map_err(|error| internal("the import failed", error))??;
    let scope = asked.operator.scope_of(&name);
    let changed =
        asked.operator.change(scope, move |view| admit::import_certificate(view, &name, &imported));
    Ok(Json(changed.await?))
}

pub(super) async fn self_sign(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let self_sign: SelfSign = asked.json()?;
    let scope = asked.operator.scope_of(&name);
    let derive = move |view: &admit::View<'_>| admit::self_sign(view, &name, &self_sign);
    Ok(Json(asked.operator.change(scope, derive).await?.made_afresh("certificate")))
}

pub(super) async fn refresh(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let refresh: Refresh = asked.json()?;
    let scope = asked.operator.scope_of(&name);
    let derive = move |view: &admit::View<'_>| admit::refresh_certificate(view, &name, &refresh);
    Ok(Json(asked.operator.change(scope, derive).await?.made_afresh("certificate")))
}

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Certificate> {
    let (_, _, found) = domain::find(&asked, &name).await?;
    let missing = || {
        Failed::from(admit::rejection_problem(&Rejection::CertificateMissing(found.name.clone())))
    };
    let certificate = admit::credential(&found, asked.operator.family)?
        .certificate
        .as_ref()
        .ok_or_else(missing)?;
    view::certificate(&certificate.der, clock::now()).map(Json).ok_or_else(missing)
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let scope = asked.operator.scope_of(&name);
    Ok(Json(
        asked.operator.change(scope, move |view| admit::remove_certificate(view, &name)).await?,
    ))
}
