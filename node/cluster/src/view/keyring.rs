//! Progress of the keyring's upkeep.

use conclave_store::{id::Generation, record::ProofOf, state::State};

use crate::admit::PROOFS_LEVEL;

/// Returns how many rows with secrets are still under an earlier generation, and how many proofs
/// are still to be made under the current one.
pub fn unfinished(state: &State, current: Generation) -> u64 {
    let (before, _) = state.rows_before_generation(current);
    if state.level() < PROOFS_LEVEL {
        return before;
    }
    let members = state.members().map(|(id, _)| ProofOf::Member(*id));
    let tokens = state.access_tokens().map(|(id, _)| ProofOf::AccessToken(*id));
    let is_due = |of: &ProofOf| state.proof(*of).is_none_or(|proof| proof.generation != current);
    let due = members.chain(tokens).filter(is_due).count();
    before.saturating_add(u64::try_from(due).unwrap_or(u64::MAX))
}
