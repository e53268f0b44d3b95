//! Listeners: the list with their state on each node, a new one, the page of one.

use std::collections::BTreeMap;

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    listener::{Add, Listener, Set},
    path,
    problem::{Code, Problem},
};

use super::{Shown, Wished};
use crate::{form::Fields, visit::Visit, wish::Wish};

/// Protocols in which a command starts TLS.
const STARTTLS: [&str; 9] =
    ["smtp", "imap", "pop3", "xmpp", "xmpp-server", "ldap", "postgres", "sieve", "ftp"];

#[derive(Template)]
#[template(path = "listeners.html")]
struct ListenersPage<'a> {
    v: &'a Visit,
    listeners: Vec<Listener>,
    form: Settings,
}

#[derive(Template)]
#[template(path = "listener.html")]
struct ListenerPage<'a> {
    v: &'a Visit,
    one: Listener,
    form: Settings,
}

/// The fields of a form with the settings of a listener.
struct Settings {
    /// What the form asks for.
    name: &'static str,
    present: Add,
    /// The same as JSON, for the form to send what the visitor saw.
    seen: String,
}

impl Settings {
    fn new(name: &'static str, present: Add) -> Settings {
        // Structs of texts and lists always serialize.
        let seen = serde_json::to_string(&present).unwrap_or_default();
        Settings { name, present, seen }
    }

    fn protocols(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once("tls").chain(STARTTLS).chain(["dtls", "outgoing-tls"])
    }

    fn starttls(&self) -> [&'static str; 9] {
        STARTTLS
    }

    /// Returns whether it has settings that most listeners do not have.
    fn has_more(&self) -> bool {
        let Add { domain_upstreams, alpn, proxy_from, starttls, server_name, .. } = &self.present;
        let has_lists = [domain_upstreams.is_empty(), alpn.is_empty(), proxy_from.is_empty()];
        has_lists.contains(&false)
            || starttls.is_some()
            || server_name.is_some()
            || self.present.takes_server_certificates
    }

    fn protocol(&self) -> &str {
        self.present.protocol.as_deref().unwrap_or("tls")
    }

    /// Returns the upstreams of individual domains as they are typed: `DOMAIN=UPSTREAM`.
    fn domain_upstreams(&self) -> String {
        assignments(&self.present.domain_upstreams).join("\n")
    }
}

fn assignments(all: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let pairs = all.iter().flat_map(|(domain, all)| all.iter().map(move |one| (domain, one)));
    pairs.map(|(domain, upstream)| format!("{domain}={upstream}")).collect()
}

pub(super) async fn page(visit: &Visit) -> Shown {
    let list: List<Listener> = visit.api.read(path::LISTENERS).await?;
    let form = Settings::new("listener.add", Add::default());
    let page = ListenersPage { v: visit, listeners: list.items, form };
    Ok(visit.page(StatusCode::OK, &page))
}

/// Shows one listener.
pub(super) async fn one(visit: &Visit, name: &str) -> Shown {
    let one: Listener = visit.api.read(&path::with_name(path::LISTENER, name)).await?;
    let present = Add {
        name: one.name.clone(),
        protocol: Some(one.protocol.clone()),
        bind: one.bind.clone(),
        upstreams: one.upstreams.clone(),
        domain_upstreams: one.domain_upstreams.clone(),
        requires_tls: one.requires_tls,
        alpn: one.alpn.clone(),
        proxy_from: one.proxy_from.clone(),
        proxy_to: one.proxy_to.clone(),
        starttls: one.starttls.clone(),
        server_name: one.server_name.clone(),
        requires_client_certificate: one.requires_client_certificate,
        takes_server_certificates: one.takes_server_certificates,
    };
    let form = Settings::new("listener.set", present);
    Ok(visit.page(StatusCode::OK, &ListenerPage { v: visit, one, form }))
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let name = fields.get("name").trim();
    Some(match what {
        "add" => settings(fields).map(|add| wish_to_add(&add)),
        "set" => settings(fields).and_then(|wanted| wish_to_set(fields, wanted)),
        "remove" => {
            let path = path::with_name(path::LISTENER, name);
            Ok(Wish::new(format!("Remove the listener {name}"), Method::DELETE, path)
                .command(&["listener", "remove", name, "--yes"])
                .typed(name)
                .then("/ui/listeners".to_owned()))
        }
        _ => return None,
    })
}

/// Reads the settings of a form.
fn settings(fields: &Fields) -> Result<Add, Problem> {
    let mut domain_upstreams: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for word in fields.words("domain_upstreams") {
        let Some((domain, upstream)) = word.split_once('=') else {
            let title = format!("{word:?} is not DOMAIN=UPSTREAM");
            return Err(Problem::new(Code::Malformed, title));
        };
        domain_upstreams.entry(domain.to_owned()).or_default().push(upstream.to_owned());
    }
    Ok(Add {
        name: fields.get("name").trim().to_owned(),
        protocol: fields.some("protocol"),
        bind: fields.get("bind").trim().to_owned(),
        upstreams: fields.words("upstreams"),
        domain_upstreams,
        requires_tls: fields.is_on("requires_tls"),
        alpn: fields.words("alpn"),
        proxy_from: fields.words("proxy_from"),
        proxy_to: fields.some("proxy_to"),
        starttls: fields.some("starttls"),
        server_name: fields.some("server_name"),
        requires_client_certificate: fields.is_on("requires_client_certificate"),
        takes_server_certificates: fields.is_on("takes_server_certificates"),
    })
}

fn wish_to_add(add: &Add) -> Wish {
    let name = &add.name;
    let mut words = vec!["listener", "add", name, "--bind", &add.bind];
    let domains = assignments(&add.domain_upstreams);
    words.extend(add.upstreams.iter().flat_map(|one| ["--upstream", one]));
    words.extend(domains.iter().flat_map(|one| ["--domain-upstream", one]));
    words.extend(add.protocol.iter().flat_map(|one| ["--protocol", one]));
    words.extend(add.requires_tls.then_some("--require-tls"));
    let alpn = add.alpn.join(",");
    words.extend((!alpn.is_empty()).then_some(["--alpn", &alpn]).into_iter().flatten());
    words.extend(add.proxy_from.iter().flat_map(|one| ["--proxy-from", one]));
    words.extend(add.proxy_to.iter().flat_map(|one| ["--proxy-to", one]));
    words.extend(add.starttls.iter().flat_map(|one| ["--starttls", one]));
    words.extend(add.server_name.iter().flat_map(|one| ["--server-name", one]));
    words.extend(add.requires_client_certificate.then_some("--require-client-certificate"));
    words.extend(add.takes_server_certificates.then_some("--take-server-certificates"));
    let title = format!("Add the listener {name}");
    Wish::new(title, Method::POST, path::LISTENERS.to_owned()).command(&words).json(add)
}

/// Asks for what differs from what the visitor saw. A listener has no version: so what others have
/// changed meanwhile stays.
fn wish_to_set(fields: &Fields, wanted: Add) -> Wished {
    let seen: Add = serde_json::from_str(fields.get("seen")).map_err(|_| {
        Problem::new(Code::Malformed, "the form does not say what it showed").hint("load it again")
    })?;
    let set = Set {
        protocol: differing(seen.protocol, wanted.protocol).flatten(),
        bind: differing(seen.bind, wanted.bind),
        upstreams: differing(seen.upstreams, wanted.upstreams),
        domain_upstreams: differing(seen.domain_upstreams, wanted.domain_upstreams),
        requires_tls: differing(seen.requires_tls, wanted.requires_tls),
        alpn: differing(seen.alpn, wanted.alpn),
        proxy_from: differing(seen.proxy_from, wanted.proxy_from),
        // An empty text takes a setting away.
        proxy_to: differing(seen.proxy_to, wanted.proxy_to).map(Option::unwrap_or_default),
        starttls: differing(seen.starttls, wanted.starttls).map(Option::unwrap_or_default),
        server_name: differing(seen.server_name, wanted.server_name).map(Option::unwrap_or_default),
        requires_client_certificate: differing(
            seen.requires_client_certificate,
            wanted.requires_client_certificate,
        ),
        takes_server_certificates: differing(
            seen.takes_server_certificates,
            wanted.takes_server_certificates,
        ),
    };
    if set == Set::default() {
        return Err(Problem::new(Code::Malformed, "nothing in the form was changed"));
    }
    let name = &wanted.name;
    let options = options(&set);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let words = [&["listener", "set", name][..], &options].concat();
    let path = path::with_name(path::LISTENER, name);
    let wish = Wish::new(format!("Change the listener {name}"), Method::PATCH, path);
    Ok(wish.command(&words).json(&set))
}

fn differing<T: PartialEq>(seen: T, wanted: T) -> Option<T> {
    (seen != wanted).then_some(wanted)
}

/// Returns the settings to change as options of a command.
fn options(set: &Set) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    let texts = [
        ("--protocol", &set.protocol),
        ("--bind", &set.bind),
        ("--proxy-to", &set.proxy_to),
        ("--starttls", &set.starttls),
        ("--server-name", &set.server_name),
    ];
    for (name, text) in texts {
        text.iter().for_each(|text| option(name, text));
    }
    let domains = set.domain_upstreams.as_ref().map(assignments);
    let alpn = set.alpn.as_ref().map(|all| vec![all.join(",")]);
    let lists = [
        ("--upstream", &set.upstreams),
        ("--domain-upstream", &domains),
        ("--alpn", &alpn),
        ("--proxy-from", &set.proxy_from),
    ];
    for (name, list) in lists {
        let Some(list) = list else { continue };
        list.iter().for_each(|one| option(name, one));
        if list.is_empty() {
            option(name, "");
        }
    }
    let switches = [
        ("--require-tls", set.requires_tls),
        ("--require-client-certificate", set.requires_client_certificate),
        ("--take-server-certificates", set.takes_server_certificates),
    ];
    for (name, is_on) in switches {
        is_on.iter().for_each(|is_on| option(name, if *is_on { "on" } else { "off" }));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_what_was_seen_is_asked_for() {
        let seen = Add {
            name: "https".to_owned(),
            protocol: Some("tls".to_owned()),
            bind: ":443".to_owned(),
            upstreams: vec!["127.0.0.1:80".to_owned()],
            proxy_to: Some("v2".to_owned()),
            ..Add::default()
        };
        let text = |fields: &[(&str, &str)]| {
            let seen = serde_json::to_string(&seen).unwrap();
            let mut text = form_urlencoded::Serializer::new(String::new());
            text.append_pair("seen", &seen).append_pair("name", "https").extend_pairs(fields);
            Fields::parse(text.finish().as_bytes())
        };
        let same = [("protocol", "tls"), ("bind", ":443"), ("upstreams", "127.0.0.1:80")];
        let fields = text(&[&same[..], &[("proxy_to", "v2")]].concat());
        assert!(wish("set", &fields).unwrap().is_err(), "nothing was changed");
        let fields = text(&[&same[..], &[("requires_tls", "1")]].concat());
        let asked = wish("set", &fields).unwrap().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body, serde_json::json!({ "proxy_to": "", "requires_tls": true }));
        let command = "conclave listener set https --proxy-to '' --require-tls on";
        assert_eq!(asked.command, command);
    }
}
