//! Routes for certificate signing requests.

use axum::{Json, extract::Path};
use conclave_api::{
    certificate::SelfSign,
    csr::{Choices, Csr},
};
use conclave_cluster::{
    admit::{self, View},
    fault::internal,
};
use conclave_system::clock;

use super::{Answer, domain};
use crate::asked::Asked;

pub(super) async fn choices(Path(name): Path<String>, asked: Asked) -> Answer<Choices> {
    let (_, _, found) = domain::find(&asked, &name).await?;
    Ok(Json(Choices { common_names: admit::common_names(&found) }))
}

pub(super) async fn create(Path(name): Path<String>, asked: Asked) -> Answer<Csr> {
    let fields: SelfSign = asked.json()?;
    let (scope, state, _) = domain::find(&asked, &name).await?;
    let is_pending = asked.is_pending;
    let made = tokio::task::spawn_blocking(move || {
        let view = View {
            node: &asked.operator.node,
            scope,
            state: &state,
            now: clock::now(),
            if_version: None,
            family: asked.operator.family,
            is_if_missing: false,
            is_if_exists: false,
            access: &asked.operator.caller.access,
            principal: &asked.operator.caller.principal,
            reason: None,
        };
        admit::create_csr(&view, &name, &fields, is_pending)
    });
    Ok(Json(made.await.map_err(|error| internal("the request was not made", error))??))
}
