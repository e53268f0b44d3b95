//! Rules for the audit trail: a change writes its entry in the same step.

pub mod facts;

use std::collections::BTreeSet;

use super::{Changing, level::GRANTS_LEVEL, too_many, unchanged::is_bookkeeping};
use crate::{
    command::{Action, CutAudit},
    limits::{
        AUDIT_CUT_MAX, AUDIT_DIFFERENCES_MAX, AUDIT_KEPT_MAX, AUDIT_MAX, AUDIT_NOTES_MAX,
        AUDIT_VALUE_BYTES_MAX,
    },
    outcome::{Done, Rejection},
    record::{
        AuditCut, AuditDifference, AuditEntry, AuditEvent, AuditResult, ProofOf, Record, RowKey,
    },
    state::State,
};

/// Returns whether the command is one of those that the audit trail tells, and changes something.
pub(super) fn is_told(change: &Changing<'_>) -> bool {
    let is_other = |key: &RowKey| {
        let record = |state: &State| state.row(key).map(|row| row.record.clone());
        !is_bookkeeping(key) && record(change.before) != record(&change.state)
    };
    change.state.level() >= GRANTS_LEVEL
        && change.command.action.event().is_some()
        && change.changes.iter().any(|one| is_other(&one.key))
}

/// Adds the entry of the command. A command whose entry cannot be added is refused.
pub(super) fn tell(change: &mut Changing<'_>) -> Result<(), Rejection> {
    let Some(event) = change.command.action.event().filter(|_| is_told(change)) else {
        return Ok(());
    };
    let command = change.command;
    let told = AuditEvent {
        time: command.time,
        principal: command.principal.clone(),
        origin: command.origin.clone(),
        event: event.to_owned(),
        result: AuditResult::Done,
        object: command.action.object(),
        code: None,
        differences: differences(change),
        reason: command.reason.clone(),
        operation: Some(command.operation.clone()),
    };
    append(change, told)
}

/// Adds entries about what changed nothing.
pub(super) fn note(change: &mut Changing<'_>, events: &[AuditEvent]) -> Result<Done, Rejection> {
    if events.len() > AUDIT_NOTES_MAX {
        return Err(too_many("entries of the audit trail at once", AUDIT_NOTES_MAX));
    }
    for event in events {
        append(change, event.clone())?;
    }
    Ok(Done::Changed)
}

/// Removes the oldest entries.
pub(super) fn cut(change: &mut Changing<'_>, cut: &CutAudit) -> Result<Done, Rejection> {
    let (begin, wrong) = (change.state.audit_cut().first, Rejection::AuditCutWrong(cut.first));
    let removed = cut.first.saturating_sub(begin);
    let before = cut.first.saturating_sub(1);
    let last = change.state.audit(before..=before).next();
    let is_right = last.is_some_and(|(_, entry)| entry.hash == cut.previous);
    if removed == 0 || removed > AUDIT_CUT_MAX || !is_right {
        return Err(wrong);
    }
    for number in begin..cut.first {
        change.remove(&RowKey::Audit(number))?;
    }
    let record = AuditCut { first: cut.first, previous: cut.previous, time: change.command.time };
    change.put(RowKey::AuditCut, Record::AuditCut(record.into()))?;
    change.put(RowKey::Proof(ProofOf::AuditCut), Record::Proof(cut.proof))?;
    Ok(Done::Changed)
}

/// Sets how many entries are kept.
pub(super) fn keep(change: &mut Changing<'_>, count: u32) -> Result<Done, Rejection> {
    if count > AUDIT_KEPT_MAX {
        let max = usize::try_from(AUDIT_KEPT_MAX).unwrap_or(usize::MAX);
        return Err(too_many("entries of the audit trail", max));
    }
    change.put(RowKey::AuditKept, Record::AuditKept(count))?;
    Ok(Done::Changed)
}

fn append(change: &mut Changing<'_>, event: AuditEvent) -> Result<(), Rejection> {
    let begin = change.state.audit_cut();
    let last = change.state.audit_last().map(|(number, entry)| (number, entry.hash));
    let (last, previous) = last.unwrap_or((begin.first.saturating_sub(1), begin.previous));
    let number = last.saturating_add(1);
    if number.saturating_sub(begin.first) >= AUDIT_MAX {
        let max = usize::try_from(AUDIT_MAX).unwrap_or(usize::MAX);
        return Err(too_many("entries of the audit trail", max));
    }
    let entry = AuditEntry::new(number, previous, event);
    change.put(RowKey::Audit(number), Record::Audit(entry.into()))
}

/// Compares the rows that the command has changed, before and after.
fn differences(change: &Changing<'_>) -> Vec<AuditDifference> {
    let mut told = Vec::new();
    let mut seen = BTreeSet::new();
    let renamed = match &change.command.action {
        Action::RenameDomain(old, new) => Some((old, new)),
        _ => None,
    };
    for key in change.changes.iter().map(|one| &one.key) {
        if !seen.insert(key) || renamed.is_some_and(|(old, _)| *key == RowKey::Domain(old.clone()))
        {
            continue;
        }
        let was = match renamed {
            Some((old, new)) if *key == RowKey::Domain(new.clone()) => RowKey::Domain(old.clone()),
            _ => key.clone(),
        };
        let before = change.before.row(&was).map(|row| facts::of(&was, &row.record));
        let after = change.state.row(key).map(|row| facts::of(key, &row.record));
        told.extend(pairs(before.unwrap_or_default(), after.unwrap_or_default()));
        if told.len() >= AUDIT_DIFFERENCES_MAX {
            told.truncate(AUDIT_DIFFERENCES_MAX);
            break;
        }
    }
    told
}

/// Pairs the facts of both sides by name. Leaves out what is the same.
fn pairs(before: facts::Facts, mut after: facts::Facts) -> Vec<AuditDifference> {
    let mut told = Vec::new();
    for (what, was) in before {
        let place = after.iter().position(|(other, _)| *other == what);
        let is = place.map(|place| after.remove(place).1);
        if is.as_ref() != Some(&was) {
            told.push(difference(what, Some(was), is));
        }
    }
    told.extend(after.into_iter().map(|(what, is)| difference(what, None, Some(is))));
    told
}

fn difference(what: String, before: Option<String>, after: Option<String>) -> AuditDifference {
    AuditDifference { what, before: before.map(bounded), after: after.map(bounded) }
}

/// Cuts a long value.
fn bounded(mut text: String) -> String {
    if text.len() > AUDIT_VALUE_BYTES_MAX {
        let end = (0..=AUDIT_VALUE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}
