//! Routes for listeners.

use axum::{Json, extract::Path};
use conclave_api::{
    change::{Change, List},
    listener::{Add, Listener, Set},
};
use conclave_edge::socket::ListenerState;
use conclave_store::{
    record::{Listener as Record, ProxyVersion},
    scope::Scope,
    state::State,
};

use super::Answer;
use crate::{admin::asked::Asked, admit};

pub(super) async fn add(asked: Asked) -> Answer<Change> {
    let add: Add = asked.json()?;
    Ok(Json(
        asked.operator.change(Scope::Shared, move |view| admit::add_listener(view, &add)).await?,
    ))
}

pub(super) async fn set(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    let derive = move |view: &admit::View<'_>| admit::set_listener(view, &name, &set);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Listener> {
    let state = asked.operator.read().await?;
    let listener = admit::known_listener(&state, &name)?;
    let open = asked.operator.node.edge().listeners();
    Ok(Json(shown(&state, listener, open.iter().find(|known| known.name == listener.name))))
}

pub(super) async fn list(asked: Asked) -> Answer<List<Listener>> {
    let state = asked.operator.read().await?;
    let open = asked.operator.node.edge().listeners();
    let shown = state.listeners().map(|(name, listener)| {
        shown(&state, listener, open.iter().find(|known| known.name == *name))
    });
    Ok(Json(List::new(shown.collect())))
}

fn shown(state: &State, listener: &Record, found: Option<&ListenerState>) -> Listener {
    let policy = state.listener_policy(&listener.name);
    let outgoing = listener.outgoing.as_ref();
    let networks = listener.proxy_from.iter();
    let domains = listener.domain_upstreams.iter();
    Listener {
        name: listener.name.to_string(),
        protocol: listener.protocol.as_str().to_owned(),
        bind: match listener.address {
            Some(address) => std::net::SocketAddr::new(address, listener.port).to_string(),
            None => format!(":{}", listener.port),
        },
        upstreams: listener.upstreams.clone(),
        domain_upstreams: domains.map(|(name, all)| (name.to_string(), all.clone())).collect(),
        requires_tls: listener.requires_tls,
        alpn: listener.alpn.clone(),
        proxy_from: networks.map(|one| format!("{}/{}", one.address, one.prefix)).collect(),
        proxy_to: listener.proxy_to.map(|version| match version {
            ProxyVersion::V1 => "v1".to_owned(),
            ProxyVersion::V2 => "v2".to_owned(),
        }),
        starttls: outgoing.and_then(|one| one.starttls).map(|one| one.as_str().to_owned()),
        server_name: outgoing.and_then(|one| one.server_name.clone()),
        requires_client_certificate: policy.requires_client_certificate,
        takes_server_certificates: policy.takes_server_certificates,
        open: found
            .map_or_else(Vec::new, |known| known.open.iter().map(ToString::to_string).collect()),
        problems: found.map_or_else(Vec::new, |known| known.problems.clone()),
    }
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    Ok(Json(
        asked
            .operator
            .change(Scope::Shared, move |view| admit::remove_listener(view, &name))
            .await?,
    ))
}
