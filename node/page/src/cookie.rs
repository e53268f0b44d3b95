//! The cookies of the pages: the session of a user, that of an account's owner, and the key that
//! signs a browser's forms.

use axum::{
    http::{
        HeaderMap, HeaderValue,
        header::{COOKIE, SET_COOKIE},
    },
    response::Response,
};

/// Cookie with the session of a user.
pub(crate) const SESSION_COOKIE: &str = "__Host-conclave-session";
/// Cookie with the session of an account's owner. Both may be on one host: cookies know no ports.
pub(crate) const OWNER_COOKIE: &str = "__Host-conclave-owner";
/// Cookie with the key that signs this browser's forms.
pub(crate) const FORM_COOKIE: &str = "__Host-conclave-form";
/// What every cookie of the page is: not for scripts, not for other sites, only over TLS.
const RULES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// Returns a cookie of a request.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(one, _)| one.trim() == name).map(|(_, value)| value.trim())
}

/// Gives a browser a cookie, or with an empty value has it forget one.
pub(crate) fn with_cookie(mut answer: Response, name: &str, value: &str) -> Response {
    let end = if value.is_empty() { "; Max-Age=0" } else { "" };
    let cookie = format!("{name}={value}; {RULES}{end}");
    if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
        cookie.set_sensitive(true);
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}
