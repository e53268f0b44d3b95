//! Commands for listeners.

use std::collections::BTreeMap;

use conclave_api::listener::{Add, Listener as Shown};

use super::{Asking, Done, change, confirm};
use crate::{
    args::{Listener, ListenerAdd},
    output::{self, Columns},
};

pub(super) async fn run(asking: &Asking, command: Listener) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Listener::Add(asked) => {
            let changing = asked.changing.clone();
            let add = add(*asked);
            let done = client.add_listener(&add, &change(&changing)).await?;
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
        Listener::Remove { name, changing } => {
            confirm(global, &changing, &format!("the listener {name} from every node"), &name)?;
            let done = client.remove_listener(&name, &change(&changing)).await?;
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
    }
}

/// Formats the options other than protocol, address and upstreams, as they are typed.
fn options(one: &Shown) -> String {
    let mut words = Vec::new();
    let domains = one.domain_upstreams.iter();
    words.extend(domains.map(|(domain, all)| format!("{domain}={}", all.join(","))));
    if one.requires_tls {
        words.push("require-tls".to_owned());
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
