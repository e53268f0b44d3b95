//! The public page of a domain's certificate (A16): for users who install it, without a login.
//!
//! A listener of its own, off by default. It knows the pages below and nothing else; what is not
//! public (no such domain, not enabled, no certificate) cannot be told apart.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Path, State as Shared},
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use conclave_pki::certificate::Certificate;
use conclave_store::{
    id::DomainName,
    record::{Domain, PkiMode},
    state::State,
};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{admin, clock, node::Node};

/// Connections at once.
const CONNECTIONS_MAX: usize = 256;
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
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let router = router(node);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(admin::ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let router = router.clone();
        tokio::spawn(async move {
            // A client that asks slowly, or for ever, is not served for ever.
            let serving = admin::serve_connection(stream, router);
            let _ = tokio::time::timeout(admin::HEAD_TIMEOUT * 6, serving).await;
            drop(place);
        });
    }
}

/// Opens the port.
pub(crate) async fn open(bind: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(bind).await
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

async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
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
    let chain = domain.chain.and_then(|fingerprint| state.chain(&fingerprint));
    let chain = chain.map(|chain| chain.certificates.as_slice()).unwrap_or_default();
    let chain = chain.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    Some(Public { name: domain.name.clone(), certificate, chain })
}

/// RFC 2585 §3: one certificate, DER.
async fn der(Path(name): Path<String>, Shared(node): Shared<Node>) -> Response {
    let Some(found) = find(&node, &name) else { return nothing().await };
    file(&found.name, "cer", "application/pkix-cert", found.certificate.der().to_vec())
}

/// RFC 8555 §9.1: the certificate and its chain, PEM.
async fn pem(Path(name): Path<String>, Shared(node): Shared<Node>) -> Response {
    let Some(found) = find(&node, &name) else { return nothing().await };
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

async fn page(Path(name): Path<String>, Shared(node): Shared<Node>) -> Response {
    let Some(found) = find(&node, &name) else { return nothing().await };
    let one = &found.certificate;
    let time = |seconds: u64| {
        clock::rfc3339(conclave_store::time::UnixMillis(seconds.saturating_mul(1_000)))
    };
    let fingerprint = conclave_store::id::Fingerprint::of(one.der()).to_string();
    let rows = [
        ("Issued to", one.subject()),
        ("Issued by", one.issuer()),
        ("Serial number", one.serial()),
        ("Valid from", time(one.not_before())),
        ("Valid till", time(one.not_after())),
        ("SHA-256", fingerprint),
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
