//! Rules for generations of the keyring.

use super::{Changing, check_count};
use crate::{
    command::{Action, RotateKeyring},
    id::{Generation, NodeId},
    limits::GENERATIONS_MAX,
    outcome::{Done, Rejection},
    record::{Record, RowKey},
    state::State,
};

/// Rejects secrets sealed under any other generation than the one that is current after the
/// command: a removed node must not be able to open later secrets.
pub(super) fn check_generations(state: &State, action: &Action) -> Result<(), Rejection> {
    let current = match action {
        Action::FoundCluster(found) => found.cluster.generation,
        Action::RotateKeyring(rotate) => rotate.generation,
        // A local scope has no cluster: its secrets are sealed under the node's own key, as
        // generation 0.
        _ => state.cluster().map_or(Generation(0), |cluster| cluster.generation),
    };
    match action.sealed().into_iter().find(|sealed| sealed.generation != current) {
        Some(sealed) => Err(Rejection::GenerationOld { found: sealed.generation, current }),
        None => Ok(()),
    }
}

/// Makes the next generation current. It must be wrapped for exactly the current members.
pub(super) fn rotate(change: &mut Changing<'_>, rotate: &RotateKeyring) -> Result<Done, Rejection> {
    let mut cluster = change.state.cluster().cloned().ok_or(Rejection::NoCluster)?;
    check_count("keyring generations", change.state.generations().count() + 1, GENERATIONS_MAX)?;
    let members: Vec<NodeId> = change.state.members().map(|(id, _)| *id).collect();
    let is_next = rotate.generation.0 == cluster.generation.0 + 1;
    if !is_next || !rotate.keyring.wraps.keys().eq(&members) {
        return Err(Rejection::WrapsMismatch);
    }
    cluster.generation = rotate.generation;
    cluster.authority_key = rotate.authority_key.clone();
    change.put(RowKey::Cluster, Record::Cluster(cluster.into()))?;
    change.put(
        RowKey::Generation(rotate.generation),
        Record::Generation(rotate.keyring.clone().into()),
    )?;
    Ok(Done::Generation(rotate.generation))
}
