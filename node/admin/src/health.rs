//! Health and metrics over plain HTTP, for load balancers, service managers and Prometheus.
//!
//! They have their own listener, off by default, and nothing secret. Nobody shows a token here, so
//! every connection has the bounds of a stranger's, and a scrape is made at most twice a second.

mod families;
mod metrics;
mod probes;
mod sample;
mod text;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use conclave_cluster::node::Node;
use tokio::{net::TcpListener, sync::Mutex};

use crate::http::{self, Places, limits::HEALTH_CONNECTIONS_MAX};
use probes::Check;

/// Age of a scrape up to which it answers further requests.
const SCRAPE_AGE_MAX: Duration = Duration::from_millis(500);
/// Media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Media type of the older format.
const OLDER: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The node, and its last scrape.
#[derive(Clone)]
struct Served {
    node: Node,
    last: Arc<Mutex<Option<Scraped>>>,
}

/// The text of a scrape, as OpenMetrics.
struct Scraped {
    at: Instant,
    text: Arc<str>,
}

/// Serves health and metrics until dropped.
pub async fn serve(listener: TcpListener, node: Node) {
    let router = router(node);
    http::serve_guests(listener, Places::new(HEALTH_CONNECTIONS_MAX), |stream, _, guest| {
        http::connection(stream, router.clone(), http::known(guest))
    })
    .await;
}

fn router(node: Node) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(scrape))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(map_response(plain))
        .with_state(Served { node, last: Arc::default() })
}

async fn nothing() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "not found: /livez, /readyz, /startupz or /metrics\n")
}

/// Forbids caches, and browsers to take the text for something else.
async fn plain(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn livez(State(served): State<Served>, RawQuery(query): RawQuery) -> Response {
    answer(&probes::live(&served.node).await, query.as_deref())
}

async fn readyz(State(served): State<Served>, RawQuery(query): RawQuery) -> Response {
    answer(&probes::ready(&served.node), query.as_deref())
}

async fn startupz(State(served): State<Served>, RawQuery(query): RawQuery) -> Response {
    answer(&probes::started(&served.node), query.as_deref())
}

/// Answers 200 if every check is well, else 503. Query `verbose` asks for a line for each check.
fn answer(checks: &[Check], query: Option<&str>) -> Response {
    let is_well = checks.iter().all(|check| check.problem.is_none());
    let is_verbose = query
        .is_some_and(|query| query.split('&').any(|one| one.split('=').next() == Some("verbose")));
    let mut text = String::new();
    for check in checks.iter().filter(|_| is_verbose) {
        text.push_str(&match &check.problem {
            None => format!("[+] {}\n", check.what),
            Some(problem) => format!("[-] {}: {problem}\n", check.what),
        });
    }
    text.push_str(if is_well { "ok\n" } else { "not ok\n" });
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn scrape(State(served): State<Served>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let is_open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let Some(text) = served.scrape().await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n")
            .into_response();
    };
    match is_open {
        true => ([(header::CONTENT_TYPE, OPEN_METRICS)], text.to_string()).into_response(),
        false => ([(header::CONTENT_TYPE, OLDER)], text::older(&text)).into_response(),
    }
}

impl Served {
    /// Returns the metrics as OpenMetrics text. Concurrent requests share one scrape.
    async fn scrape(&self) -> Option<Arc<str>> {
        let mut last = self.last.lock().await;
        if let Some(known) = last.as_ref().filter(|known| known.at.elapsed() < SCRAPE_AGE_MAX) {
            return Some(Arc::clone(&known.text));
        }
        let sample = sample::take(&self.node).await;
        let text: Arc<str> = metrics::write(&self.node, sample)?.into();
        *last = Some(Scraped { at: Instant::now(), text: Arc::clone(&text) });
        Some(text)
    }
}
