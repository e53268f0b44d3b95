//! The public page of a domain's certificate (A16): for users who install it, without a login.
//!
//! A listener of its own, off by default. It knows the pages below and nothing else; what is not
//! public (no such domain, not enabled, no certificate) cannot be told apart.

use std::time::Duration;

use axum::{
    Router,
    extract::{FromRequestParts, Path},
    http::{HeaderName, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use conclave_pki::certificate::Certificate;
use conclave_store::{
    id::{DomainName, Fingerprint},
    record::{Domain, PkiMode},
    state::State,
    time::UnixMillis,
};
use tokio::net::TcpListener;

use crate::{clock, http, node::Node};

/// Longest time for a connection: whoever asks slowly, or for ever, keeps nobody else out.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Nothing is loaded, run or framed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// A certificate that anybody may have, with what is sent behind it.
struct Public {
    /// As the store has it, not as it was asked for.
    name: DomainName,
    certificate: Certificate,
    chain: Vec<Certificate>,
}

/// Answers until dropped.
pub(crate) async fn serve(listener: TcpListener, node: Node) {
    let router = router(node);
    http::serve(listener, |stream, _| {
        let serving = http::connection(stream, router.clone());
        async {
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await;
        }
    })
    .await;
}

fn router(node: Node) -> Router {
    Router::new()
        .route("/certificates/{name}", get(page))
        .route("/certificates/{name}/certificate.cer", get(der))
        .route("/certificates/{name}/certificate.pem", get(pem))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(node)
}

type Nothing = (StatusCode, &'static str);

async fn nothing() -> Nothing {
    (StatusCode::NOT_FOUND, "not found\n")
}

impl FromRequestParts<Node> for Public {
    type Rejection = Nothing;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Public, Nothing> {
        match Path::<String>::from_request_parts(parts, node).await {
            Ok(Path(name)) => match find(node, &name) {
                Some(found) => Ok(found),
                None => Err(nothing().await),
            },
            Err(_) => Err(nothing().await),
        }
    }
}

/// The certificate of an enabled domain, as this node has it: the shared domain before a local one.
fn find(node: &Node, name: &str) -> Option<Public> {
    let name = DomainName::parse(name).ok()?;
    let shared = node.replica().ok().map(|replica| replica.point());
    let local = node.local().point();
    let shared = shared.as_ref().map(|point| &point.state);
    let scopes = shared.into_iter().chain([&local.state]);
    let (state, domain) = scopes.filter_map(|state| Some((state, state.domain(&name)?))).next()?;
    public(state, domain)
}

fn public(state: &State, domain: &Domain) -> Option<Public> {
    if domain.mode != PkiMode::Enabled || domain.key.is_none() {
        return None;
    }
    let certificate = Certificate::from_der(&domain.certificate.as_ref()?.der).ok()?;
    let chain = state.sent_chain(domain).iter();
    let chain = chain.filter_map(|der| Certificate::from_der(der).ok()).collect();
    Some(Public { name: domain.name.clone(), certificate, chain })
}

/// RFC 2585 §3: one certificate, DER.
async fn der(found: Public) -> Response {
    file(&found.name, "cer", "application/pkix-cert", found.certificate.der().to_vec())
}

/// RFC 8555 §9.1: the certificate and its chain, PEM.
async fn pem(found: Public) -> Response {
    let all = std::iter::once(&found.certificate).chain(&found.chain);
    let text: String = all.map(Certificate::pem).collect();
    file(&found.name, "pem", "application/pem-certificate-chain", text.into_bytes())
}

fn file(name: &DomainName, ending: &str, media_type: &str, bytes: Vec<u8>) -> Response {
    // A domain name holds no quotes.
    let disposition = format!("attachment; filename=\"{name}.{ending}\"");
    let headers =
        [(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (safe(), headers, bytes).into_response()
}

fn safe() -> [(HeaderName, &'static str); 3] {
    [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ]
}

async fn page(found: Public) -> Response {
    let one = &found.certificate;
    let time = |seconds: u64| clock::rfc3339(UnixMillis(seconds.saturating_mul(1_000)));
    let rows = [
        ("Issued to", one.subject()),
        ("Issued by", one.issuer()),
        ("Serial number", one.serial()),
        ("Valid from", time(one.not_before())),
        ("Valid till", time(one.not_after())),
        ("SHA-256", Fingerprint::of(one.der()).to_string()),
    ];
    let row = |(head, text): &(&str, String)| {
        format!("<tr><th scope=\"row\">{head}</th><td>{}</td></tr>\n", escaped(text))
    };
    let rows: String = rows.iter().map(row).collect();
    let name = &found.name;
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Certificate of {name}</title>\n\
         <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 sans-serif;margin:2rem auto;\
         max-width:46rem;padding:0 1rem}}th{{text-align:left;padding-right:1.5rem;\
         vertical-align:top}}td{{overflow-wrap:anywhere}}</style>\n</head>\n<body>\n<main>\n\
         <h1>Certificate of {name}</h1>\n<table>\n{rows}</table>\n\
         <p>Compare the SHA-256 with what its owner told you before you install it.</p>\n<ul>\n\
         <li><a href=\"/certificates/{name}/certificate.cer\">Certificate, DER</a></li>\n\
         <li><a href=\"/certificates/{name}/certificate.pem\">Certificate and CA chain, PEM</a></li>\n\
         </ul>\n</main>\n</body>\n</html>\n"
    );
    (safe(), Html(html)).into_response()
}

/// Text for HTML; attributes of a certificate may hold anything.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
