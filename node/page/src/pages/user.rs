//! Administrators: users, their sessions, and access tokens.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    grant::{Grant, Right, Role, RoleRights},
    path,
    problem::{Code, Problem},
    token::Token,
    user::{Create, Set, User},
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

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage<'a> {
    v: &'a Visit,
    user: User,
    roles: Vec<RoleRights>,
}

/// Shows one user.
pub(super) async fn one(visit: &Visit, name: &str) -> Shown {
    let user: User = visit.api.read(&path::with_name(path::USER, name)).await?;
    let roles: List<RoleRights> = visit.api.read(path::ROLES).await?;
    Ok(visit.page(StatusCode::OK, &UserPage { v: visit, user, roles: roles.items }))
}

/// Says what is granted.
pub(super) fn with_grant(wish: Wish, grant: &Grant) -> Wish {
    let roles: Vec<&str> = grant.roles.iter().map(|role| role.as_str()).collect();
    let only: Vec<&str> = grant.only.iter().map(|right| right.as_str()).collect();
    wish.fact("Roles", roles.join(", "))
        .fact("Rights of these", only.join(", "))
        .fact("Domains", grant.domains.join(", "))
        .fact("Networks", grant.networks.join(", "))
}

/// Reads what a form grants.
pub(super) fn grant(fields: &Fields) -> Result<Grant, Problem> {
    let unknown = |text: String| Problem::new(Code::Malformed, text);
    let only = fields.words("only");
    let only = only.iter().map(|right| right.parse::<Right>().map_err(unknown));
    Ok(Grant {
        roles: fields.all("role").filter_map(|role| role.parse::<Role>().ok()).collect(),
        only: only.collect::<Result<_, _>>()?,
        domains: fields.words("domains"),
        networks: fields.words("networks"),
        uses: fields.number("uses")?,
    })
}

/// Returns it as options of a command.
pub(super) fn grant_options(grant: &Grant) -> Vec<String> {
    let roles: Vec<&str> = grant.roles.iter().map(|role| role.as_str()).collect();
    let only: Vec<&str> = grant.only.iter().map(|right| right.as_str()).collect();
    let mut words = vec!["--role".to_owned(), roles.join(",")];
    if !only.is_empty() {
        words.extend(["--only".to_owned(), only.join(",")]);
    }
    for (option, all) in [("--domain", &grant.domains), ("--from", &grant.networks)] {
        words.extend(all.iter().flat_map(|one| [option.to_owned(), one.clone()]));
    }
    words.extend(grant.uses.iter().flat_map(|uses| ["--uses".to_owned(), uses.to_string()]));
    words
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name").trim();
    let at = |template: &str| path::with_name(template, name);
    Some(Ok(match what {
        "create" => return Some(grant(fields).map(|grant| create(name, fields, grant))),
        "set" => return Some(grant(fields).map(|grant| set(name, grant))),
        "password" => {
            let password = password(fields);
            let body = Set { password, ..Set::default() };
            let wish =
                Wish::new(format!("A new password for {name}"), Method::PATCH, at(path::USER));
            let wish = wish.command(&["user", "password", name]).json(&body);
            drop(Zeroizing::new(body.password));
            wish.noted("All sessions of the user end.")
        }
        "code" => {
            let title = format!("A new secret for the one-time codes of {name}");
            Wish::new(title, Method::POST, at(path::USER_CODE))
                .untried("The secret is shown once. Codes of an earlier one no longer count.")
                .command(&["user", "code", name])
        }
        "no-code" => {
            let title = format!("Ask {name} for no code any longer");
            Wish::new(title, Method::DELETE, at(path::USER_CODE))
                .noted("The password alone is enough then. All sessions of the user end.")
                .command(&["user", "code", name, "--remove"])
        }
        "delete" => Wish::new(format!("Delete the user {name}"), Method::DELETE, at(path::USER))
            .command(&["user", "delete", name, "--yes"])
            .typed(name)
            .then("/ui/administrators".to_owned()),
        _ => return None,
    }))
}

/// Returns a password as it was typed: white space is part of it.
fn password(fields: &Fields) -> Option<String> {
    let text = fields.get("password");
    (!text.is_empty()).then(|| text.to_owned())
}

fn create(name: &str, fields: &Fields, grant: Grant) -> Wish {
    let options = grant_options(&grant);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let words = [&["user", "create", name][..], &options].concat();
    let password = password(fields);
    let title = format!("Make the user {name}");
    let body = Create { name: name.to_owned(), password, certificates: Vec::new(), grant };
    let wish = Wish::new(title, Method::POST, path::USERS.to_owned());
    let wish = with_grant(wish.command(&words).json(&body), &body.grant);
    drop(Zeroizing::new(body.password));
    wish
}

fn set(name: &str, grant: Grant) -> Wish {
    let options = grant_options(&grant);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let words = [&["user", "set", name][..], &options].concat();
    let path = path::with_name(path::USER, name);
    let wish = Wish::new(format!("Change what {name} may do"), Method::PATCH, path);
    let wish = with_grant(wish.command(&words), &grant);
    wish.json(&Set { grant: Some(grant), ..Set::default() })
}
