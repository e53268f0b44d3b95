//! Recovery after the loss of a quorum: the one change of State that no command orders.

use super::level::PROOFS_LEVEL;
use crate::{
    id::{LogIndex, NodeId},
    limits::DEPARTED_MAX,
    outcome::Rejection,
    record::{DepartedMember, Member, MemberRole, Record, RowKey},
    state::State,
    time::UnixMillis,
};

/// Returns `state` with `survivor` as its only member, a voter. The other members lose their rows
/// and their wraps of the keyring; from level 3 on State remembers them as departed. Rows that stay
/// keep the index of their last change, because what is older than the proofs is trusted for its
/// age.
///
/// This is no command: a lost quorum can order none. All rows therefore change offline, and other
/// nodes get the result as a snapshot.
pub fn recovered(
    state: &State,
    survivor: NodeId,
    index: LogIndex,
    now: UnixMillis,
) -> Result<State, Rejection> {
    let generation = state.cluster().ok_or(Rejection::NoCluster)?.generation;
    let own = state.member(&survivor).ok_or(Rejection::MemberUnknown(survivor))?.clone();
    let mut editing = Editing(state.clone());
    let others = state.members().filter(|(id, _)| **id != survivor);
    for (id, member) in others {
        super::member::rows_of(*id).iter().try_for_each(|row| editing.remove(row))?;
        if state.level() < PROOFS_LEVEL {
            continue;
        }
        let departed = DepartedMember {
            name: member.name.clone(),
            identity_der: member.identity_der.clone(),
            left: now,
            generation,
        };
        editing.put(RowKey::DepartedMember(*id), Record::DepartedMember(departed.into()), index)?;
    }
    let departed: Vec<NodeId> = editing.0.departed_members().map(|(id, _)| *id).collect();
    let surplus = departed.len().saturating_sub(DEPARTED_MAX);
    for id in departed.into_iter().take(surplus) {
        editing.remove(&RowKey::DepartedMember(id))?;
    }
    for (id, keyring) in state.generations() {
        let mut keyring = keyring.clone();
        let before = keyring.wraps.len();
        keyring.wraps.retain(|member, _| *member == survivor);
        if keyring.wraps.len() != before {
            editing.replace(RowKey::Generation(*id), Record::Generation(keyring.into()))?;
        }
    }
    if own.role != MemberRole::Voter {
        let voter = Member { role: MemberRole::Voter, ..own };
        editing.replace(RowKey::Member(survivor), Record::Member(voter.into()))?;
    }
    Ok(editing.0)
}

/// A State that is edited row by row.
struct Editing(State);

impl Editing {
    fn put(&mut self, key: RowKey, record: Record, index: LogIndex) -> Result<(), Rejection> {
        self.0.put(key, record, index).map(|_| ()).map_err(|_| super::too_large())
    }

    /// Replaces a row and keeps the index of its last change.
    fn replace(&mut self, key: RowKey, record: Record) -> Result<(), Rejection> {
        let changed_at = self.0.row(&key).map(|row| row.changed_at).unwrap_or_default();
        self.put(key, record, changed_at)
    }

    fn remove(&mut self, key: &RowKey) -> Result<(), Rejection> {
        self.0.remove(key).map(|_| ()).map_err(|_| super::too_large())
    }
}
