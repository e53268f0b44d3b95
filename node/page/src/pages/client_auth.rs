//! What a domain asks of its clients.

use std::collections::BTreeMap;

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    client_auth::{Set, Shown as Policy},
    domain::Domain,
    path,
    tls::Sessions,
    trust::{Trusted, Type},
};

use super::{Shown, Wished, of_domain};
use crate::{form::Fields, show, visit::Visit};

#[derive(Template)]
#[template(path = "client_auth.html")]
struct ClientAuthPage<'a> {
    v: &'a Visit,
    domain: Domain,
    policy: Policy,
    /// Certificates of authorities that the domain trusts, its own and the inherited ones that
    /// operators added.
    issuers: Vec<Trusted>,
    failed: BTreeMap<String, u64>,
}

pub(super) async fn page(visit: &Visit, name: &str) -> Shown {
    let read = |template: &str| path::with_name(template, name);
    let domain: Domain = visit.api.read(&read(path::DOMAIN)).await?;
    let policy: Policy = visit.api.read(&read(path::CLIENT_AUTH)).await?;
    let set = path::with_name(path::TRUST, &format!("domain:{name}"));
    let trusted: List<Trusted> = visit.api.read(&set).await?;
    // Nobody chooses one of a hundred public authorities to vouch for clients.
    let is_issuer = |one: &Trusted| one.of == Type::Certificate && one.set != "builtin";
    let issuers = trusted.items.into_iter().filter(is_issuer).collect();
    let sessions: Option<Sessions> = match visit.is_limited() {
        true => None,
        false => visit.api.read(path::TLS_SESSIONS).await.ok(),
    };
    let of_clients = |(reason, _): &(String, u64)| reason.contains("client");
    let failed = sessions.map(|sessions| sessions.node.failed).unwrap_or_default();
    let failed = failed.into_iter().filter(of_clients).collect();
    let page = ClientAuthPage { v: visit, domain, policy, issuers, failed };
    Ok(visit.page(StatusCode::OK, &page))
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name");
    // One form: "nobody" in the list of issuers ends the asking.
    let issuer = fields.some("issuer");
    Some(Ok(match (what, issuer) {
        ("set", Some(issuer)) => {
            let required = fields.is_on("required");
            let short = show::short(&issuer);
            let mut words = vec!["client-auth", "set", name, "--issuer", &short];
            words.extend(required.then_some("--required"));
            let title = "Ask for client certificates at";
            let wish = of_domain(title, Method::PUT, path::CLIENT_AUTH, fields);
            wish.command(&words).json(&Set { issuer, required })
        }
        ("set", None) => {
            let title = "Ask for no client certificates at";
            let wish = of_domain(title, Method::DELETE, path::CLIENT_AUTH, fields);
            wish.query(path::IF_EXISTS_PARAMETER, Some("true".to_owned())).command(&[
                "client-auth",
                "clear",
                name,
                "--if-exists",
            ])
        }
        _ => return None,
    }))
}
