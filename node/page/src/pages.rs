//! The pages, one file per noun: what each shows, and what its forms wish.

mod account;
mod audit;
mod canary;
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
mod smime;
mod tls;
mod token;
mod trust;
mod user;

use axum::{http::Method, response::Response};
use conclave_api::problem::{Code, Problem};

use crate::{
    form::{Fields, unescaped},
    visit::{Visit, status_of},
    wish::Wish,
};

/// A page, or why it cannot be shown.
type Shown = Result<Response, Problem>;
/// What a form asks for, or what is wrong with it.
type Wished = Result<Wish, Problem>;

/// Shows the page at the path of a visit.
pub(crate) async fn show(visit: Visit) -> Response {
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
        ["domains", name, "smime"] => smime::page(&visit, name).await,
        ["domains", name, "smime", "crl"] => smime::crl(&visit, name).await,
        ["domains", name, "accounts"] => account::list(&visit, name, &query).await,
        ["domains", _, "accounts", address] => account::one(&visit, address).await,
        ["domains", name, "trusted"] => trust::of_domain(&visit, name, &query).await,
        ["domains", name, "history"] => domain::history(&visit, name).await,
        ["trusted"] => trust::page(&visit, "cluster", &query).await,
        ["trusted", set @ ("builtin" | "server" | "cluster")] => {
            trust::page(&visit, set, &query).await
        }
        ["tls"] => tls::page(&visit).await,
        ["listeners"] => listener::page(&visit).await,
        ["listeners", name] => listener::one(&visit, name).await,
        ["cluster"] => cluster::page(&visit).await,
        ["cluster", "keyring"] => keyring::page(&visit).await,
        ["audit"] => audit::page(&visit, &query).await,
        ["administrators"] => user::page(&visit).await,
        ["administrators", name] => user::one(&visit, name).await,
        _ => Err(Problem::new(Code::NotFound, "there is no such page")),
    };
    match shown {
        Ok(answer) => answer,
        Err(problem) => visit.not_possible(problem),
    }
}

/// Shows the page of a form again, with what is wrong with it and what it had.
pub(crate) async fn refused(
    mut visit: Visit,
    filled: Vec<(String, String)>,
    problem: Problem,
) -> Response {
    let status = status_of(&problem);
    visit.problem = Some(problem);
    visit.old = filled;
    let mut answer = show(visit).await;
    if answer.status().is_success() {
        *answer.status_mut() = status;
    }
    answer
}

/// Returns the change that a form asks for.
pub(crate) fn wish(form: &str, fields: &Fields) -> Wished {
    let (noun, what) = form.split_once('.').unwrap_or((form, ""));
    let wished = match noun {
        "account" => account::wish(what, fields),
        "canary" => canary::wish(what, fields),
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
        "smime" => smime::wish(what, fields),
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

/// Makes a wish about a domain.
fn of_domain(title: &str, method: Method, path: &str, fields: &Fields) -> Wish {
    let name = fields.get("name");
    let path = conclave_api::path::with_name(path, name);
    Wish::new(format!("{title} {name}"), method, path).of_domain(fields)
}

/// Returns the options of a command that have a value.
fn options(texts: &[(&str, &Option<String>)]) -> Vec<String> {
    let words = texts.iter().flat_map(|(option, text)| {
        text.iter().flat_map(|text| [(*option).to_owned(), text.clone()])
    });
    words.collect()
}

/// Returns the options of a command for a key of one family.
fn family(fields: &Fields) -> Vec<&str> {
    match fields.get("family") {
        "" => Vec::new(),
        family => vec!["--family", family],
    }
}
