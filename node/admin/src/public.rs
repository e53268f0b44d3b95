//! Public certificate pages: users can download a domain's certificate without a login.
//!
//! They have their own listener, off by default, and their own router, so that a routing mistake
//! cannot expose the admin API. Every refusal is the same 404, so that a client cannot tell an
//! unknown domain from one that is not enabled or has no certificate.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{self, FromRequestParts, Path, Query},
    http::{HeaderName, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use conclave_cluster::{admit, node::Node};
use conclave_pki::certificate::Certificate;
use conclave_store::{
    id::{DomainId, DomainName, Fingerprint},
    record::{Credential, Domain, KeyFamily, PkiMode},
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::http::{self, Places, limits::PUBLIC_CONNECTIONS_MAX};

/// Content security policy: the pages load nothing, run nothing and cannot be framed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Revocation lists held here: a list stays the same for an hour, unless a certificate is revoked.
const LISTS_MAX: usize = 256;

/// What the pages are made from.
#[derive(Clone)]
struct Source {
    node: Node,
    lists: Lists,
}

/// The last revocation list of each domain, with its number and the versions of its issuer.
type Lists = Arc<Mutex<HashMap<DomainId, ([u64; 3], Bytes)>>>;

/// The public certificates of a domain; at least one.
struct Public {
    /// Name as stored, not as requested.
    name: DomainName,
    certificates: Vec<Sent>,
}

/// A certificate with its chain.
struct Sent {
    family: KeyFamily,
    certificate: Certificate,
    chain: Vec<Certificate>,
}

/// Query parameters. Without a family the first certificate is served.
#[derive(Deserialize)]
struct Wanted {
    family: Option<String>,
}

/// Serves the pages until dropped.
pub async fn serve(listener: TcpListener, node: Node) {
    let router = router(node);
    // Nobody shows a token here, so every connection is short.
    http::serve_guests(listener, Places::new(PUBLIC_CONNECTIONS_MAX), |stream, _, guest| {
        http::connection(stream, router.clone(), http::known(guest))
    })
    .await;
}

fn router(node: Node) -> Router {
    Router::new()
        .route("/certificates/{name}", get(page))
        .route("/certificates/{name}/certificate.cer", get(der))
        .route("/certificates/{name}/certificate.pem", get(pem))
        .route("/certificates/{name}/smime.crl", get(revocation_list))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(Source { node, lists: Lists::default() })
}

type Nothing = (StatusCode, &'static str);

async fn nothing() -> Nothing {
    (StatusCode::NOT_FOUND, "not found\n")
}

impl FromRequestParts<Source> for Public {
    type Rejection = Nothing;

    async fn from_request_parts(parts: &mut Parts, source: &Source) -> Result<Public, Nothing> {
        let name = Path::<String>::from_request_parts(parts, source).await.ok();
        let node = &source.node;
        let wanted = Query::<Wanted>::try_from_uri(&parts.uri).ok();
        let found = name.zip(wanted).and_then(|(Path(name), Query(wanted))| {
            let mut found = find(node, &name)?;
            if let Some(family) = wanted.family {
                found.certificates.retain(|one| one.family.to_string().to_lowercase() == family);
            }
            (!found.certificates.is_empty()).then_some(found)
        });
        match found {
            Some(found) => Ok(found),
            None => Err(nothing().await),
        }
    }
}

/// Finds the certificates of an enabled domain in this node's State, without asking the leader. A
/// shared domain hides a local one.
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
    if domain.mode != PkiMode::Enabled {
        return None;
    }
    let sent = |credential: &Credential| {
        let certificate = Certificate::from_der(&credential.certificate.as_ref()?.der).ok()?;
        let chain = state.sent_chain(credential).iter();
        let chain = chain.filter_map(|der| Certificate::from_der(der).ok()).collect();
        Some(Sent { family: credential.key.family, certificate, chain })
    };
    let certificates: Vec<Sent> = domain.credentials.iter().filter_map(sent).collect();
    (!certificates.is_empty()).then(|| Public { name: domain.name.clone(), certificates })
}

/// Answers one certificate in DER (RFC 2585 §3).
async fn der(found: Public) -> Response {
    let first = found.certificates.first();
    let der = first.map(|one| one.certificate.der().to_vec()).unwrap_or_default();
    file(&found.name, "cer", "application/pkix-cert", der)
}

/// Answers the certificate and its chain in PEM (RFC 8555 §9.1).
async fn pem(found: Public) -> Response {
    let first = found.certificates.first().into_iter();
    let all = first.flat_map(|one| std::iter::once(&one.certificate).chain(&one.chain));
    let text: String = all.map(Certificate::pem).collect();
    file(&found.name, "pem", "application/pem-certificate-chain", text.into_bytes())
}

/// Answers the list of revoked S/MIME certificates of a domain in DER (RFC 2585 §3). It is signed
/// once an hour: strangers must not make a node sign as often as they like.
async fn revocation_list(
    Path(name): Path<String>,
    extract::State(Source { node, lists }): extract::State<Source>,
) -> Result<Response, Nothing> {
    let none = (StatusCode::NOT_FOUND, "not found\n");
    let name = DomainName::parse(&name).map_err(|_| none)?;
    let state = node.replica().map_err(|_| none)?.point().state.clone();
    let domain = state.domain(&name).ok_or(none)?.clone();
    let now = clock::now();
    let version = state.smime_issuer(domain.id).map_or(0, |issuer| issuer.version.0);
    let number = [admit::list_number(&state, &domain, now), version, domain.version.0];
    let held = lists.lock().ok().and_then(|lists| lists.get(&domain.id).cloned());
    let id = domain.id;
    let der = match held.filter(|(held, _)| *held == number) {
        Some((_, der)) => der,
        None => {
            let made = tokio::task::spawn_blocking(move || {
                admit::revocation_list(&node, &state, &domain, now)
            });
            let made = made.await.map_err(|_| none)?.map_err(|_| none)?;
            let der = Bytes::copy_from_slice(made.der());
            if let Ok(mut lists) = lists.lock() {
                if lists.len() >= LISTS_MAX {
                    lists.clear();
                }
                lists.insert(id, (number, der.clone()));
            }
            der
        }
    };
    Ok(file(&name, "crl", "application/pkix-crl", der.to_vec()))
}

fn file(name: &DomainName, ending: &str, media_type: &str, bytes: Vec<u8>) -> Response {
    // A domain name contains no quotes, so it needs no escaping here.
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

/// Renders a certificate with its download links.
fn section(name: &DomainName, sent: &Sent) -> String {
    let one = &sent.certificate;
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
    let family = sent.family.to_string();
    let path = format!("/certificates/{name}/certificate");
    let wanted = format!("?family={}", family.to_lowercase());
    format!(
        "<h2>{family}</h2>\n<table>\n{rows}</table>\n<ul>\n\
         <li><a href=\"{path}.cer{wanted}\">Certificate, DER</a></li>\n\
         <li><a href=\"{path}.pem{wanted}\">Certificate and CA chain, PEM</a></li>\n</ul>\n"
    )
}

async fn page(found: Public) -> Response {
    let name = &found.name;
    let sections: String = found.certificates.iter().map(|one| section(name, one)).collect();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Certificate of {name}</title>\n\
         <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 sans-serif;margin:2rem auto;\
         max-width:46rem;padding:0 1rem}}th{{text-align:left;padding-right:1.5rem;\
         vertical-align:top}}td{{overflow-wrap:anywhere}}</style>\n</head>\n<body>\n<main>\n\
         <h1>Certificate of {name}</h1>\n{sections}\
         <p>Compare the SHA-256 with what its owner told you before you install it.</p>\n\
         </main>\n</body>\n</html>\n"
    );
    (safe(), Html(html)).into_response()
}

/// Escapes text for HTML. Attributes of a certificate may contain anything.
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
