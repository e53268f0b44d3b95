//! Conversion of problems to HTTP answers.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use conclave_api::problem::{Code, Problem};

/// A problem as the error of a route.
pub(crate) struct Failed(pub(super) Box<Problem>);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Failed {
        Failed(Box::new(problem))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            let (code, title, detail) = (self.0.code.as_str(), &self.0.title, &self.0.detail);
            tracing::warn!(event = "api.failed", code, title, ?detail);
        }
        let mut response = (status, axum::Json(&self.0)).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        // For the audit trail.
        response.extensions_mut().insert(self.0.code);
        let methods = self.0.detail.as_deref().filter(|_| self.0.code == Code::MethodUnknown);
        if let Some(methods) = methods.and_then(|text| HeaderValue::from_str(text).ok()) {
            response.headers_mut().insert(ALLOW, methods);
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, 15.5.2.
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.0.retryable {
            response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
        }
        response
    }
}
