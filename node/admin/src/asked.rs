//! Parsing of API requests: headers and body, with the parameters.

use std::{borrow::Cow, net::IpAddr};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, Method, header::CONTENT_LENGTH, request::Parts},
};
use conclave_api::{
    domain::{DomainOrder, Scope as ApiScope},
    key::Family as ApiFamily,
    limits::BODY_BYTES_MAX,
    path::{IF_MATCH_HEADER, LAST_EVENT_HEADER, OPERATION_HEADER},
    problem::{Code, Problem},
};
use conclave_cluster::{
    node::Node,
    operate::{Caller, Operator, Reached},
    rights::Access,
    view::Chosen,
};
use conclave_store::{
    id::OperationId,
    record::{KeyFamily, Principal},
    scope::Scope,
};
use conclave_system::{clock, entropy};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    auth::{self, Door},
    parameters::{self, Filter, Page},
    problem::Failed,
};
use crate::http::{Guest, limits::BODY_TIMEOUT};

/// A request of one who is not known yet: a login.
pub(super) struct Unknown {
    pub(super) asked: Asked,
    pub(super) remote: Option<IpAddr>,
    pub(super) guest: Option<Guest>,
}

/// A parsed request: the operator that carries it out, and the parts that only routes read.
pub(super) struct Asked {
    pub(super) operator: Operator,
    pub(super) page: Page,
    /// Whether a signing request is for the pending key.
    pub(super) is_pending: bool,
    /// Whether a list of trusted certificates is without the inherited ones.
    pub(super) is_own: bool,
    /// Which entries of the audit trail are wanted.
    pub(super) filter: Filter,
    /// Which domains are wanted.
    pub(super) chosen: Chosen,
    /// Wanted kinds of events, with commas between.
    pub(super) kinds: Option<String>,
    /// The last event that the caller has read.
    pub(super) last_event: Option<String>,
    /// Wiped, because it may hold a private key.
    body: Zeroizing<Vec<u8>>,
}

impl FromRequest<Node> for Asked {
    type Rejection = Failed;

    async fn from_request(request: Request, node: &Node) -> Result<Asked, Failed> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let caller = auth::caller(&mut parts, node).await?;
        Asked::read(started, parts, body, caller, node).await
    }
}

impl FromRequest<Node> for Unknown {
    type Rejection = Failed;

    async fn from_request(request: Request, node: &Node) -> Result<Unknown, Failed> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let remote = parts.extensions.get::<Door>().and_then(Door::remote);
        let guest = parts.extensions.get::<Guest>().cloned();
        let (principal, access, expects) = (Principal::Stranger, Access::nothing(), Vec::new());
        let caller = Caller { principal, access, remote, expects, ends: None };
        let asked = Asked::read(started, parts, body, caller, node).await?;
        Ok(Unknown { asked, remote, guest })
    }
}

impl Asked {
    async fn read(
        started: Instant,
        parts: Parts,
        body: Body,
        caller: Caller,
        node: &Node,
    ) -> Result<Asked, Failed> {
        let malformed = |what: String| Problem::new(Code::Malformed, what);
        let parameters = parameters::read(&parts.uri)?;
        let body = tokio::time::timeout(BODY_TIMEOUT, read(body, &parts.headers)).await;
        let body = body.map_err(|_| {
            let seconds = BODY_TIMEOUT.as_secs();
            malformed(format!("the request's body did not arrive within {seconds} s"))
        })??;
        let header = |name: &str| {
            let text = parts.headers.get(name).map(HeaderValue::to_str).transpose();
            text.map_err(|_| malformed(format!("the header {name} is not ASCII")))
        };
        let operation = match header(OPERATION_HEADER)? {
            Some(text) => OperationId::parse(text).map_err(|error| malformed(error.to_string()))?,
            None => OperationId::new(clock::now(), entropy::array()),
        };
        let if_version = header(IF_MATCH_HEADER)?
            .map(|text| version(text).ok_or_else(|| malformed("If-Match must be a version".into())))
            .transpose()?;
        let (wait, is_stale) = (parameters.wait()?, parameters.is_stale()?);
        parameters.check_texts()?;
        let (page, filter) = (parameters.page()?, parameters.filter()?);
        let family = parameters.family.map(|family| match family {
            ApiFamily::Ec => KeyFamily::Ec,
            ApiFamily::Rsa => KeyFamily::Rsa,
        });
        let timeout = parameters.timeout();
        let hashed = without_passwords(parts.uri.path(), &body);
        let operator = Operator {
            node: node.clone(),
            caller,
            scope: parameters.scope.map(|scope| match scope {
                ApiScope::Shared => Scope::Shared,
                ApiScope::Local => Scope::Local,
            }),
            family,
            operation,
            request: request_hash(&parts.method, parts.uri.path(), family, &hashed),
            wait,
            timeout,
            deadline: started + timeout,
            reason: parameters.reason,
            is_stale,
            is_dry_run: parameters.dry_run,
            is_all_required: parameters.require_all,
            removed: removed(&parts.method, parts.uri.path()),
            is_if_missing: parameters.if_missing,
            is_if_exists: parameters.if_exists,
            if_version,
            started,
            reached: parts.extensions.get::<Reached>().cloned().unwrap_or_default(),
        };
        let chosen = Chosen {
            search: parameters.search.map(|text| text.to_lowercase()),
            state: parameters.state,
            order: parameters.sort.unwrap_or(DomainOrder::Name),
        };
        let last_event = header(LAST_EVENT_HEADER)?.map(str::to_owned);
        let (is_pending, is_own, kinds) = (parameters.pending, parameters.own, parameters.kind);
        Ok(Asked { operator, page, is_pending, is_own, filter, chosen, kinds, last_event, body })
    }
}

/// Reads the version of an entity tag, with or without its quotes.
fn version(text: &str) -> Option<u64> {
    let bare = text.strip_prefix('"').map_or(Some(text), |rest| rest.strip_suffix('"'))?;
    let is_number = bare.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| bare.parse().ok()).flatten()
}

/// Reads a body. Copies no secret into memory that is not wiped; what the HTTP server has read
/// stays in its own buffers.
async fn read(body: Body, headers: &HeaderMap) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let too_large = || Problem::new(Code::TooLarge, "the request is larger than 6 MiB");
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    // Before anything is read, as that asks the caller to send it (100 Continue, RFC 9110 §10.1.1):
    // one that sends hears no answer.
    if length > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let mut read = Zeroizing::new(Vec::with_capacity(length));
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            let title = format!("the request's body broke off: {error}");
            Problem::new(Code::Malformed, title)
        })?;
        let bytes = read.len() + piece.len();
        if bytes > BODY_BYTES_MAX {
            return Err(too_large());
        }
        if bytes > read.capacity() {
            // A vector that grows by itself leaves its old memory as it is.
            let mut larger = Zeroizing::new(Vec::with_capacity(bytes * 2));
            larger.extend_from_slice(&read);
            read = larger;
        }
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

/// Describes what is wrong with a body, without the values in it: one may be a passphrase in the
/// wrong place or of the wrong type.
fn malformed_json(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let shown = ["invalid type: ", "invalid value: "].into_iter().find_map(|kind| {
        let value = text.strip_prefix(kind)?;
        let (value, expected) = value.rsplit_once(", expected ")?;
        let of = value.split([' ', '`', '"']).next().unwrap_or_default();
        Some(format!("{kind}{of}, expected {expected}"))
    });
    Problem::new(Code::Malformed, format!("the request's body: {}", shown.unwrap_or(text)))
}

/// Returns the hash that detects an operation id that is reused for another request. Each part has
/// its length before it, so that different parts never give the same bytes.
fn request_hash(method: &Method, path: &str, family: Option<KeyFamily>, body: &[u8]) -> [u8; 32] {
    let means = family.map(|family| family.to_string()).unwrap_or_default();
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [method.as_str().as_bytes(), path.as_bytes(), means.as_bytes(), body] {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut request = [0; 32];
    request.copy_from_slice(context.finish().as_ref());
    request
}

/// Fields of requests about users and accounts that people choose and may be guessed, and a file
/// that one of them opens.
const CHOSEN: [&str; 7] =
    ["password", "passphrase", "pkcs12_passphrase", "export_passphrase", "old", "new", "pkcs12"];

/// Returns the body of a request without the passwords in it. The hash of a request is in State,
/// where it would let a password be guessed at the cost of SHA-256 instead of Argon2id.
fn without_passwords<'b>(path: &str, body: &'b [u8]) -> Cow<'b, [u8]> {
    if !["/v1/users", "/v1/accounts"].iter().any(|noun| path.starts_with(noun)) {
        return body.into();
    }
    let Ok(mut fields) = serde_json::from_slice::<serde_json::Map<_, _>>(body) else {
        // A body that is refused, or none.
        return Cow::default();
    };
    fields.retain(|name, _: &mut serde_json::Value| !CHOSEN.contains(&name.as_str()));
    serde_json::to_vec(&fields).unwrap_or_default().into()
}

/// Returns the name of the object that a request removes, or removes a part of: `shop.example` for
/// `DELETE /v1/domains/shop.example/key`.
fn removed(method: &Method, path: &str) -> Option<String> {
    let is_of_trust = path.starts_with("/v1/trust/") && path.ends_with("/remove");
    let is_removal = *method == Method::DELETE || is_of_trust;
    let name = path.split('/').nth(3).unwrap_or_default();
    let plain = [("%3A", ":"), ("%3a", ":"), ("%40", "@")];
    let plain = || plain.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to));
    is_removal.then(plain)
}

impl Asked {
    /// Returns the body as it came.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// Parses the body as JSON. An empty body is an empty object.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        object(&self.body)
    }
}

/// Parses a body that must be an object. Serde takes an array for a struct, too.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    match body.trim_ascii_start().first() {
        Some(b'[') => Err(Problem::new(Code::Malformed, "the request's body must be an object")),
        _ => serde_json::from_slice(body).map_err(|error| malformed_json(&error)),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Body {
        passphrase: String,
        days: u8,
    }

    #[test]
    fn no_password_is_in_the_hash_of_a_request_and_all_else_is() {
        let of = |path, body: &str| without_passwords(path, body.as_bytes()).into_owned();
        let one = of("/v1/users/ann", r#"{"role":"viewer","password":"correct horse"}"#);
        assert_eq!(one, of("/v1/users/ann", r#"{"password":"another","role":"viewer"}"#));
        assert_ne!(one, of("/v1/users/ann", r#"{"role":"admin","password":"correct horse"}"#));
        for name in CHOSEN {
            let body = format!("{{\"{name}\":\"correct horse\"}}");
            assert_eq!(of("/v1/accounts/a@b/key", &body), b"{}");
        }
        assert_eq!(of("/v1/users", "no JSON"), b"");
        assert_eq!(of("/v1/domains", "as it is"), b"as it is");
    }

    #[test]
    fn what_is_wrong_with_a_body_is_told_without_its_values() {
        let check = |body: &str, told: &str| {
            let error = serde_json::from_str::<Body>(body).unwrap_err();
            let title = malformed_json(&error).title;
            assert!(title.contains(told), "{title}");
            assert!(!title.contains("12345") && !title.contains("hunter2"), "{title}");
        };
        check(r#"{"passphrase": 12345}"#, "invalid type: integer, expected a string at line 1");
        check(r#"{"days": "hunter2, expected u8"}"#, "invalid type: string, expected u8 at");
        check(r#"{"days": 12345}"#, "invalid value: integer, expected u8 at");
        check(r#"{"passphrase": ["hunter2"]}"#, "invalid type: sequence, expected a string at");
        check(r#"{"secret": "hunter2"}"#, "unknown field `secret`");
        check(r#"{"passphrase": "hunter2"#, "EOF while parsing a string");
    }

    #[test]
    fn a_body_is_an_object() {
        for right in ["", "{}", " {\"days\": 1}"] {
            assert!(object::<Body>(right.as_bytes()).is_ok(), "{right}");
        }
        for wrong in ["[]", "[\"secret\", 1]", " [\"secret\"]", "null", "1", "\"x\""] {
            assert!(object::<Body>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_version_is_a_number_with_or_without_quotes() {
        for (text, expected) in [("17", Some(17)), ("\"17\"", Some(17)), ("0", Some(0))] {
            assert_eq!(version(text), expected, "{text}");
        }
        for wrong in ["", "\"\"", "\"17", "17\"", "\"\"17\"\"", "+17", "*", "W/\"17\"", "1e3"] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }
}
