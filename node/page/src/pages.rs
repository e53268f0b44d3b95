//! The pages, one file per noun: what each shows, and what its forms wish.

mod audit;
mod certificate;
mod chain;
mod client_auth;
mod cluster;
mod csr;
mod domain;
mod join_token;
mod key;
mod keyring;
mod listener;
mod node;
mod overview;
mod tls;
mod token;
mod trust;
mod user;

use askama::Template;
use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use conclave_api::problem::{Code, Problem};

use crate::{form::Fields, visit::Visit, wish::Wish};

/// The menu.
pub(crate) const MENU: [(&str, &str); 8] = [
    ("/ui", "Overview"),
    ("/ui/domains", "Domains"),
    ("/ui/trusted", "Trusted certificates"),
    ("/ui/tls", "TLS sessions"),
    ("/ui/listeners", "Listeners"),
    ("/ui/cluster", "Cluster"),
    ("/ui/audit", "Audit trail"),
    ("/ui/administrators", "Administrators"),
];

#[derive(Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage<'a> {
    pub(crate) v: &'a Visit,
}

/// A page, or why it cannot be shown.
type Shown = Result<Response, Problem>;
/// What a form asks for, or what is wrong with it.
type Wished = Result<Wish, Problem>;

/// Shows a page.
pub(crate) async fn show(visit: Visit) -> Response {
    of(visit).await
}

/// Shows the page at the path of a visit.
pub(crate) async fn of(mut visit: Visit) -> Response {
    let (path, query) = match visit.path.clone().split_once('?') {
        Some((path, query)) => (path.to_owned(), Fields::parse(query.as_bytes())),
        None => (visit.path.clone(), Fields::parse(b"")),
    };
    let segments =
        path.strip_prefix("/ui").unwrap_or_default().split('/').filter(|part| !part.is_empty());
    let decoded: Vec<String> = segments.map(unescaped).collect();
    let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let shown = match segments.as_slice() {
        [] if visit.is_limited() => return visit.go("/ui/domains"),
        [] => overview::page(&visit).await,
        ["live", "nodes"] => overview::nodes(&visit).await,
        ["domains"] => domain::list(&visit, &query).await,
        ["domains", "new"] => domain::new(&visit),
        ["domains", name] => domain::page(&visit, name, &query).await,
        ["domains", name, "client-auth"] => client_auth::page(&visit, name).await,
        ["domains", name, "trusted"] => trust::of_domain(&visit, name).await,
        ["domains", name, "history"] => domain::history(&visit, name).await,
        ["trusted"] => trust::page(&visit, "cluster", &query).await,
        ["trusted", set @ ("builtin" | "server" | "cluster")] => {
            trust::page(&visit, set, &query).await
        }
        ["tls"] => tls::page(&visit).await,
        ["listeners"] => listener::page(&visit).await,
        ["cluster"] => cluster::page(&visit).await,
        ["cluster", "keyring"] => keyring::page(&visit).await,
        ["audit"] => audit::page(&visit, &query).await,
        ["administrators"] => user::page(&visit).await,
        _ => Err(Problem::new(Code::NotFound, "there is no such page")),
    };
    match shown {
        Ok(answer) => answer,
        Err(problem) => {
            let status = status_of(&problem);
            // Of two problems the one of the form is what the visitor asked about.
            visit.problem.get_or_insert(problem);
            visit.page(status, &ProblemPage { v: &visit })
        }
    }
}

/// Returns the change that a form asks for.
pub(crate) fn wish(form: &str, fields: &Fields) -> Wished {
    let (noun, what) = form.split_once('.').unwrap_or((form, ""));
    let wished = match noun {
        "certificate" => certificate::wish(what, fields),
        "chain" => chain::wish(what, fields),
        "client-auth" => client_auth::wish(what, fields),
        "cluster" => cluster::wish(what, fields),
        "csr" => csr::wish(what, fields),
        "domain" => domain::wish(what, fields),
        "join-token" => join_token::wish(what, fields),
        "key" => key::wish(what, fields),
        "keyring" => keyring::wish(what, fields),
        "listener" => listener::wish(what, fields),
        "node" => node::wish(what, fields),
        "tls" => tls::wish(what, fields),
        "token" => token::wish(what, fields),
        "trust" => trust::wish(what, fields),
        "user" => user::wish(what, fields),
        _ => None,
    };
    wished.unwrap_or_else(|| Err(Problem::new(Code::Malformed, "the page has no such form")))
}

/// Returns whether a form is sent without a confirmation: what it makes changes nothing, or is
/// shown at once.
pub(crate) fn is_at_once(form: &str) -> bool {
    ["csr.create", "join-token.create"].contains(&form)
}

/// Returns the status of a page that shows a problem.
pub(crate) fn status_of(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Makes a wish about a domain.
fn of_domain(title: &str, method: Method, path: &str, fields: &Fields) -> Wish {
    let name = fields.get("name");
    let path = conclave_api::path::with_name(path, name);
    Wish::new(format!("{title} {name}"), method, path).of_domain(fields)
}

/// Returns the options of a command for a key of one family.
fn family(fields: &Fields) -> Vec<&str> {
    match fields.get("family") {
        "" => Vec::new(),
        family => vec!["--family", family],
    }
}

fn unescaped(segment: &str) -> String {
    // A path has no `+` for a space.
    let text = format!("x={}", segment.replace('+', "%2B").replace('&', "%26"));
    Fields::parse(text.as_bytes()).get("x").to_owned()
}
