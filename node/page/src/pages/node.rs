//! Nodes: drained, promoted, demoted, put out.

use axum::http::Method;
use conclave_api::{
    node::{Drain, Set},
    path,
};

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
        "promote" => role(format!("Make {name} a voter"), "voter", name)
            .noted("It votes as soon as it has everything.")
            .command(&["node", "promote", name]),
        "demote" => role(format!("Make {name} a learner"), "learner", name)
            .noted("It gets everything and does not vote. Fewer voters may fail then.")
            .command(&["node", "demote", name]),
        "remove" => Wish::new(format!("Remove {name}"), Method::DELETE, at(path::NODE))
            .command(&["node", "remove", name, "--yes"])
            .typed(name),
        _ => return None,
    }))
}

fn role(title: String, role: &'static str, name: &str) -> Wish {
    let set = Set { role: Some(role.to_owned()), zone: None };
    let wish = Wish::new(title, Method::PATCH, path::with_name(path::NODE, name));
    wish.json(&set).fact("Role", role)
}
