//! Routes for the audit trail.

use axum::Json;
use conclave_api::{
    audit::{Entry, Keep, Verified},
    change::{Change, List},
    problem::{Code, Problem},
};
use conclave_cluster::{admit, fault::internal, view};
use conclave_store::{limits::AUDIT_KEPT_MAX, scope::Scope, state::State};

use super::Answer;
use crate::asked::Asked;

/// Fewest entries that can be kept.
const KEPT_MIN: u32 = 1_000;

/// Answers a page of entries, the last one first.
pub(super) async fn list(asked: Asked) -> Answer<List<Entry>> {
    let state = trail(&asked).await?;
    let after = asked.page.after.as_deref().map(str::parse::<u64>).transpose();
    let after =
        after.map_err(|_| Problem::new(Code::Malformed, "after is the number of an entry"))?;
    let (limit, filter) = (asked.page.limit, asked.filter.clone());
    let listed = tokio::task::spawn_blocking(move || {
        // One more tells whether there is a next page.
        let mut items = view::audit(&state, after, limit + 1, |entry| filter.takes(entry));
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|last| last.sequence.to_string());
        List { next, ..List::new(items) }
    });
    Ok(Json(listed.await.map_err(|error| internal("the audit trail", error))?))
}

pub(super) async fn verify(asked: Asked) -> Answer<Verified> {
    let operator = &asked.operator;
    if operator.scope == Some(Scope::Local) {
        let (state, node) = (operator.node.local().point().state.clone(), operator.node.clone());
        let checked = tokio::task::spawn_blocking(move || view::verify_audit(&node, &state, false));
        return Ok(Json(checked.await.map_err(|error| internal("the audit trail", error))?));
    }
    let replica = operator.node.replica()?;
    // What the others have must be here after a linearizable read.
    let last = view::audit_last(&replica.point().state);
    let heads = replica.audit_heads(last).await;
    let state = operator.read().await?;
    let node = operator.node.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let verified = view::verify_audit(&node, &state, true);
        view::compare_audit(&state, last, &heads, verified)
    });
    Ok(Json(checked.await.map_err(|error| internal("the audit trail", error))?))
}

pub(super) async fn keep(asked: Asked) -> Answer<Change> {
    let Keep { entries } = asked.json()?;
    if !(KEPT_MIN..=AUDIT_KEPT_MAX).contains(&entries) {
        let title = format!("{entries} entries cannot be kept");
        return Err(Problem::new(Code::Malformed, title)
            .detail(format!("{KEPT_MIN} to {AUDIT_KEPT_MAX}"))
            .into());
    }
    let scope = asked.operator.scope.unwrap_or(Scope::Shared);
    let derive = move |view: &admit::View<'_>| Ok(admit::keep_audit(view, entries));
    Ok(Json(asked.operator.change(scope, derive).await?))
}

async fn trail(asked: &Asked) -> Result<State, Problem> {
    match asked.operator.scope {
        Some(Scope::Local) => Ok(asked.operator.node.local().point().state.clone()),
        _ => asked.operator.read().await,
    }
}
