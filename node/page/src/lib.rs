//! The web page: what operators do with a cluster, in a browser.
//!
//! It knows nothing but the node's API, which it calls inside the process with the login of its
//! visitor: so it can do nothing that the API does not allow. Every page works without script.
//! Each change is shown as a dry run first and made when the visitor confirms it.

mod api;
mod assets;
mod backup;
mod book;
mod change;
mod cookie;
mod explain;
mod form;
mod held;
mod login;
mod owner;
mod pages;
mod show;
mod visit;
mod wish;

use std::sync::Arc;

use axum::{Router, response::Redirect, routing::get};

pub use api::Connection;
use conclave_api::{limits::BODY_BYTES_MAX, path};
use held::Held;

/// Largest form, with PEM.
const FORM_BYTES_MAX: usize = BODY_BYTES_MAX;
/// Largest form without PEM. Strangers can send such ones.
const SHORT_FORM_BYTES_MAX: usize = 64 * 1024;

/// What all visits share.
pub(crate) struct Site {
    api: Router,
    held: Held,
}

/// Returns the router of the page, which asks `api`. Each of its requests must carry a
/// [`Connection`].
pub fn router(api: Router) -> Router {
    let site = Arc::new(Site { api, held: Held::default() });
    let home = || async { Redirect::to("/ui") };
    Router::new()
        .route("/", get(home))
        .route("/ui/", get(home))
        .route("/ui/login", get(login::show).post(login::log_in))
        .route("/ui/logout", get(home).post(login::log_out))
        .route("/ui/sealed", get(login::sealed).post(login::unseal))
        .route(change::ASK, get(home).post(change::ask))
        .route(change::CONFIRM, get(home).post(change::confirm))
        .route(backup::MAKE, get(home).post(backup::make))
        .route(explain::EXPLAIN, get(home).post(explain::explain))
        .route("/ui/assets/{name}", get(assets::file))
        .route("/ui/docs", get(book::contents))
        .route("/ui/docs/{chapter}", get(book::chapter))
        .route("/ui", get(pages::show))
        .route("/ui/{*page}", get(pages::show))
        .with_state(site)
}

/// Returns the router of the pages for owners of accounts, which ask `api`. Each of its requests must
/// carry a [`Connection`].
pub fn owner_router(api: Router) -> Router {
    let site = Arc::new(Site { api, held: Held::default() });
    let home = || async { Redirect::to(owner::HOME) };
    Router::new()
        .route("/", get(home))
        .route(owner::HOME, get(owner::show))
        .route(owner::LOGIN, get(owner::show_login).post(owner::log_in))
        .route(path::ENTER_PAGE, get(owner::show_invitation).post(owner::enter))
        .route(owner::LOGOUT, get(home).post(owner::log_out))
        .route(owner::FORM, get(home).post(owner::act))
        .route("/ui/assets/{name}", get(assets::file))
        .with_state(site)
}
