//! Access tokens and sessions.

use axum::http::Method;
use conclave_api::{path, token::Create};

use super::{Wished, user};
use crate::{form::Fields, wish::Wish};

const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let asked = user::grant(fields).and_then(|grant| Ok((grant, fields.number("days")?)));
    let (grant, days) = match asked {
        Ok(asked) => asked,
        Err(problem) => return Some(Err(problem)),
    };
    Some(Ok(match what {
        "create" => {
            let name = fields.get("name").trim();
            let mut options = user::grant_options(&grant);
            options.extend(
                days.iter().flat_map(|days| ["--expires-in".to_owned(), format!("{days}d")]),
            );
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let words = [&["token", "create", name][..], &options].concat();
            let body = Create {
                name: name.to_owned(),
                expires_in: days.map(|days| u64::from(days).saturating_mul(DAY_S)),
                never_expires: false,
                grant: Some(grant.clone()),
            };
            let title = format!("Make the token {name}");
            let wish = Wish::new(title, Method::POST, path::TOKENS.to_owned());
            let uses = grant.uses.map(|uses| uses.to_string()).unwrap_or_default();
            user::with_grant(wish, &grant)
                .fact("Days", days.map_or_else(|| "90".to_owned(), |days| days.to_string()))
                .fact("Most changes", uses)
                .json(&body)
                .untried("The token is shown once, on the next page.")
                .command(&words)
        }
        "revoke" => {
            let id = fields.get("id");
            let title = match fields.is_on("session") {
                true => "End the session",
                false => "Revoke the token",
            };
            let path = path::with_name(path::TOKEN, id);
            Wish::new(format!("{title} {id}"), Method::DELETE, path)
                .noted("It ends at once, on every node, and with it what was made by it.")
                .command(&["token", "revoke", id, "--yes"])
        }
        _ => return None,
    }))
}
