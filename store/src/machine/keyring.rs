//! Rules for generations of the keyring.

use serde_bytes::ByteBuf;

use super::{Changing, check_count, session_key};
use crate::{
    command::{Action, Reseal, Resealed, RotateKeyring, TurnKeyring},
    id::{Generation, NodeId},
    limits::GENERATIONS_MAX,
    outcome::{Done, Rejection},
    record::{ProofOf, Record, RowKey},
    state::State,
};

/// Rejects secrets sealed under any other generation than the one that is current after the
/// command: a removed node must not be able to open later secrets.
pub(super) fn check_generations(state: &State, action: &Action) -> Result<(), Rejection> {
    let current = match action {
        Action::FoundCluster(found) => found.cluster.generation,
        Action::RotateKeyring(rotate) => rotate.generation,
        Action::TurnKeyring(turn) => turn.rotate.generation,
        Action::RemoveMember(remove) => remove.turn.rotate.generation,
        Action::Join(join) if let Some(remove) = &join.replaces => remove.turn.rotate.generation,
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

/// Makes the next generation current, with its proof and new proofs of the members.
pub(super) fn turn(change: &mut Changing<'_>, turn: &TurnKeyring) -> Result<Done, Rejection> {
    let before = change.state.cluster().ok_or(Rejection::NoCluster)?.generation;
    let members = change.state.members().map(|(id, _)| id);
    let is_complete = members.eq(turn.members.iter().map(|(id, _)| id));
    if !is_complete || turn.proof.generation != before {
        return Err(Rejection::WrapsMismatch);
    }
    let done = rotate(change, &turn.rotate)?;
    let of = ProofOf::Generation(turn.rotate.generation);
    change.put(RowKey::Proof(of), Record::Proof(turn.proof))?;
    for (id, proof) in &turn.members {
        change.put(RowKey::Proof(ProofOf::Member(*id)), Record::Proof(*proof))?;
    }
    Ok(done)
}

/// Adds the wraps of a new member: of all generations.
pub(super) fn add_wraps(
    change: &mut Changing<'_>,
    id: NodeId,
    wraps: &[(Generation, ByteBuf)],
) -> Result<(), Rejection> {
    let generations = change.state.generations().map(|(generation, _)| generation);
    if !wraps.iter().map(|(generation, _)| generation).eq(generations) {
        return Err(Rejection::WrapsMismatch);
    }
    for (generation, wrap) in wraps {
        let mut keyring =
            change.state.generation(generation).cloned().ok_or(Rejection::WrapsMismatch)?;
        keyring.wraps.insert(id, wrap.clone());
        change.put(RowKey::Generation(*generation), Record::Generation(keyring.into()))?;
    }
    Ok(())
}

/// Removes the wraps of a member that leaves.
pub(super) fn remove_wraps(change: &mut Changing<'_>, id: NodeId) -> Result<(), Rejection> {
    let generations = change.state.generations();
    let generations: Vec<_> = generations.map(|(id, keyring)| (*id, keyring.clone())).collect();
    for (generation, mut keyring) in generations {
        if keyring.wraps.remove(&id).is_some() {
            change.put(RowKey::Generation(generation), Record::Generation(keyring.into()))?;
        }
    }
    Ok(())
}

/// Replaces secrets by the same ones under the current generation, and adds proofs. What has
/// changed since they were made is left as it is: a later command does it.
pub(super) fn reseal(change: &mut Changing<'_>, reseal: &Reseal) -> Result<Done, Rejection> {
    change.state.cluster().ok_or(Rejection::NoCluster)?;
    for Resealed { key, changed_at, secrets } in &reseal.secrets {
        let row = change.state.row(key).filter(|row| row.changed_at == *changed_at);
        if let Some(record) = row.and_then(|row| row.record.with_sealed(secrets)) {
            change.put(key.clone(), record)?;
        }
    }
    for (of, proof) in &reseal.proofs {
        let subject = match of {
            ProofOf::Generation(generation) => RowKey::Generation(*generation),
            ProofOf::Member(id) => RowKey::Member(*id),
            ProofOf::AccessToken(id) => RowKey::AccessToken(*id),
            ProofOf::AuditCut => RowKey::AuditCut,
            ProofOf::User(id) => {
                let named = change.state.users().find(|(_, user)| user.id == *id);
                let Some((name, _)) = named else { continue };
                RowKey::User(name.clone())
            }
        };
        if change.state.row(&subject).is_some() && change.state.proof(*of) != Some(*proof) {
            change.put(RowKey::Proof(*of), Record::Proof(*proof))?;
        }
    }
    Ok(Done::Changed)
}

/// Removes all generations before `current`, under which only session keys may still be sealed;
/// they are removed as well.
pub(super) fn drop_before(
    change: &mut Changing<'_>,
    current: Generation,
) -> Result<Done, Rejection> {
    let present = change.state.cluster().ok_or(Rejection::NoCluster)?.generation;
    if current != present {
        return Err(Rejection::WrapsMismatch);
    }
    if let (_, Some(used)) = change.state.rows_before_generation(current) {
        return Err(Rejection::GenerationInUse(used));
    }
    session_key::remove_before(change, current)?;
    let generations = change.state.generations().map(|(generation, _)| *generation);
    let old: Vec<Generation> = generations.filter(|generation| *generation < current).collect();
    for generation in old {
        change.remove(&RowKey::Generation(generation))?;
        change.remove(&RowKey::Proof(ProofOf::Generation(generation)))?;
    }
    Ok(Done::Generation(current))
}
