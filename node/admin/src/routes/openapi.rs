//! The route for the contract of the API.

use std::sync::LazyLock;

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use conclave_api::openapi;

/// The same for every caller, and made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());

pub(super) async fn show() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}
