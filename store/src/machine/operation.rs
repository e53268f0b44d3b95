//! Doing a repeated operation once.
//!
//! From level 1 on an operation is remembered for a time, by the times of the commands. What is
//! forgotten raises the *watermark*, the greatest time of a forgotten operation. A command whose
//! operation is not remembered, and which may have been tried at the watermark or before, may have
//! been done: it is refused, so that it is never done again.
//!
//! Times come from the clocks of several nodes, and an id's time from its maker's. A clock can be
//! wrong, so no rule trusts one command:
//!
//! - A command forgets at most two operations, the oldest. A clock that jumps ten years ahead for a
//!   second takes as many of the oldest with it as were ordered in that second, no more, and the
//!   watermark rises to the times of those, which are right. Commands after it are not refused.
//! - [`OPERATIONS_KEPT_MIN`] operations are kept whatever the times say.
//! - An operation with a time far ahead would never get old. It goes together with one that was
//!   ordered later and is old by its own time.
//! - A clock that is wrong for longer than the memory lasts, and is the only one, raises the
//!   watermark too far. A command that is more than a day below it is done nonetheless, since no
//!   repetition is so late; and the first operation that is forgotten then sets it right.
//! - A clock that is behind the watermark by less than a day has its commands refused. That can
//!   only be told to people: their repetition looks the same.

use super::Changing;
use crate::{
    command::Command,
    id::LogIndex,
    limits::{
        CLOCK_WRONG_MS, FORGOTTEN_STEP_MS, OPERATION_AGE_MS_MAX, OPERATION_MS_KEPT,
        OPERATIONS_EVICTED_PER_COMMAND, OPERATIONS_KEPT, OPERATIONS_KEPT_MAX, OPERATIONS_KEPT_MIN,
    },
    outcome::{Done, Rejection},
    record::{Operation, OperationMemory, Record, RowKey},
    state::{OperationAge, State},
    time::UnixMillis,
};

/// The answer of the same operation if it was done before. Refused: another request under its id,
/// and an operation of which it is no longer known whether it was done.
pub(super) fn repeated(state: &State, command: &Command) -> Result<Option<Done>, Rejection> {
    let id = &command.operation;
    if let Some(before) = state.operation(id) {
        if before.principal != command.principal || before.request != command.request {
            return Err(Rejection::OperationReused(id.clone()));
        }
        return Ok(Some(before.done.clone()));
    }
    let Some(OperationMemory { forgotten }) = state.operation_memory() else { return Ok(None) };
    let first_try = id.made_at().map_or(command.time, |made| made.min(command.time));
    if first_try <= forgotten && first_try.plus(CLOCK_WRONG_MS) > forgotten {
        return Err(Rejection::OperationForgotten { operation: id.clone(), forgotten });
    }
    Ok(None)
}

/// Remembers a finished operation and forgets the oldest.
pub(super) fn remember(change: &mut Changing<'_>, done: &Done) -> Result<(), Rejection> {
    let is_row = change.state.level() == 0;
    for _ in 0..OPERATIONS_EVICTED_PER_COMMAND {
        let is_forgotten = if is_row { forget_by_index(change)? } else { forget_by_time(change)? };
        if !is_forgotten {
            break;
        }
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
    if is_row {
        change.put(RowKey::OperationAge(change.index), Record::OperationAge(id))?;
    }
    Ok(())
}

/// Level 0: by age in the order and in time. Says whether there was one to forget.
fn forget_by_index(change: &mut Changing<'_>) -> Result<bool, Rejection> {
    let Some((index, id)) = change.state.oldest_operation_row() else { return Ok(false) };
    let age_ms = change
        .state
        .operation(&id)
        .map_or(u64::MAX, |operation| change.command.time.0.saturating_sub(operation.time.0));
    let is_kept = index.0.saturating_add(OPERATIONS_KEPT) > change.index.0;
    if is_kept && age_ms <= OPERATION_AGE_MS_MAX {
        return Ok(false);
    }
    change.remove(&RowKey::OperationAge(index))?;
    change.remove(&RowKey::Operation(id))?;
    Ok(true)
}

/// From level 1 on: by age in time, within the bounds of their number. Says whether there was one
/// to forget.
fn forget_by_time(change: &mut Changing<'_>) -> Result<bool, Rejection> {
    let (count, now) = (change.state.operation_count(), change.command.time);
    let Some(oldest) = change.state.oldest_operation().cloned() else { return Ok(false) };
    if !is_due(count, &oldest, now) {
        return Ok(false);
    }
    change.remove(&RowKey::Operation(oldest.id.clone()))?;
    raise_watermark(change, oldest.time)?;
    // Its time is wrong: it was ordered before the oldest.
    let ahead = change.state.newest_operation().filter(|newest| {
        newest.index < oldest.index && newest.time > oldest.time.plus(CLOCK_WRONG_MS)
    });
    if let Some(id) = ahead.map(|ahead| ahead.id.clone()) {
        change.remove(&RowKey::Operation(id))?;
    }
    Ok(true)
}

/// Whether the oldest of so many operations is to be forgotten.
pub(super) fn is_due(count: usize, oldest: &OperationAge, now: UnixMillis) -> bool {
    let is_old = oldest.time.plus(OPERATION_MS_KEPT) < now;
    count >= OPERATIONS_KEPT_MAX || (count >= OPERATIONS_KEPT_MIN && is_old)
}

fn raise_watermark(change: &mut Changing<'_>, time: UnixMillis) -> Result<(), Rejection> {
    let steps = time.0.div_ceil(FORGOTTEN_STEP_MS);
    let forgotten = UnixMillis(steps.saturating_mul(FORGOTTEN_STEP_MS));
    let before = change.state.operation_memory().map(|memory| memory.forgotten);
    let is_wrong =
        |before: UnixMillis| forgotten.max(change.command.time).plus(CLOCK_WRONG_MS) < before;
    if before.is_some_and(|before| forgotten <= before && !is_wrong(before)) {
        return Ok(());
    }
    let memory = OperationMemory { forgotten };
    change.put(RowKey::OperationMemory, Record::OperationMemory(memory))
}

/// Begins with level 1. What level 0 has forgotten was ordered before all that is remembered, so
/// the watermark is just below.
pub(super) fn begin_watermark(change: &mut Changing<'_>) -> Result<(), Rejection> {
    // Earlier than this level 0 forgets nothing but what is a day old.
    if change.index <= LogIndex(OPERATIONS_KEPT) {
        return Ok(());
    }
    let Some(oldest) = change.state.oldest_operation() else { return Ok(()) };
    let memory = OperationMemory { forgotten: UnixMillis(oldest.time.0.saturating_sub(1)) };
    change.put(RowKey::OperationMemory, Record::OperationMemory(memory))
}
