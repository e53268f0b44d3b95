//! Trusted certificates and revocation lists.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    domain::Domain,
    path,
    problem::{Code, Problem},
    trust::{Add, Remove, Trusted},
};

use super::{Shown, Wished};
use crate::{form::Fields, show, visit::Visit, wish::Wish};

/// Entries of one page of a set.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "trust.html")]
struct TrustPage<'a> {
    v: &'a Visit,
    /// Name of the set, as the API has it.
    set: &'a str,
    /// The domain whose set it is.
    domain: Option<Domain>,
    own: Vec<Trusted>,
    inherited: Vec<Trusted>,
    /// Path of the next page of the list.
    next: Option<String>,
    /// Whether the list begins on this page.
    is_first: bool,
}

/// Shows one of the sets that belong to no domain.
pub(super) async fn page(visit: &Visit, set: &str, query: &Fields) -> Shown {
    shown(visit, set, None, query).await
}

/// Shows the set of a domain.
pub(super) async fn of_domain(visit: &Visit, name: &str, query: &Fields) -> Shown {
    let domain: Domain = visit.api.read(&path::with_name(path::DOMAIN, name)).await?;
    shown(visit, &format!("domain:{name}"), Some(domain), query).await
}

async fn shown(visit: &Visit, set: &str, domain: Option<Domain>, query: &Fields) -> Shown {
    let after = query.some("after");
    let is_first = after.is_none();
    let mut wanted = vec![("limit", PAGE.to_string())];
    wanted.extend(after.map(|after| ("after", after)));
    let path = show::with_query(&path::with_name(path::TRUST, set), &wanted);
    let list: List<Trusted> = visit.api.read(&path).await?;
    let next = list.next.map(|after| show::with_query(visit.path_alone(), &[("after", after)]));
    let (own, inherited) = list.items.into_iter().partition(|one| one.own || set == "builtin");
    let page = TrustPage { v: visit, set, domain, own, inherited, next, is_first };
    Ok(visit.page(StatusCode::OK, &page))
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let set = fields.get("name");
    let option = vec!["--scope", set];
    Some(Ok(match what {
        "add" => {
            let certificates = fields.get("certificates").to_owned();
            let words = [vec!["trust", "add", "ca.pem"], option].concat();
            let path = path::with_name(path::TRUST, set);
            Wish::new(format!("Trust at {}", place(set)), Method::POST, path)
                .command(&words)
                .json(&Add { certificates })
        }
        "remove" => {
            let fingerprints: Vec<String> = fields.all("marked").map(str::to_owned).collect();
            if fingerprints.is_empty() {
                return Some(Err(Problem::new(Code::Malformed, "nothing is marked")));
            }
            let short: Vec<String> = fingerprints.iter().map(|one| show::short(one)).collect();
            let mut words = vec!["trust", "remove"];
            words.extend(short.iter().map(String::as_str));
            let words = [words, option, vec!["--yes"]].concat();
            let path = path::with_name(path::TRUST_REMOVE, set);
            Wish::new(format!("Stop trusting at {}", place(set)), Method::POST, path)
                .command(&words)
                .json(&Remove { fingerprints })
        }
        _ => return None,
    }))
}

/// Returns where a set counts, in words.
fn place(set: &str) -> &str {
    match set {
        "cluster" => "every node",
        "server" => "this node",
        domain => domain.trim_start_matches("domain:"),
    }
}
