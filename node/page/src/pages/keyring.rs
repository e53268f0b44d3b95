//! The keyring.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{keyring::Keyring, path};

use super::{Shown, Wished};
use crate::{form::Fields, visit::Visit, wish::Wish};

#[derive(Template)]
#[template(path = "keyring.html")]
struct KeyringPage<'a> {
    v: &'a Visit,
    keyring: Keyring,
}

pub(super) async fn page(visit: &Visit) -> Shown {
    let keyring = visit.api.read(path::KEYRING).await?;
    Ok(visit.page(StatusCode::OK, &KeyringPage { v: visit, keyring }))
}

pub(super) fn wish(what: &str, _fields: &Fields) -> Option<Wished> {
    Some(Ok(match what {
        "rotate" => {
            let path = path::KEYRING_ROTATE.to_owned();
            Wish::new("Start a new generation of the keyring", Method::POST, path)
                .command(&["keyring", "rotate"])
        }
        _ => return None,
    }))
}
