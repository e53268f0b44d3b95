//! Routes for backups and restoring.

use axum::{
    Json,
    body::Body,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use conclave_api::{
    backup::{Create, LastBackup, Restore, Restored},
    change::Change,
    cluster::Membership,
};
use conclave_cluster::{admit, life};
use conclave_store::scope::Scope;

use super::{
    Answer,
    cluster::{finish, membership},
};
use crate::{asked::Asked, problem::Failed};

/// Answers a backup as a stream. Its end is only right if the signature is: an answer that breaks
/// off is noticed by HTTP, and the file lacks its signature.
pub(super) async fn create(asked: Asked) -> Result<Response, Failed> {
    asked.operator.for_real()?;
    let create: Create = asked.json()?;
    let recipients = admit::recipients(&create.recipients)?;
    asked.operator.tell_read("backup.create", "").await?;
    let pieces = asked.operator.backup(recipients, create.include_local).await?;
    let pieces = futures::stream::unfold(pieces, |mut pieces| async {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

pub(super) async fn note(asked: Asked) -> Answer<Change> {
    let told: LastBackup = asked.json()?;
    let noted = move |view: &admit::View<'_>| admit::note_backup(view, &told);
    Ok(Json(asked.operator.change(Scope::Shared, noted).await?))
}

pub(super) async fn begin(asked: Asked) -> Answer<Membership> {
    asked.operator.for_real()?;
    let restore: Restore = asked.json()?;
    let (node, principal) = (asked.operator.node.clone(), asked.operator.caller.principal.clone());
    // A task of its own: a caller that disconnects must not leave a half-founded cluster.
    finish(tokio::spawn(async move { life::begin_restore(&node, restore, principal).await }))
        .await?;
    membership(&asked, true).map(Json)
}

pub(super) async fn rows(asked: Asked) -> Answer<Restored> {
    asked.operator.for_real()?;
    let (node, principal) = (&asked.operator.node, &asked.operator.caller.principal);
    let rows = life::restore_rows(node, asked.bytes(), principal).await?;
    Ok(Json(Restored { rows }))
}

pub(super) async fn end(asked: Asked) -> Answer<Restored> {
    asked.operator.for_real()?;
    let (node, principal) = (&asked.operator.node, &asked.operator.caller.principal);
    let rows = life::finish_restore(node, principal).await?;
    Ok(Json(Restored { rows }))
}
