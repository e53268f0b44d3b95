//! Routes for listeners.

use axum::{Json, extract::Path};
use conclave_api::{
    change::{Change, List},
    listener::{Add, Listener, Set},
};
use conclave_cluster::{admit, replica::Outlook, view};
use conclave_edge::socket::ListenerState;
use conclave_store::{record::Listener as Record, scope::Scope, state::State};

use super::Answer;
use crate::asked::Asked;

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
    let outlook = asked.operator.node.replica()?.outlook().await;
    let open = asked.operator.node.edge().listeners();
    let open = open.iter().find(|known| known.name == listener.name);
    Ok(Json(shown(&state, &outlook, listener, open)))
}

pub(super) async fn list(asked: Asked) -> Answer<List<Listener>> {
    let state = asked.operator.read().await?;
    let outlook = asked.operator.node.replica()?.outlook().await;
    let open = asked.operator.node.edge().listeners();
    let shown = state.listeners().map(|(name, listener)| {
        shown(&state, &outlook, listener, open.iter().find(|known| known.name == *name))
    });
    Ok(Json(asked.page.of(shown.collect(), |one| one.name.clone())))
}

fn shown(
    state: &State,
    outlook: &Outlook,
    listener: &Record,
    found: Option<&ListenerState>,
) -> Listener {
    let settings = admit::listener_settings(listener, state.listener_policy(&listener.name));
    Listener {
        name: settings.name,
        protocol: settings.protocol.unwrap_or_default(),
        bind: settings.bind,
        upstreams: settings.upstreams,
        domain_upstreams: settings.domain_upstreams,
        requires_tls: settings.requires_tls,
        alpn: settings.alpn,
        proxy_from: settings.proxy_from,
        proxy_to: settings.proxy_to,
        starttls: settings.starttls,
        server_name: settings.server_name,
        requires_client_certificate: settings.requires_client_certificate,
        takes_server_certificates: settings.takes_server_certificates,
        open: found
            .map_or_else(Vec::new, |known| known.open.iter().map(ToString::to_string).collect()),
        problems: found.map_or_else(Vec::new, |known| known.problems.clone()),
        nodes: view::listener_on_nodes(state, outlook, &listener.name),
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
