//! Commands for listeners.

use std::collections::BTreeMap;

use conclave_api::{
    listener::{Add, Listener as Shown, Set},
    problem::{Code, Problem},
};
use conclave_client::Failure;

use super::{Asking, Done, adding, change, confirm, removing};
use crate::{
    args::{Listener, ListenerAdd, ListenerSet, assignment},
    output::{self, Columns},
};

pub(super) async fn run(asking: &Asking, command: Listener) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Listener::Add(asked) => {
            let options = adding(&asked.changing, &asked.missing);
            let add = add(*asked);
            let done = client.add_listener(&add, &options).await?;
            let (name, bind, upstreams) = (&add.name, &add.bind, add.upstreams.join(" "));
            output::change(global, &format!("listener {name}: {bind} -> {upstreams}"), &done);
        }
        Listener::List => {
            let listeners = client.listeners().await?.items;
            let columns = Columns {
                kind: "Listener",
                head: &["NAME", "PROTOCOL", "BIND", "UPSTREAM", "OPTIONS", "OPEN HERE", "PROBLEMS"],
                wide: &["ALPN", "DOMAINS"],
                name: |one: &Shown| one.name.clone(),
            };
            output::list(global, &columns, &listeners, |one, _| {
                let problems =
                    if one.problems.is_empty() { "-".to_owned() } else { one.problems.join("; ") };
                vec![
                    one.name.clone(),
                    one.protocol.clone(),
                    one.bind.clone(),
                    one.upstreams.join(" "),
                    options(one),
                    one.open.join(" "),
                    problems,
                    match one.alpn.is_empty() {
                        true => "of the protocol".to_owned(),
                        false => one.alpn.join(" "),
                    },
                    one.domain_upstreams.len().to_string(),
                ]
            });
        }
        Listener::Show { name } => {
            let shown = client.listener(&name).await?;
            if !output::object_of(global, "Listener", &shown.name, &shown) {
                show(&shown);
            }
        }
        Listener::Set(asked) => {
            let (name, options) = (asked.name.clone(), change(&asked.changing));
            let done = client.set_listener(&name, &set(*asked)?, &options).await?;
            output::change(global, &format!("listener {name}: changed"), &done);
        }
        Listener::Remove { name, existing, changing } => {
            confirm(
                global,
                changing.is_sure(),
                &format!("the listener {name} from every node"),
                &name,
            )?;
            let done = client.remove_listener(&name, &removing(&changing, &existing)).await?;
            output::change(global, &format!("listener {name}: removed"), &done);
        }
    }
    Ok(0)
}

fn add(asked: ListenerAdd) -> Add {
    let mut domain_upstreams: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (domain, upstream) in asked.domain_upstream {
        domain_upstreams.entry(domain).or_default().push(upstream);
    }
    Add {
        name: asked.name,
        protocol: Some(asked.protocol),
        bind: asked.bind,
        upstreams: asked.upstream,
        domain_upstreams,
        requires_tls: asked.require_tls,
        alpn: asked.alpn,
        proxy_from: asked.proxy_from,
        proxy_to: asked.proxy_to,
        starttls: asked.starttls,
        server_name: asked.server_name,
        requires_client_certificate: asked.require_client_certificate,
        takes_server_certificates: asked.take_server_certificates,
    }
}

/// Converts the settings to change. An empty text takes a list away.
fn set(asked: ListenerSet) -> Result<Set, Failure> {
    let all = |given: Option<Vec<String>>| -> Option<Vec<String>> {
        given.map(|all| all.into_iter().filter(|one| !one.is_empty()).collect())
    };
    let mut domain_upstreams =
        all(asked.domain_upstream).map(|all| (all, BTreeMap::<String, Vec<String>>::new()));
    if let Some((given, upstreams)) = &mut domain_upstreams {
        for text in given {
            let (domain, upstream) =
                assignment(text).map_err(|error| Box::new(Problem::new(Code::Malformed, error)))?;
            upstreams.entry(domain).or_default().push(upstream);
        }
    }
    let alpn = asked.alpn.map(|text| text.split(',').map(|one| one.trim().to_owned()).collect());
    Ok(Set {
        protocol: asked.protocol,
        bind: asked.bind,
        upstreams: asked.upstream,
        domain_upstreams: domain_upstreams.map(|(_, upstreams)| upstreams),
        requires_tls: asked.require_tls.map(|text| text == "on"),
        alpn: all(alpn),
        proxy_from: all(asked.proxy_from),
        proxy_to: asked.proxy_to,
        starttls: asked.starttls,
        server_name: asked.server_name,
        requires_client_certificate: asked.require_client_certificate.map(|text| text == "on"),
        takes_server_certificates: asked.take_server_certificates.map(|text| text == "on"),
    })
}

fn show(one: &Shown) {
    let field = |name: &str, text: &str| output::line(&format!("{name:<15}{text}"));
    field("Listener", &one.name);
    field("Protocol", &one.protocol);
    field("Bind", &one.bind);
    field("Upstreams", &one.upstreams.join(" "));
    for (domain, all) in &one.domain_upstreams {
        field("", &format!("{domain} to {}", all.join(" ")));
    }
    field("Options", &options(one));
    let open = if one.open.is_empty() { "nothing".to_owned() } else { one.open.join(" ") };
    field("Open here", &open);
    one.problems.iter().for_each(|problem| output::line(&format!("!  {problem}")));
}

/// Formats the options other than protocol, address and upstreams, as they are typed.
fn options(one: &Shown) -> String {
    let mut words = Vec::new();
    let domains = one.domain_upstreams.iter();
    words.extend(domains.map(|(domain, all)| format!("{domain}={}", all.join(","))));
    if one.requires_tls {
        words.push("require-tls".to_owned());
    }
    if one.requires_client_certificate {
        words.push("require-client-certificate".to_owned());
    }
    if one.takes_server_certificates {
        words.push("take-server-certificates".to_owned());
    }
    if !one.alpn.is_empty() {
        words.push(format!("alpn {}", one.alpn.join(",")));
    }
    if !one.proxy_from.is_empty() {
        words.push(format!("proxy-from {}", one.proxy_from.join(",")));
    }
    let single =
        [("proxy-to", &one.proxy_to), ("starttls", &one.starttls), ("name", &one.server_name)];
    let single = single.into_iter().filter_map(|(what, text)| Some((what, text.as_ref()?)));
    words.extend(single.map(|(what, text)| format!("{what} {text}")));
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}
