//! Coming in and going out: the login, its end, and the page of a sealed node.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{Method, StatusCode, request::Parts},
    response::Response,
};
use conclave_api::{
    change::Change,
    keyring::{Unlocking, Unseal},
    path,
    problem::{Code, Problem},
    user::{Login, Session},
};
use zeroize::Zeroizing;

use crate::{
    SHORT_FORM_BYTES_MAX, Site,
    api::Call,
    cookie::{FORM_COOKIE, SESSION_COOKIE, with_cookie},
    form::{Fields, Form, own_path},
    visit::{Visit, status_of},
};

const LOGIN: &str = "/ui/login";
const LOGOUT: &str = "/ui/logout";
const SEALED: &str = "/ui/sealed";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    v: &'a Visit,
    next: String,
    user: String,
}

#[derive(Template)]
#[template(path = "sealed.html")]
struct SealedPage<'a> {
    v: &'a Visit,
    unlocking: Option<Unlocking>,
}

/// Shows the login.
pub(crate) async fn show(State(site): State<Arc<Site>>, parts: Parts) -> Response {
    let visit = Visit::of_stranger(&parts, &site);
    let query = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let next = own_path(query.get("next"));
    visit.page(StatusCode::OK, &LoginPage { v: &visit, next, user: String::new() })
}

/// Logs a user in.
pub(crate) async fn log_in(
    State(site): State<Arc<Site>>,
    parts: Parts,
    Form(fields): Form<SHORT_FORM_BYTES_MAX>,
) -> Response {
    let mut visit = Visit::of_stranger(&parts, &site);
    let (next, user) = (own_path(fields.get("next")), fields.get("user").trim().to_owned());
    if visit.check_form(&parts, LOGIN, &fields).is_err() {
        return visit.go(LOGIN);
    }
    let password = fields.get("password").to_owned();
    let login = Login { user: user.clone(), password, code: fields.some("code") };
    let body = Zeroizing::new(serde_json::to_vec(&login).unwrap_or_default());
    drop(Zeroizing::new(login.password));
    let call =
        Call { method: Method::POST, path: path::LOGIN.to_owned(), headers: Vec::new(), body };
    match visit.api.call::<Session>(call).await {
        Err(problem) if problem.code == Code::Sealed => visit.go(SEALED),
        Ok(session) => with_cookie(visit.go(&next), SESSION_COOKIE, &session.token),
        Err(problem) => {
            visit.problem = Some(problem);
            let status = visit.problem.as_ref().map_or(StatusCode::UNAUTHORIZED, status_of);
            visit.page(status, &LoginPage { v: &visit, next, user })
        }
    }
}

/// Ends the session. Another site cannot: it does not have the form.
pub(crate) async fn log_out(
    State(site): State<Arc<Site>>,
    parts: Parts,
    Form(fields): Form<SHORT_FORM_BYTES_MAX>,
) -> Response {
    let visit = Visit::of_stranger(&parts, &site);
    if visit.check_form(&parts, LOGOUT, &fields).is_err() {
        return visit.go("/ui");
    }
    let path = path::LOGIN.to_owned();
    let body = Zeroizing::default();
    let call = Call { method: Method::DELETE, path, headers: Vec::new(), body };
    // The browser forgets it even if the cluster cannot end it now.
    if let Err(problem) = visit.api.call::<Change>(call).await {
        tracing::debug!(event = "page.not_logged_out", title = problem.title);
    }
    site.held.forget(&visit.key);
    with_cookie(with_cookie(visit.go(LOGIN), SESSION_COOKIE, ""), FORM_COOKIE, "")
}

/// Shows how to open a sealed node, to the holder of a token: a sealed node can check no session.
pub(crate) async fn sealed(State(site): State<Arc<Site>>, parts: Parts) -> Response {
    let visit = Visit::of_stranger(&parts, &site);
    show_sealed(visit, StatusCode::OK).await
}

/// Takes a token, or with one a share or the passphrase.
pub(crate) async fn unseal(
    State(site): State<Arc<Site>>,
    parts: Parts,
    Form(fields): Form<SHORT_FORM_BYTES_MAX>,
) -> Response {
    let mut visit = Visit::of_stranger(&parts, &site);
    if visit.check_form(&parts, SEALED, &fields).is_err() {
        return visit.go(SEALED);
    }
    if let Some(token) = fields.some("token") {
        let is_token =
            token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if is_token {
            return with_cookie(visit.go(SEALED), SESSION_COOKIE, &token);
        }
        visit.problem = Some(Problem::new(Code::Malformed, "this is no access token"));
        return show_sealed(visit, StatusCode::BAD_REQUEST).await;
    }
    let unseal = Unseal { passphrase: fields.some("passphrase"), share: fields.some("share") };
    let body = Zeroizing::new(serde_json::to_vec(&unseal).unwrap_or_default());
    let path = path::KEYRING_UNSEAL.to_owned();
    let call = Call { method: Method::POST, path, headers: Vec::new(), body };
    match visit.api.call::<Unlocking>(call).await {
        Ok(unlocking) if !unlocking.sealed => visit.go("/ui"),
        Ok(_) => visit.go(SEALED),
        Err(problem) => {
            visit.problem = Some(problem);
            let status = visit.problem.as_ref().map_or(StatusCode::BAD_REQUEST, status_of);
            show_sealed(visit, status).await
        }
    }
}

async fn show_sealed(mut visit: Visit, status: StatusCode) -> Response {
    if !visit.api.has_login() {
        return visit.page(status, &SealedPage { v: &visit, unlocking: None });
    }
    match visit.api.read::<Unlocking>(path::KEYRING_UNLOCKING).await {
        Ok(unlocking) if !unlocking.sealed => visit.go("/ui"),
        Ok(unlocking) => visit.page(status, &SealedPage { v: &visit, unlocking: Some(unlocking) }),
        Err(problem) => {
            visit.problem.get_or_insert(problem);
            visit.page(status, &SealedPage { v: &visit, unlocking: None })
        }
    }
}
