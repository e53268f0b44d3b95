//! Domains: the list, a new one, the page of one with its keys and certificates, its history.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    csr::Choices,
    domain::{Create, Domain, DomainVersion, Pki, Rename, Rollback, Scope, Set},
    key::Test,
    path,
};

use super::{Shown, Wished, of_domain};
use crate::{form::Fields, show, visit::Visit, wish::Wish};

/// Domains of one page of the list.
const PAGE: usize = 50;

/// The states that the list can be filtered by, as the API names them, and what people call them.
const STATES: [(&str, &str); 6] = [
    ("", "All"),
    ("valid", "Valid"),
    ("expiring", "Expire soon"),
    ("problem", "With a problem"),
    ("test", "In test mode"),
    ("disabled", "Disabled"),
];

#[derive(Template)]
#[template(path = "domains.html")]
struct ListPage<'a> {
    v: &'a Visit,
    domains: Vec<Row>,
    next: Option<String>,
    search: &'a str,
    state: &'a str,
    sort: &'a str,
    states: Vec<(&'static str, &'static str, Option<u64>)>,
    is_first: bool,
}

/// A domain in the list.
struct Row {
    domain: Domain,
    /// A class for its colour, a sign, and its state in words.
    state: (&'static str, &'static str, &'static str),
    /// When its first certificate ends.
    until: Option<String>,
}

#[derive(Template)]
#[template(path = "domain_new.html")]
struct NewPage<'a> {
    v: &'a Visit,
}

#[derive(Template)]
#[template(path = "domain.html")]
struct DomainPage<'a> {
    v: &'a Visit,
    domain: Domain,
    names: Vec<String>,
    nodes: Vec<String>,
    test: Vec<Test>,
    is_test_asked: bool,
}

#[derive(Template)]
#[template(path = "domain_history.html")]
struct HistoryPage<'a> {
    v: &'a Visit,
    domain: Domain,
    versions: Vec<DomainVersion>,
}

pub(super) async fn list(visit: &Visit, query: &Fields) -> Shown {
    let (search, state, sort) = (query.get("search").trim(), query.get("state"), query.get("sort"));
    let mut wanted = vec![("limit", PAGE.to_string()), ("consistency", "local".to_owned())];
    for (name, value) in [("search", search), ("state", state), ("sort", sort)] {
        wanted.extend((!value.is_empty()).then(|| (name, value.to_owned())));
    }
    let after = query.some("after");
    let is_first = after.is_none();
    wanted.extend(after.map(|after| ("after", after)));
    let list: List<Domain> = visit.api.read(&show::with_query(path::DOMAINS, &wanted)).await?;
    let counts = visit.status.as_ref().map(|status| &status.domains);
    let count = |state: &str| {
        let counts = counts.filter(|_| !visit.is_limited())?;
        Some(match state {
            "valid" => counts.valid,
            "expiring" => counts.expiring,
            "problem" => counts.problem,
            "test" => counts.test,
            "disabled" => counts.disabled,
            _ => counts.total,
        })
    };
    let page = ListPage {
        v: visit,
        domains: list.items.into_iter().map(|domain| row(domain, state)).collect(),
        next: list.next,
        search,
        state,
        sort,
        states: STATES.map(|(state, name)| (state, name, count(state))).to_vec(),
        is_first,
    };
    Ok(visit.page(StatusCode::OK, &page))
}

/// A filter knows more than a list: what needs path validation.
fn row(domain: Domain, filter: &str) -> Row {
    let certificates = domain.credentials.iter().filter_map(|one| one.certificate.as_ref());
    let until = certificates.map(|one| one.not_after.clone()).min();
    let state = match domain.pki {
        Pki::Enabled if filter == "valid" => ("good", "✓", "valid"),
        Pki::Enabled if filter == "expiring" => ("warn", "!", "expires soon"),
        Pki::Enabled if filter == "problem" => ("bad", "✗", "problem"),
        Pki::Disabled => ("off", "–", "disabled"),
        Pki::Test => ("warn", "!", "test mode"),
        Pki::Enabled if !domain.problems.is_empty() => ("bad", "✗", "problem"),
        Pki::Enabled => ("good", "✓", "valid"),
    };
    Row { domain, state, until }
}

pub(super) fn new(visit: &Visit) -> Shown {
    Ok(visit.page(StatusCode::OK, &NewPage { v: visit }))
}

pub(super) async fn page(visit: &Visit, name: &str, query: &Fields) -> Shown {
    let domain: Domain = visit.api.read(&path::with_name(path::DOMAIN, name)).await?;
    let choices: Result<Choices, _> = visit.api.read(&path::with_name(path::CSR, name)).await;
    let names = choices.map(|choices| choices.common_names).unwrap_or_default();
    let is_test_asked = query.is_on("test");
    let test = match is_test_asked {
        true => {
            let path = path::with_name(path::KEY_TEST, name);
            visit.api.read::<List<Test>>(&path).await?.items
        }
        false => Vec::new(),
    };
    let nodes = visit.status.iter().flat_map(|status| &status.nodes);
    let nodes = nodes.map(|node| node.name.clone()).collect();
    let page = DomainPage { v: visit, domain, names, nodes, test, is_test_asked };
    Ok(visit.page(StatusCode::OK, &page))
}

pub(super) async fn history(visit: &Visit, name: &str) -> Shown {
    let domain: Domain = visit.api.read(&path::with_name(path::DOMAIN, name)).await?;
    let path = path::with_name(path::DOMAIN_HISTORY, name);
    let versions: List<DomainVersion> = visit.api.read(&path).await?;
    let page = HistoryPage { v: visit, domain, versions: versions.items };
    Ok(visit.page(StatusCode::OK, &page))
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name").trim();
    Some(Ok(match what {
        "create" => create(name, fields),
        "set" | "names" => set(name, fields, what == "names"),
        "rename" => {
            let new = fields.get("new_name").trim();
            let wish = of_domain("Rename", Method::POST, path::DOMAIN_RENAME, fields);
            let wish = wish.command(&["domain", "rename", name, new]);
            let wish = wish.json(&Rename { name: new.to_owned() });
            wish.then(format!("/ui/domains/{}", show::escaped(new)))
        }
        "rollback" => {
            let text = fields.get("to").trim();
            let version = text.parse().unwrap_or_default();
            let title = format!("Go back to version {text} of");
            let wish = of_domain(&title, Method::POST, path::DOMAIN_HISTORY, fields);
            wish.command(&["domain", "rollback", name, text]).json(&Rollback { version })
        }
        "delete" => {
            let wish = of_domain("Delete", Method::DELETE, path::DOMAIN, fields);
            let wish = wish.typed(name).command(&["domain", "delete", name, "--yes"]);
            wish.then("/ui/domains".to_owned())
        }
        _ => return None,
    }))
}

fn create(name: &str, fields: &Fields) -> Wish {
    let body = Create {
        name: name.to_owned(),
        aliases: fields.words("aliases"),
        addresses: fields.words("addresses"),
        scope: fields.is_on("local").then_some(Scope::Local),
        pki: pki(fields),
    };
    let mut words = vec!["domain", "create", name];
    words.extend(body.aliases.iter().flat_map(|alias| ["--alias", alias]));
    words.extend(body.addresses.iter().flat_map(|address| ["--ip", address]));
    words.extend(body.pki.iter().flat_map(|pki| ["--pki", pki_word(*pki)]));
    words.extend(body.scope.iter().flat_map(|_| ["--scope", "local"]));
    let title = format!("Create the domain {name}");
    let wish = Wish::new(title, Method::POST, path::DOMAINS.to_owned()).command(&words);
    wish.json(&body).then(format!("/ui/domains/{}", show::escaped(name)))
}

/// One form sets the mode, another one the names.
fn set(name: &str, fields: &Fields, has_names: bool) -> Wish {
    let body = Set {
        pki: pki(fields),
        aliases: has_names.then(|| fields.words("aliases")),
        addresses: has_names.then(|| fields.words("addresses")),
        ..Set::default()
    };
    let mut words = vec!["domain", "set", name];
    words.extend(body.pki.iter().flat_map(|pki| ["--pki", pki_word(*pki)]));
    words.extend(body.aliases.iter().flatten().flat_map(|alias| ["--alias", alias]));
    words.extend(body.addresses.iter().flatten().flat_map(|address| ["--ip", address]));
    let wish = of_domain("Change", Method::PATCH, path::DOMAIN, fields).json(&body);
    // No command empties a list.
    let is_emptied = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
    match is_emptied(&body.aliases) || is_emptied(&body.addresses) {
        true => wish,
        false => wish.command(&words),
    }
}

fn pki(fields: &Fields) -> Option<Pki> {
    let known = [Pki::Disabled, Pki::Test, Pki::Enabled];
    known.into_iter().find(|pki| pki_word(*pki) == fields.get("pki"))
}

fn pki_word(pki: Pki) -> &'static str {
    match pki {
        Pki::Disabled => "disabled",
        Pki::Test => "test",
        Pki::Enabled => "enabled",
    }
}
