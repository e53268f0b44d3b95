//! Routes for the keyring.

use axum::Json;
use conclave_api::{
    API_VERSION,
    change::Change,
    keyring::Keyring,
    problem::{Code, Problem},
};
use conclave_store::scope::Scope;

use super::Answer;
use crate::{admin::asked::Asked, admit, view};

pub(super) async fn show(asked: Asked) -> Answer<Keyring> {
    let state = asked.operator.read().await?;
    let node = &asked.operator.node;
    let replica = node.replica()?;
    let (raft, outlook) = (replica.raft().status(), replica.outlook().await);
    let nodes = view::members(replica.id(), &state, &raft, &outlook);
    let in_state = |word: &str| -> Vec<String> {
        let found = nodes.iter().filter(|one| one.state == word);
        found.map(|one| one.name.clone()).collect()
    };
    let cluster = state
        .cluster()
        .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster yet"))?;
    let current = state.generation(&cluster.generation);
    let wrapped = |id| current.is_some_and(|keyring| keyring.wraps.contains_key(id));
    let members = state.members().filter(|(id, _)| wrapped(id));
    Ok(Json(Keyring {
        api_version: API_VERSION.to_owned(),
        kind: "Keyring".to_owned(),
        generation: cluster.generation.0,
        generations: u64::try_from(state.generations().count()).unwrap_or(u64::MAX),
        unfinished: view::unfinished(&state, cluster.generation),
        members: members.map(|(_, member)| member.name.to_string()).collect(),
        sealed: node.keyring().sealed_reason().is_some(),
        sealed_nodes: in_state("sealed"),
        silent_nodes: in_state("unreachable"),
    }))
}

pub(super) async fn rotate(asked: Asked) -> Answer<Change> {
    Ok(Json(asked.operator.change(Scope::Shared, admit::rotate_keyring).await?))
}
