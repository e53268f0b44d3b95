//! Administrators: users, their sessions, and access tokens.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    grant::{Grant, Role, RoleRights},
    path,
    problem::Problem,
    token::Token,
    user::{Create, User},
};
use zeroize::Zeroizing;

use super::{Shown, Wished};
use crate::{form::Fields, visit::Visit, wish::Wish};

#[derive(Template)]
#[template(path = "administrators.html")]
struct AdministratorsPage<'a> {
    v: &'a Visit,
    users: Vec<User>,
    /// Logins that have not ended.
    sessions: Vec<Token>,
    tokens: Vec<Token>,
    roles: Vec<RoleRights>,
}

pub(super) async fn page(visit: &Visit) -> Shown {
    let users: List<User> = visit.api.read(path::USERS).await?;
    let tokens: List<Token> = visit.api.read(path::TOKENS).await?;
    let roles: List<RoleRights> = visit.api.read(path::ROLES).await?;
    let (sessions, tokens) = tokens.items.into_iter().partition(|one| one.user.is_some());
    let (users, roles) = (users.items, roles.items);
    let page = AdministratorsPage { v: visit, users, sessions, tokens, roles };
    Ok(visit.page(StatusCode::OK, &page))
}

/// Says what is granted.
pub(super) fn with_grant(wish: Wish, grant: &Grant) -> Wish {
    let roles: Vec<&str> = grant.roles.iter().map(|role| role.as_str()).collect();
    wish.fact("Roles", roles.join(", "))
        .fact("Domains", grant.domains.join(", "))
        .fact("Networks", grant.networks.join(", "))
}

/// Reads what a form grants.
pub(super) fn grant(fields: &Fields) -> Result<Grant, Problem> {
    Ok(Grant {
        roles: fields.all("role").filter_map(|role| role.parse::<Role>().ok()).collect(),
        domains: fields.words("domains"),
        networks: fields.words("networks"),
        uses: fields.number("uses")?,
        ..Grant::default()
    })
}

/// Returns it as options of a command.
pub(super) fn grant_options(grant: &Grant) -> Vec<String> {
    let roles: Vec<&str> = grant.roles.iter().map(|role| role.as_str()).collect();
    let mut words = vec!["--role".to_owned(), roles.join(",")];
    for (option, all) in [("--domain", &grant.domains), ("--from", &grant.networks)] {
        words.extend(all.iter().flat_map(|one| [option.to_owned(), one.clone()]));
    }
    words.extend(grant.uses.iter().flat_map(|uses| ["--uses".to_owned(), uses.to_string()]));
    words
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name").trim();
    let grant = match grant(fields) {
        Ok(grant) => grant,
        Err(problem) => return Some(Err(problem)),
    };
    let at = |template: &str| path::with_name(template, name);
    Some(Ok(match what {
        "create" => {
            let options = grant_options(&grant);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let words = [&["user", "create", name][..], &options].concat();
            let password = fields.some("password");
            let name = name.to_owned();
            let title = format!("Make the user {name}");
            let body = Create { name, password, certificates: Vec::new(), grant };
            let wish = Wish::new(title, Method::POST, path::USERS.to_owned());
            let wish = with_grant(wish.command(&words).json(&body), &body.grant);
            drop(Zeroizing::new(body.password));
            wish
        }
        "code" => {
            let title = format!("A new secret for the one-time codes of {name}");
            Wish::new(title, Method::POST, at(path::USER_CODE))
                .untried("The secret is shown once. Codes of an earlier one no longer count.")
                .command(&["user", "code", name])
        }
        "delete" => Wish::new(format!("Delete the user {name}"), Method::DELETE, at(path::USER))
            .command(&["user", "delete", name, "--yes"])
            .typed(name),
        _ => return None,
    }))
}
