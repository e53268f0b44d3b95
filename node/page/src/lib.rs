//! The web page: what operators do with a cluster, in a browser.
//!
//! It knows nothing but the node's API, which it calls inside the process with the login of its
//! visitor: so it can do nothing that the API does not allow. Every page works without script.
//! Each change is shown as a dry run first and made when the visitor confirms it.

mod api;
mod assets;
mod book;
mod change;
mod form;
mod held;
mod login;
mod pages;
mod show;
mod visit;
mod wish;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::Redirect,
    routing::{get, post},
};

pub use api::Connection;
use conclave_api::limits::BODY_BYTES_MAX;
use held::Held;

/// What all visits share.
pub(crate) struct Site {
    api: Router,
    held: Held,
}

/// Returns the router of the page, which asks `api`. Each of its requests must carry a
/// [`Connection`].
pub fn router(api: Router) -> Router {
    let site = Arc::new(Site { api, held: Held::default() });
    Router::new()
        .route("/", get(|| async { Redirect::to("/ui") }))
        .route("/ui/login", get(login::show).post(login::log_in))
        .route("/ui/logout", post(login::log_out))
        .route("/ui/sealed", get(login::sealed).post(login::unseal))
        .route("/ui/change", post(change::ask))
        .route("/ui/change/confirm", post(change::confirm))
        .route("/ui/assets/{name}", get(assets::file))
        .route("/ui/docs", get(book::contents))
        .route("/ui/docs/{chapter}", get(book::chapter))
        .route("/ui", get(pages::show))
        .route("/ui/{*page}", get(pages::show))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(site)
}
