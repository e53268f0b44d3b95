//! Rules for the level, see [`crate::record::LEVEL_MAX`].

use super::{Changing, operation};
use crate::{
    command::Action,
    limits::LEFT_OVER_ROWS_PER_COMMAND,
    outcome::{Done, Rejection},
    record::{LEVEL_MAX, Record, RowKey},
};

/// Level from which on what decides who may open secrets carries a proof.
pub(super) const PROOFS_LEVEL: u32 = 3;
/// Level from which on tokens have grants, and changes write the audit trail.
pub const GRANTS_LEVEL: u32 = 4;

/// Level from which on there are accounts.
const ACCOUNTS_LEVEL: u32 = 5;

/// Rejects an action above the current level. Admission refuses it first: here it is too late for
/// members of older versions, which cannot read it.
pub(super) fn check(change: &Changing<'_>, action: &Action) -> Result<(), Rejection> {
    let (level, max) = (action.level(), change.state.level());
    if level > max {
        return Err(Rejection::LevelUnknown { level, max });
    }
    // Admission derives it again, in the form with a proof.
    if max >= PROOFS_LEVEL && action.is_without_proof() {
        return Err(Rejection::Stale(RowKey::Level));
    }
    if max >= GRANTS_LEVEL && action.is_without_grant() {
        return Err(Rejection::Stale(RowKey::Level));
    }
    Ok(())
}

/// Raises the level. A command for the current level changes nothing.
pub(super) fn set(change: &mut Changing<'_>, asked: u32) -> Result<Done, Rejection> {
    let level = change.state.level();
    if asked > LEVEL_MAX {
        return Err(Rejection::LevelUnknown { level: asked, max: LEVEL_MAX });
    }
    if asked < level {
        return Err(Rejection::LevelReached { level });
    }
    if asked > level {
        if level == 0 {
            operation::begin_watermark(change)?;
        }
        if level < PROOFS_LEVEL && asked >= PROOFS_LEVEL {
            change.put(RowKey::ProofsBegin, Record::ProofsBegin)?;
        }
        if level < ACCOUNTS_LEVEL && asked >= ACCOUNTS_LEVEL {
            change.put(RowKey::AccountsBegin, Record::AccountsBegin)?;
        }
        change.put(RowKey::Level, Record::Level(asked))?;
    }
    Ok(Done::Changed)
}

/// Removes rows of level 0 that level 1 no longer reads. Each command removes a bounded number: a
/// State of a million domains has too many for one command.
pub(super) fn remove_left_over(change: &mut Changing<'_>) -> Result<(), Rejection> {
    if change.state.level() == 0 {
        return Ok(());
    }
    let rows: Vec<RowKey> =
        change.state.left_over_rows().take(LEFT_OVER_ROWS_PER_COMMAND).cloned().collect();
    rows.iter().try_for_each(|key| change.remove(key))
}
