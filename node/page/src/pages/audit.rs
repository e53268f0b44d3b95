//! The audit trail.

use askama::Template;
use axum::http::StatusCode;
use conclave_api::{
    audit::{Entry, Verified},
    change::List,
    path,
};

use super::Shown;
use crate::{form::Fields, show, visit::Visit};

/// Entries of one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage<'a> {
    v: &'a Visit,
    entries: Vec<Entry>,
    next: Option<String>,
    verified: Option<Verified>,
    who: &'a str,
    event: &'a str,
    object: &'a str,
    result: &'a str,
    is_first: bool,
}

pub(super) async fn page(visit: &Visit, query: &Fields) -> Shown {
    let [who, event, object, result] =
        ["who", "event", "object", "result"].map(|name| query.get(name).trim());
    let mut wanted = vec![("limit", PAGE.to_string())];
    for (name, value) in [("who", who), ("event", event), ("object", object), ("result", result)] {
        wanted.extend((!value.is_empty()).then(|| (name, value.to_owned())));
    }
    let after = query.some("after");
    let is_first = after.is_none();
    wanted.extend(after.map(|after| ("after", after)));
    let list: List<Entry> = visit.api.read(&show::with_query(path::AUDIT, &wanted)).await?;
    let verified = match query.is_on("verify") {
        true => Some(visit.api.read(path::AUDIT_VERIFY).await?),
        false => None,
    };
    let (entries, next) = (list.items, list.next);
    let page =
        AuditPage { v: visit, entries, next, verified, who, event, object, result, is_first };
    Ok(visit.page(StatusCode::OK, &page))
}
