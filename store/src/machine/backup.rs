//! Rules for backups and for restoring one.

use super::{Changing, canary};
use crate::{
    outcome::{Done, Rejection},
    record::{LastBackup, Record, RowKey},
};

/// Notes a complete backup, unless a later one is known.
pub(super) fn note(change: &mut Changing<'_>, backup: LastBackup) -> Result<Done, Rejection> {
    if change.state.last_backup().is_none_or(|known| known.index < backup.index) {
        change.put(RowKey::LastBackup, Record::LastBackup(backup))?;
    }
    Ok(Done::Changed)
}

/// Begins to restore a backup, or goes on after an interruption. Only a cluster without domains can
/// begin.
pub(super) fn begin(change: &mut Changing<'_>) -> Result<Done, Rejection> {
    change.state.cluster().ok_or(Rejection::NoCluster)?;
    if change.state.is_restoring() {
        return Ok(Done::Changed);
    }
    if change.state.domains().next().is_some() {
        return Err(Rejection::NotRestoring);
    }
    change.put(RowKey::Restoring, Record::Restoring(change.command.time))?;
    Ok(Done::Changed)
}

/// Adds rows of a backup as they were. Rows about the old cluster, its members and tokens are not
/// among them: they are another cluster's.
pub(super) fn restore(
    change: &mut Changing<'_>,
    rows: &[(RowKey, Record)],
) -> Result<Done, Rejection> {
    let cluster = change.state.cluster().ok_or(Rejection::NoCluster)?;
    let current = cluster.generation;
    if !change.state.is_restoring() || !rows.iter().all(|(key, _)| is_restorable(key)) {
        return Err(Rejection::NotRestoring);
    }
    for (_, record) in rows {
        for sealed in record.sealed() {
            if sealed.generation != current {
                return Err(Rejection::GenerationOld { found: sealed.generation, current });
            }
        }
    }
    for (key, record) in rows {
        change.put(key.clone(), record.clone())?;
    }
    Ok(Done::Changed)
}

/// Returns whether a row of a backup belongs into a restored cluster.
pub fn is_restorable(key: &RowKey) -> bool {
    matches!(
        key,
        RowKey::Domain(_)
            | RowKey::Chain(_)
            | RowKey::Listener(_)
            | RowKey::ListenerPolicy(_)
            | RowKey::Trusted(_)
            | RowKey::DomainVersion(_)
            | RowKey::Crl(_)
            | RowKey::LongCrl(_)
            | RowKey::CrlPart(_)
            | RowKey::TlsSettings
            | RowKey::PendingKey(_)
            | RowKey::Canary(_)
            | RowKey::SmimeIssuer(_)
            | RowKey::AccountSettings(_)
            | RowKey::Account(_)
            | RowKey::AccountKey(_)
            | RowKey::IssuedCertificate(_)
            | RowKey::Revocation(_)
            | RowKey::RevocationList(_)
    )
}

/// Ends restoring.
pub(super) fn finish(change: &mut Changing<'_>) -> Result<Done, Rejection> {
    if !change.state.is_restoring() {
        return Err(Rejection::NotRestoring);
    }
    // Until here they hold uses of chains that came with the backup.
    canary::clear(change)?;
    change.remove(&RowKey::Restoring)?;
    Ok(Done::Changed)
}
