//! Rules for TLS settings.

use super::Changing;
use crate::{
    id::Version,
    outcome::{Done, Rejection},
    record::{Record, RowKey, TlsSettings},
};

/// Replaces the settings and keeps the number of flushes. Equal settings make no new version.
pub(super) fn set(change: &mut Changing<'_>, settings: &TlsSettings) -> Result<Done, Rejection> {
    let before = change.state.tls_settings();
    let same = TlsSettings { flushes: before.flushes, version: before.version, ..settings.clone() };
    if same == before {
        return Ok(Done::TlsSettings(before.version));
    }
    put(change, TlsSettings { version: Version(before.version.0 + 1), ..same })
}

/// Ends all sessions: their tickets are bound to the number of flushes.
pub(super) fn flush(change: &mut Changing<'_>) -> Result<Done, Rejection> {
    let before = change.state.tls_settings();
    let version = Version(before.version.0 + 1);
    put(change, TlsSettings { flushes: before.flushes + 1, version, ..before })
}

fn put(change: &mut Changing<'_>, settings: TlsSettings) -> Result<Done, Rejection> {
    let version = settings.version;
    change.put(RowKey::TlsSettings, Record::TlsSettings(settings.into()))?;
    Ok(Done::TlsSettings(version))
}
