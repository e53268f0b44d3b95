//! Canaries: new certificates that one node serves before all others do.

use axum::http::Method;
use conclave_api::{canary::End, path};

use super::{Wished, of_domain};
use crate::form::Fields;

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let (title, option, promote) = match what {
        "promote" => ("Serve the new certificate everywhere:", "--promote", true),
        "stop" => ("Give up the new certificate of", "--stop", false),
        _ => return None,
    };
    let note = match promote {
        true => "Every node serves it from then on.",
        false => "No node serves it from then on; all have the one before.",
    };
    let wish = of_domain(title, Method::POST, path::CANARY, fields).json(&End { promote });
    let wish = wish.noted(note).command(&["cert", "canary", fields.get("name"), option]);
    Some(Ok(if promote { wish } else { wish.for_ever() }))
}
