//! Doing a repeated operation once.

use super::Changing;
use crate::{
    command::Command,
    id::LogIndex,
    limits::{OPERATION_AGE_MS_MAX, OPERATIONS_EVICTED_PER_COMMAND, OPERATIONS_KEPT},
    outcome::{Done, Rejection},
    record::{Operation, Record, RowKey},
    state::State,
};

/// The answer of the same operation if it was done before; another request under its id is
/// refused.
pub(super) fn repeated(state: &State, command: &Command) -> Result<Option<Done>, Rejection> {
    let Some(before) = state.operation(&command.operation) else { return Ok(None) };
    if before.principal != command.principal || before.request != command.request {
        return Err(Rejection::OperationReused(command.operation.clone()));
    }
    Ok(Some(before.done.clone()))
}

/// Remembers a finished operation and forgets the oldest, by age in the order and in time.
pub(super) fn remember(change: &mut Changing<'_>, done: &Done) -> Result<(), Rejection> {
    for _ in 0..OPERATIONS_EVICTED_PER_COMMAND {
        let Some((index, id)) = change.state.oldest_operation() else { break };
        let age_ms = change
            .state
            .operation(&id)
            .map_or(u64::MAX, |operation| change.command.time.0.saturating_sub(operation.time.0));
        let is_kept = index.0.saturating_add(OPERATIONS_KEPT) > change.index.0;
        if is_kept && age_ms <= OPERATION_AGE_MS_MAX {
            break;
        }
        change.remove(&RowKey::OperationAge(index))?;
        change.remove(&RowKey::Operation(id))?;
    }
    let id = change.command.operation.clone();
    let operation = Operation {
        principal: change.command.principal.clone(),
        request: change.command.request,
        done: done.clone(),
        index: change.index,
        time: change.command.time,
    };
    change.put(RowKey::Operation(id.clone()), Record::Operation(operation.into()))?;
    change.put(RowKey::OperationAge(LogIndex(change.index.0)), Record::OperationAge(id))
}
