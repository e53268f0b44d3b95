//! Routes for the keyring.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
};
use conclave_api::{
    API_VERSION,
    change::Change,
    keyring::{Keyring, Rekey, Rekeyed, Shares, Unlocking, Unseal},
    problem::{Code, Problem},
};
use conclave_cluster::{admit, node::Node, operate, view};
use conclave_keys::{Given, NewKey, Secret};
use conclave_store::scope::Scope;

use super::Answer;
use crate::{
    asked::{Asked, object},
    unsealing::Unsealer,
};

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
        sealed: node.keyring().is_sealed(),
        sealed_nodes: in_state("sealed"),
        silent_nodes: in_state("unreachable"),
        unlocking: Some(unlocking_of(node, false)),
    }))
}

pub(super) async fn rotate(asked: Asked) -> Answer<Change> {
    Ok(Json(asked.operator.change(Scope::Shared, admit::rotate_keyring).await?))
}

pub(super) async fn unlocking(_: Unsealer, State(node): State<Node>) -> Json<Unlocking> {
    Json(unlocking_of(&node, false))
}

pub(super) async fn seal(asked: Asked) -> Answer<Unlocking> {
    asked.operator.for_real()?;
    let node = asked.operator.node.clone();
    // A task of its own: a caller that disconnects must not leave keys behind.
    let sealing = tokio::spawn(async move { (operate::seal(&node).await, node) });
    let (changed, node) = sealing
        .await
        .map_err(|error| conclave_cluster::fault::internal("the sealing failed", error))?;
    Ok(Json(unlocking_of(&node, changed)))
}

pub(super) async fn unseal(
    _: Unsealer,
    State(node): State<Node>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Unlocking> {
    let body = body.map_err(|error| Problem::new(Code::TooLarge, error.body_text()))?;
    let malformed = |what: String| Problem::new(Code::Malformed, what);
    let asked: Unseal = object(&body)
        .map_err(|_| malformed("the request's body is not one to unseal a node".to_owned()))?;
    let given = match asked {
        Unseal { passphrase: None, share: None } => Given::Nothing,
        Unseal { passphrase: Some(text), share: None } => {
            Given::Passphrase(Secret::new(text.into_bytes()))
        }
        Unseal { passphrase: None, share: Some(text) } => Given::Share(text.into()),
        _ => return Err(malformed("a passphrase and a share at once".to_owned()).into()),
    };
    let changed = operate::unseal(&node, given).await?;
    Ok(Json(unlocking_of(&node, changed)))
}

/// Changes how this node unlocks. The table of rights has it at the socket only: the new key opens
/// the node after each restart, and a stolen token must not lock others out.
pub(super) async fn rekey(asked: Asked) -> Answer<Rekeyed> {
    asked.operator.for_real()?;
    let node = &asked.operator.node;
    let new = match asked.json()? {
        Rekey { passphrase: None, shares: None } => NewKey::Stored,
        Rekey { passphrase: Some(text), shares: None } => {
            NewKey::Passphrase(Secret::new(text.into_bytes()))
        }
        Rekey { passphrase: None, shares: Some((needed, count)) } => {
            NewKey::Shares { needed, count }
        }
        _ => return Err(Problem::new(Code::Malformed, "a passphrase and shares at once").into()),
    };
    let before = node.lock().status();
    let shares = operate::rekey(node, new).await?;
    let unlocking = unlocking_of(node, true);
    let is_old = before.how == "file" && unlocking.how != "file";
    Ok(Json(Rekeyed {
        api_version: API_VERSION.to_owned(),
        kind: "Rekeyed".to_owned(),
        unlocking,
        shares: shares.iter().map(|text| text.to_string()).collect(),
        old_key: before.place.filter(|_| is_old),
    }))
}

fn unlocking_of(node: &Node, changed: bool) -> Unlocking {
    let status = node.lock().status();
    let reason = node.keyring().sealed_reason();
    Unlocking {
        api_version: API_VERSION.to_owned(),
        kind: "Unlocking".to_owned(),
        node: node.config().name.to_string(),
        sealed: reason.is_some(),
        reason,
        how: status.how.to_owned(),
        place: status.place,
        unset: status.is_unset,
        shares: status.shares.map(|one| Shares {
            set: one.set,
            needed: one.needed,
            count: one.count,
            given: one.given,
        }),
        warnings: node.lock().exposure().into_iter().collect(),
        changed,
    }
}
