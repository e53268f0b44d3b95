//! Idempotence: a repeated operation is done only once.
//!
//! From level 1 on, an operation is remembered for a period measured by the times of the commands.
//! Forgetting one raises the *watermark*, the greatest time of a forgotten operation. A command is
//! refused if its operation is not remembered and may have been tried at or before the watermark:
//! it may already have been done.
//!
//! Times come from the clocks of several nodes, and the time in an id from the clock of its maker.
//! A clock can be wrong, so no rule trusts a single command:
//!
//! - A command forgets at most two operations, the oldest. If a clock jumps ten years ahead for a
//!   second, each command ordered in that second forgets at most two. The watermark rises to the
//!   times of these operations, which are correct, so later commands are not refused.
//! - [`OPERATIONS_KEPT_MIN`] operations are kept regardless of times.
//! - An operation with a time far ahead would never be the oldest. It is forgotten together with
//!   one that was ordered later and is the oldest by its own time.
//! - A clock that is wrong for longer than operations are remembered, and is the only one, raises
//!   the watermark too far. A command more than a day below the watermark is done nonetheless,
//!   since no retry is that late. The next operation that is forgotten then corrects the watermark.
//! - Commands of a clock that is less than a day behind the watermark are refused. The rules cannot
//!   distinguish them from late retries, so only an operator can correct this.

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

/// Returns the answer of an operation that was already done. Rejects another request under its id,
/// and an operation that may have been done and forgotten.
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

/// Remembers a finished operation and forgets the oldest ones.
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

/// Forgets by age in the order and in time (level 0). Returns whether an operation was forgotten.
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

/// Forgets by age in time, within the bounds on the number of operations (from level 1 on). Returns
/// whether an operation was forgotten.
fn forget_by_time(change: &mut Changing<'_>) -> Result<bool, Rejection> {
    let (count, now) = (change.state.operation_count(), change.command.time);
    let Some(oldest) = change.state.oldest_operation().cloned() else { return Ok(false) };
    if !is_due(count, &oldest, now) {
        return Ok(false);
    }
    change.remove(&RowKey::Operation(oldest.id.clone()))?;
    raise_watermark(change, oldest.time)?;
    // An operation with a later time that was ordered before the oldest has a wrong time.
    let ahead = change.state.newest_operation().filter(|newest| {
        newest.index < oldest.index && newest.time > oldest.time.plus(CLOCK_WRONG_MS)
    });
    if let Some(id) = ahead.map(|ahead| ahead.id.clone()) {
        change.remove(&RowKey::Operation(id))?;
    }
    Ok(true)
}

/// Returns whether the oldest of `count` operations has to be forgotten.
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

/// Sets the first watermark, when level 1 begins. Level 0 forgot only operations that were ordered
/// before all remembered ones, so the watermark is just below the oldest.
pub(super) fn begin_watermark(change: &mut Changing<'_>) -> Result<(), Rejection> {
    // Up to this index, level 0 forgets only operations that are a day old. No retry is that late.
    if change.index <= LogIndex(OPERATIONS_KEPT) {
        return Ok(());
    }
    let Some(oldest) = change.state.oldest_operation() else { return Ok(()) };
    let memory = OperationMemory { forgotten: UnixMillis(oldest.time.0.saturating_sub(1)) };
    change.put(RowKey::OperationMemory, Record::OperationMemory(memory))
}
