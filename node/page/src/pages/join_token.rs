//! Join tokens.

use axum::http::Method;
use conclave_api::{join_token::Create, path};

use super::Wished;
use crate::{form::Fields, wish::Wish};

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    Some(Ok(match what {
        "create" => Wish::new("Join token", Method::POST, path::JOIN_TOKENS.to_owned())
            .json(&Create { expires_in: None })
            .untried("A new node can join with it, once, within an hour.")
            .command(&["join-token", "create"]),
        "revoke" => {
            let id = fields.get("id");
            let path = path::with_name(path::JOIN_TOKEN, id);
            Wish::new(format!("Revoke the join token {id}"), Method::DELETE, path).command(&[
                "join-token",
                "revoke",
                id,
                "--yes",
            ])
        }
        _ => return None,
    }))
}
