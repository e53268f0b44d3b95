//! Admission of listeners.

mod options;

use std::net::SocketAddr;

use conclave_api::{
    listener::Add,
    problem::{Code, Problem},
};
use conclave_store::{command::Action, id::ListenerName, outcome::Rejection, record::Listener};

use super::{Admitted, View, rejection_problem};

fn listener_name(text: &str) -> Result<ListenerName, Problem> {
    ListenerName::parse(text).map_err(|error| Problem::new(Code::InvalidAddress, error.to_string()))
}

fn parse(view: &View<'_>, asked: &Add) -> Result<Listener, Problem> {
    let malformed = || {
        Problem::new(
            Code::InvalidAddress,
            format!("{:?} is not an address to listen on", asked.bind),
        )
        .hint("--bind :443 for every address of each node, or --bind 192.0.2.10:443")
    };
    let (address, port) = match asked.bind.strip_prefix(':') {
        Some(port) => (None, port.parse::<u16>().map_err(|_| malformed())?),
        None => {
            let address: SocketAddr = asked.bind.parse().map_err(|_| malformed())?;
            (Some(address.ip()), address.port())
        }
    };
    if port == 0 {
        return Err(malformed());
    }
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

pub(crate) fn add_listener(view: &View<'_>, asked: &Add) -> Result<Admitted, Problem> {
    let listener = parse(view, asked)?;
    if view.state.listener(&listener.name).is_some() {
        return Err(rejection_problem(&Rejection::ListenerExists(listener.name)));
    }
    let overlaps = |other: &Listener| {
        other.port == listener.port
            && other.protocol.is_datagram() == listener.protocol.is_datagram()
            && (other.address.is_none()
                || listener.address.is_none()
                || other.address == listener.address)
    };
    if !view.state.listeners().any(|(_, other)| overlaps(other)) {
        // Try the port on this node, so that an obvious failure is reported before anything is
        // stored. Skip this if another listener has the port: the rules report that conflict.
        view.node
            .edge()
            .try_bind(&listener)
            .map_err(|(address, error)| bind_problem(&listener.name, address, &error))?;
    }
    let (name, warnings) = (listener.name.clone(), options::warnings(view.state, &listener));
    Ok(Admitted::new(Action::AddListener(listener), name).warning(warnings))
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

pub(crate) fn remove_listener(_view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = listener_name(name)?;
    Ok(Admitted::new(Action::RemoveListener(name.clone()), name))
}
