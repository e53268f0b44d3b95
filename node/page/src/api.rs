//! The page's only way to the cluster: the node's own API, called inside the process.

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{
        Extensions, HeaderName, HeaderValue, Method, Request,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
};
use conclave_api::problem::{Code, Problem};
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use zeroize::Zeroizing;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What the server knows about the connection of a request. The page hands it on to the API, which
/// decides by it who asks and from where.
#[derive(Clone, Default)]
pub struct Connection {
    /// What each request of the connection carries.
    pub known: Extensions,
    /// Whether the client has shown a certificate, which may be a login.
    pub has_certificate: bool,
}

/// The API as one visitor may use it.
#[derive(Clone)]
pub(crate) struct Api {
    router: Router,
    connection: Connection,
    token: Option<String>,
}

/// A request to the API.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path with its query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// JSON, or nothing. Wiped when it was read.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Api {
    pub(crate) fn new(router: Router, connection: Connection, token: Option<String>) -> Api {
        Api { router, connection, token }
    }

    /// Returns whether the visitor shows anything that may be a login.
    pub(crate) fn has_login(&self) -> bool {
        self.has_token() || self.connection.has_certificate
    }

    /// Returns whether the visitor shows a token.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Reads an object.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let path = path.to_owned();
        self.call(Call {
            method: Method::GET,
            path,
            headers: Vec::new(),
            body: Zeroizing::default(),
        })
        .await
    }

    /// Calls the API, and reads its answer.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, Problem> {
        let body = self.stream(call).await?;
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(internal)?;
        serde_json::from_slice(&body).map_err(internal)
    }

    /// Calls the API. Returns the body of its answer, which may be long.
    pub(crate) async fn stream(&self, call: Call) -> Result<Body, Problem> {
        let mut request = Request::builder().method(call.method).uri(call.path);
        if let Some(token) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            request = request.header(AUTHORIZATION, value.map_err(internal)?);
        }
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let body = Body::from(Bytes::from_owner(call.body));
        let mut request = request.body(body).map_err(internal)?;
        *request.extensions_mut() = self.connection.known.clone();
        let Ok(answer) = self.router.clone().oneshot(request).await;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let body = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.map_err(internal)?;
        Err(serde_json::from_slice::<Problem>(&body).map_err(internal)?)
    }
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!(event = "page.failed", %error);
    Problem::new(Code::Internal, "the page cannot read the answer of its own node")
}
