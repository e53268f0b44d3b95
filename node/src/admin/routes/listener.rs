//! Listeners.

use axum::{Json, extract::Path};
use conclave_api::{
    change::{Change, List},
    listener::{Add, Listener},
};

use super::Answer;
use crate::{admin::change::Asked, admit, live::Scope};

pub(super) async fn add(asked: Asked) -> Answer<Change> {
    let add: Add = asked.json()?;
    Ok(Json(asked.change(Scope::Shared, move |view| admit::add_listener(view, &add)).await?))
}

pub(super) async fn list(asked: Asked) -> Answer<List<Listener>> {
    let state = asked.shared_state().await?;
    let open = asked.node.edge().listeners();
    let shown = state.listeners().map(|(name, listener)| {
        let found = open.iter().find(|known| known.name == *name);
        Listener {
            name: name.to_string(),
            protocol: "tls".to_owned(),
            bind: match listener.address {
                Some(address) => std::net::SocketAddr::new(address, listener.port).to_string(),
                None => format!(":{}", listener.port),
            },
            upstream: listener.upstreams.join(" "),
            open: found.map_or_else(Vec::new, |known| {
                known.open.iter().map(ToString::to_string).collect()
            }),
            problems: found.map_or_else(Vec::new, |known| known.problems.clone()),
        }
    });
    Ok(Json(List::new(shown.collect())))
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    Ok(Json(asked.change(Scope::Shared, move |view| admit::remove_listener(view, &name)).await?))
}
