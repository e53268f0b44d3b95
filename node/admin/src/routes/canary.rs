//! The route for canaries.

use axum::{Json, extract::Path};
use conclave_api::{canary::End, change::Change};
use conclave_cluster::admit;
use conclave_store::scope::Scope;

use super::Answer;
use crate::asked::Asked;

pub(super) async fn end(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let end: End = asked.json()?;
    let derive = move |view: &admit::View<'_>| admit::end_canary(view, &name, end.promote);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}
