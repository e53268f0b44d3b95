//! A backup that the browser keeps.

use axum::{
    http::{
        HeaderValue, Method,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use conclave_api::{backup::Create, path};
use conclave_system::clock;

use crate::{
    SHORT_FORM_BYTES_MAX,
    api::Call,
    form::{Form, own_path},
    pages::refused,
    visit::Visit,
};

/// Where the form goes.
pub(crate) const MAKE: &str = "/ui/backup";

/// Answers a backup as a file. It changes nothing, so there is nothing to confirm.
pub(crate) async fn make(
    mut visit: Visit,
    parts: Parts,
    Form(fields): Form<SHORT_FORM_BYTES_MAX>,
) -> Response {
    visit.path = own_path(fields.get("back"));
    if let Err(problem) = visit.check_form(&parts, MAKE, &fields) {
        return refused(visit, fields.shown(), problem).await;
    }
    let create = Create {
        recipients: fields.words("recipients"),
        include_local: fields.is_on("include_local"),
    };
    // A list of texts always serializes.
    let body = serde_json::to_vec(&create).unwrap_or_default().into();
    let path = path::BACKUP.to_owned();
    let call = Call { method: Method::POST, path, headers: Vec::new(), body };
    let backup = match visit.api.stream(call).await {
        Ok(backup) => backup,
        Err(problem) => return refused(visit, fields.shown(), problem).await,
    };
    let time: String = clock::rfc3339(clock::now()).chars().filter(|one| *one != ':').collect();
    let file = format!("attachment; filename=\"{}-{time}.backup\"", visit.cluster());
    let plain = HeaderValue::from_static("attachment; filename=\"conclave.backup\"");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, HeaderValue::from_str(&file).unwrap_or(plain)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, backup).into_response()
}
