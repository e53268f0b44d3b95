//! Private keys of a domain.

use axum::http::Method;
use conclave_api::{
    key::{Generate, Import},
    path,
};

use zeroize::Zeroizing;

use super::{Wished, family, of_domain};
use crate::form::Fields;

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name");
    let algorithm = fields.some("algorithm");
    let words = |begin: &[&str], rest: &[&str]| -> Vec<String> {
        [begin, &[name], rest, &family(fields)].concat().into_iter().map(str::to_owned).collect()
    };
    let (wish, words) = match what {
        "generate" => {
            let chosen = algorithm.as_deref().unwrap_or("p256");
            let body = Generate { algorithm: algorithm.clone() };
            let words = words(&["key", "generate"], &["--type", chosen]);
            let title = "Generate a key for";
            (of_domain(title, Method::POST, path::KEY_GENERATE, fields).json(&body), words)
        }
        "pending" => {
            let chosen = algorithm.as_deref().unwrap_or("p256");
            let body = Generate { algorithm: algorithm.clone() };
            let words = words(&["csr", "create"], &["--new-key", chosen]);
            let title = "Generate the next key for";
            (
                of_domain(title, Method::POST, path::KEY_PENDING, fields).json(&body).for_ever(),
                words,
            )
        }
        "import" => {
            let (key, passphrase) = (fields.get("key").to_owned(), fields.some("passphrase"));
            let has_passphrase = passphrase.is_some();
            let import = Import { key, passphrase };
            let option: &[&str] = match has_passphrase {
                true => &["--passphrase-file", "FILE"],
                false => &[],
            };
            let words = words(&["key", "import"], &[&["key.pem"], option].concat());
            let wish = of_domain("Import a key for", Method::PUT, path::KEY, fields).json(&import);
            // What was copied for the request goes the way of the form.
            drop((Zeroizing::new(import.key), Zeroizing::new(import.passphrase)));
            (wish, words)
        }
        "remove" => {
            let words = words(&["key", "remove"], &["--yes"]);
            let wish = of_domain("Remove the key of", Method::DELETE, path::KEY, fields);
            (wish.typed(name), words)
        }
        "remove-pending" => {
            let words = words(&["key", "remove"], &["--pending", "--yes"]);
            let title = "Remove the waiting key of";
            (of_domain(title, Method::DELETE, path::KEY_PENDING, fields).for_ever(), words)
        }
        _ => return None,
    };
    Some(Ok(wish.command(&words.iter().map(String::as_str).collect::<Vec<_>>())))
}
