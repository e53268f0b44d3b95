//! Access tokens and sessions.

use axum::http::Method;
use conclave_api::{path, token::Create};

use super::{Wished, user};
use crate::{form::Fields, wish::Wish};

const DAY_S: u64 = 24 * 60 * 60;

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    Some(Ok(match what {
        "create" => {
            let name = fields.get("name").trim();
            let days: Option<u64> = fields.get("days").trim().parse().ok();
            let grant = user::grant(fields);
            let mut options = user::grant_options(&grant);
            options.extend(days.iter().flat_map(|days| ["--expires-in".to_owned(), format!("{days}d")]));
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let words = [&["token", "create", name][..], &options].concat();
            let body = Create {
                name: name.to_owned(),
                expires_in: days.map(|days| days.saturating_mul(DAY_S)),
                never_expires: false,
                grant: Some(grant),
            };
            Wish::new(format!("Make the token {name}"), Method::POST, path::TOKENS.to_owned())
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
                .untried("It ends at once, on every node, and with it what was made by it.")
                .command(&["token", "revoke", id, "--yes"])
        }
        _ => return None,
    }))
}
