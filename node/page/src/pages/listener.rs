//! Listeners.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    listener::{Add, Listener},
    path,
};

use super::{Shown, Wished};
use crate::{form::Fields, visit::Visit, wish::Wish};

/// What listeners speak before or instead of plain TLS.
const PROTOCOLS: [&str; 12] = [
    "tls",
    "smtp",
    "imap",
    "pop3",
    "xmpp",
    "xmpp-server",
    "ldap",
    "postgres",
    "sieve",
    "ftp",
    "dtls",
    "outgoing-tls",
];

#[derive(Template)]
#[template(path = "listeners.html")]
struct ListenersPage<'a> {
    v: &'a Visit,
    listeners: Vec<Listener>,
    protocols: [&'static str; 12],
}

pub(super) async fn page(visit: &Visit) -> Shown {
    let list: List<Listener> = visit.api.read(path::LISTENERS).await?;
    let page = ListenersPage { v: visit, listeners: list.items, protocols: PROTOCOLS };
    Ok(visit.page(StatusCode::OK, &page))
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name").trim();
    Some(Ok(match what {
        "add" => add(name, fields),
        "remove" => {
            let path = path::with_name(path::LISTENER, name);
            Wish::new(format!("Remove the listener {name}"), Method::DELETE, path)
                .command(&["listener", "remove", name, "--yes"])
                .typed(name)
        }
        _ => return None,
    }))
}

fn add(name: &str, fields: &Fields) -> Wish {
    let add = Add {
        name: name.to_owned(),
        protocol: fields.some("protocol"),
        bind: fields.get("bind").trim().to_owned(),
        upstreams: fields.words("upstreams"),
        requires_tls: fields.is_on("requires_tls"),
        proxy_to: fields.some("proxy_to"),
        proxy_from: fields.words("proxy_from"),
        requires_client_certificate: fields.is_on("requires_client_certificate"),
        server_name: fields.some("server_name"),
        ..Add::default()
    };
    let mut words = vec!["listener", "add", name, "--bind", &add.bind];
    words.extend(add.upstreams.iter().flat_map(|one| ["--upstream", one]));
    words.extend(add.protocol.iter().flat_map(|one| ["--protocol", one]));
    words.extend(add.requires_tls.then_some("--require-tls"));
    words.extend(add.proxy_to.iter().flat_map(|one| ["--proxy-to", one]));
    words.extend(add.proxy_from.iter().flat_map(|one| ["--proxy-from", one]));
    words.extend(add.requires_client_certificate.then_some("--require-client-certificate"));
    words.extend(add.server_name.iter().flat_map(|one| ["--server-name", one]));
    let title = format!("Add the listener {name}");
    Wish::new(title, Method::POST, path::LISTENERS.to_owned()).command(&words).json(&add)
}
