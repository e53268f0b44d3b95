//! CA chains of a domain.

use axum::http::Method;
use conclave_api::{chain::Set, path};

use super::{Wished, family, of_domain};
use crate::form::Fields;

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name");
    let family = family(fields);
    Some(Ok(match what {
        "set" => {
            let set = Set {
                chain: fields.get("chain").to_owned(),
                allow_broken_chain: fields.is_on("allow_broken_chain"),
                sort: fields.is_on("sort"),
            };
            let mut words = vec!["chain", "set", name, "chain.pem"];
            words.extend(set.allow_broken_chain.then_some("--allow-broken-chain"));
            words.extend(set.sort.then_some("--sort"));
            let words = [words, family].concat();
            let wish = of_domain("Set the CA chain of", Method::PUT, path::CHAIN, fields);
            wish.json(&set).command(&words)
        }
        "remove" => {
            let words = [vec!["chain", "remove", name, "--yes"], family].concat();
            let wish = of_domain("Remove the CA chain of", Method::DELETE, path::CHAIN, fields);
            wish.typed(name).command(&words)
        }
        _ => return None,
    }))
}
