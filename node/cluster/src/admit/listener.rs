//! Admission of listeners.

mod options;
mod walk_around;

use std::net::SocketAddr;

use conclave_api::{
    listener::{Add, Set},
    problem::{Code, Problem},
};
use conclave_store::{
    command::{Action, PutListener},
    id::ListenerName,
    outcome::Rejection,
    record::{Listener, ListenerPolicy, ProxyVersion, RowKey},
    state::State,
};

pub(crate) use options::parse_network;
pub use options::with_a_labels as normal_upstream;
pub use walk_around::by_domain as ways_around;

use super::{Admitted, View, rejection_problem};

/// Returns an address to listen on in its normal form.
pub fn normal_listen_address(text: &str) -> Result<String, Problem> {
    let (address, port) = options::listen_address(text)?;
    Ok(options::shown_listen_address(address, port))
}

/// Returns a network in its normal form.
pub fn normal_network(text: &str) -> Result<String, Problem> {
    options::network(text).map(|network| options::shown_network(&network))
}

fn listener_name(text: &str) -> Result<ListenerName, Problem> {
    ListenerName::parse(text).map_err(|error| Problem::new(Code::InvalidAddress, error.to_string()))
}

fn parse(view: &View<'_>, asked: &Add) -> Result<Listener, Problem> {
    let (address, port) = options::listen_address(&asked.bind)?;
    let protocol = options::protocol(asked.protocol.as_deref().unwrap_or("tls"))?;
    options::check_fit(protocol, asked)?;
    Ok(Listener {
        name: listener_name(&asked.name)?,
        protocol,
        address,
        port,
        upstreams: options::upstreams(view.node, protocol, &asked.upstreams)?,
        domain_upstreams: options::domain_upstreams(view.node, protocol, asked)?,
        requires_tls: asked.requires_tls,
        alpn: options::alpn(&asked.alpn)?,
        proxy_from: options::networks(&asked.proxy_from)?,
        proxy_to: options::proxy_version(asked.proxy_to.as_deref())?,
        outgoing: options::outgoing(protocol, asked)?,
    })
}

/// Says that a listener is as the caller wants it.
fn same(name: ListenerName) -> Admitted {
    let rows = vec![RowKey::Listener(name.clone()), RowKey::ListenerPolicy(name.clone())];
    Admitted::nothing(name, rows)
}

/// Adds a listener. This node tries the port first.
pub fn add_listener(view: &View<'_>, asked: &Add) -> Result<Admitted, Problem> {
    let (listener, policy) = (parse(view, asked)?, options::policy(asked));
    if let Some(present) = view.state.listener(&listener.name) {
        let present_policy = view.state.listener_policy(&listener.name);
        if *present == listener && present_policy == policy {
            return Ok(same(listener.name));
        }
        if view.is_if_missing {
            let warning = other_settings((present, present_policy), (&listener, policy));
            return Ok(same(listener.name).warning(vec![warning]));
        }
        return Err(rejection_problem(&Rejection::ListenerExists(listener.name)));
    }
    try_port(view, &listener)?;
    let name = listener.name.clone();
    let warnings = options::warnings(view.state, &listener, policy);
    let action = match policy == ListenerPolicy::default() {
        true => Action::AddListener(listener),
        false => Action::PutListener(Box::new(PutListener { listener, policy, is_new: true })),
    };
    Ok(Admitted::new(action, name).warning(warnings))
}

/// Changes a listener: settings that are not given stay.
pub fn set_listener(view: &View<'_>, name: &str, asked: &Set) -> Result<Admitted, Problem> {
    if *asked == Set::default() {
        return Err(Problem::new(Code::Malformed, "no setting is given")
            .hint("conclave listener set NAME --upstream HOST:PORT    all: --help"));
    }
    let present = known_listener(view.state, name)?;
    let present_policy = view.state.listener_policy(&present.name);
    let merged = merged(listener_settings(present, present_policy), asked);
    let (listener, policy) = (parse(view, &merged)?, options::policy(&merged));
    let is_moved = (listener.port, listener.protocol.is_datagram())
        != (present.port, present.protocol.is_datagram());
    if is_moved {
        try_port(view, &listener)?;
    }
    let name = listener.name.clone();
    let warnings = options::warnings(view.state, &listener, policy);
    let row = view.state.expectation(RowKey::Listener(name.clone()));
    let policy_row = view.state.expectation(RowKey::ListenerPolicy(name.clone()));
    let action = match policy == present_policy {
        true => Action::SetListener(Box::new(listener)),
        false => Action::PutListener(Box::new(PutListener { listener, policy, is_new: false })),
    };
    Ok(Admitted::new(action, name).expecting(row).expecting(policy_row).warning(warnings))
}

/// Returns a listener by its name.
pub fn known_listener<'s>(state: &'s State, name: &str) -> Result<&'s Listener, Problem> {
    let name = listener_name(name)?;
    let found = state.listener(&name);
    found.ok_or_else(|| rejection_problem(&Rejection::ListenerUnknown(name)))
}

/// Tries the port on this node, so that an obvious failure is reported before anything is stored.
/// Skips this if another listener has the port: the rules report that conflict.
fn try_port(view: &View<'_>, listener: &Listener) -> Result<(), Problem> {
    if view.state.listeners().any(|(_, other)| other.overlaps(listener)) {
        return Ok(());
    }
    view.node
        .edge()
        .try_bind(listener)
        .map_err(|(address, error)| bind_problem(&listener.name, address, &error))
}

/// Names the settings in which two listeners differ.
fn other_settings(
    (present, present_policy): (&Listener, ListenerPolicy),
    (asked, policy): (&Listener, ListenerPolicy),
) -> String {
    let differing = [
        ("clients", present_policy != policy),
        ("protocol", present.protocol != asked.protocol),
        ("address", (present.address, present.port) != (asked.address, asked.port)),
        ("upstreams", present.upstreams != asked.upstreams),
        ("upstreams of domains", present.domain_upstreams != asked.domain_upstreams),
        ("require-tls", present.requires_tls != asked.requires_tls),
        ("ALPN", present.alpn != asked.alpn),
        ("proxy-from", present.proxy_from != asked.proxy_from),
        ("proxy-to", present.proxy_to != asked.proxy_to),
        ("outgoing TLS", present.outgoing != asked.outgoing),
    ];
    let words = differing.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what);
    let words: Vec<&str> = words.collect();
    let name = &present.name;
    format!("listener {name} exists with other settings: {}", words.join(", "))
}

/// Returns the settings of a listener, as a request that adds it.
pub fn listener_settings(listener: &Listener, policy: ListenerPolicy) -> Add {
    let outgoing = listener.outgoing.as_ref();
    let domains = listener.domain_upstreams.iter();
    let networks = listener.proxy_from.iter();
    Add {
        name: listener.name.to_string(),
        protocol: Some(listener.protocol.as_str().to_owned()),
        bind: options::shown_listen_address(listener.address, listener.port),
        upstreams: listener.upstreams.clone(),
        domain_upstreams: domains.map(|(name, all)| (name.to_string(), all.clone())).collect(),
        requires_tls: listener.requires_tls,
        alpn: listener.alpn.clone(),
        proxy_from: networks.map(options::shown_network).collect(),
        proxy_to: listener.proxy_to.map(|version| match version {
            ProxyVersion::V1 => "v1".to_owned(),
            ProxyVersion::V2 => "v2".to_owned(),
        }),
        starttls: outgoing.and_then(|one| one.starttls).map(|one| one.as_str().to_owned()),
        server_name: outgoing.and_then(|one| one.server_name.clone()),
        requires_client_certificate: policy.requires_client_certificate,
        takes_server_certificates: policy.takes_server_certificates,
    }
}

/// Returns the settings of a listener with the given ones in place of the present ones.
fn merged(present: Add, asked: &Set) -> Add {
    // An empty text takes the setting away.
    let optional = |given: &Option<String>, present: Option<String>| match given {
        Some(text) if text.is_empty() => None,
        Some(text) => Some(text.clone()),
        None => present,
    };
    let asked = asked.clone();
    Add {
        name: present.name,
        protocol: asked.protocol.or(present.protocol),
        bind: asked.bind.unwrap_or(present.bind),
        upstreams: asked.upstreams.unwrap_or(present.upstreams),
        domain_upstreams: asked.domain_upstreams.unwrap_or(present.domain_upstreams),
        requires_tls: asked.requires_tls.unwrap_or(present.requires_tls),
        alpn: asked.alpn.unwrap_or(present.alpn),
        proxy_from: asked.proxy_from.unwrap_or(present.proxy_from),
        proxy_to: optional(&asked.proxy_to, present.proxy_to),
        starttls: optional(&asked.starttls, present.starttls),
        server_name: optional(&asked.server_name, present.server_name),
        requires_client_certificate: asked
            .requires_client_certificate
            .unwrap_or(present.requires_client_certificate),
        takes_server_certificates: asked
            .takes_server_certificates
            .unwrap_or(present.takes_server_certificates),
    }
}

fn bind_problem(name: &ListenerName, address: SocketAddr, error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Problem::new(
            Code::PortForbidden,
            format!("not allowed to open port {}", address.port()),
        )
        .detail(error.to_string())
        .hint("sudo setcap cap_net_bind_service=+ep $(command -v conclave)"),
        std::io::ErrorKind::AddrInUse => Problem::new(
            Code::PortUnavailable,
            format!(
                "cannot open {address} for listener {:?}: in use by another process",
                name.as_str()
            ),
        )
        .hint("stop it, or choose another port"),
        _ => Problem::new(
            Code::PortUnavailable,
            format!("cannot open {address} for listener {:?}", name.as_str()),
        )
        .detail(error.to_string()),
    }
}

/// Removes a listener.
pub fn remove_listener(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = known_listener(view.state, name)?.name.clone();
    Ok(Admitted::new(Action::RemoveListener(name.clone()), name))
}
