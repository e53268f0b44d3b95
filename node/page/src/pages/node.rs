//! Nodes: drained, put out.

use axum::http::Method;
use conclave_api::{node::Drain, path};

use super::Wished;
use crate::{form::Fields, wish::Wish};

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name");
    let at = |template: &str| path::with_name(template, name);
    Some(Ok(match what {
        "drain" => Wish::new(format!("Drain {name}"), Method::POST, at(path::NODE_DRAIN))
            .json(&Drain::default())
            .untried(
                "The node takes no new connections. Those that are open may go on for ten \
                 minutes; then they are closed. Its part in the cluster stays as it is.",
            )
            .command(&["node", "drain", name]),
        "resume" => {
            Wish::new(format!("Let {name} serve again"), Method::DELETE, at(path::NODE_DRAIN))
                .untried("The node takes new connections again.")
                .command(&["node", "resume", name])
        }
        "remove" => Wish::new(format!("Remove {name}"), Method::DELETE, at(path::NODE))
            .command(&["node", "remove", name, "--yes"])
            .typed(name),
        _ => return None,
    }))
}
