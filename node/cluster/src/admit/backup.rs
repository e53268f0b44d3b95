//! Admission of what is told about backups.

use conclave_api::{
    backup::LastBackup as Told,
    problem::{Code, Problem},
};
use conclave_backup::{Recipient, limits::RECIPIENTS_MAX};
use conclave_store::{command::Action, id::LogIndex, record::LastBackup, time::UnixMillis};

use super::{Admitted, View};

/// Notes a complete backup.
pub fn note_backup(view: &View<'_>, told: &Told) -> Result<Admitted, Problem> {
    let node = view.state.members().find(|(_, member)| member.name.as_str() == told.node);
    let node = node.map(|(id, _)| *id).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("{:?} is no member of this cluster", told.node))
    })?;
    // A wrong clock must not make the last backup look new for ever.
    let time = UnixMillis(told.time_ms).min(view.now);
    let backup = LastBackup { time, index: LogIndex(told.index), node };
    Ok(Admitted::new(Action::NoteBackup(backup), "the last backup"))
}

/// Reads the recipients of a backup.
pub fn recipients(texts: &[String]) -> Result<Vec<Recipient>, Problem> {
    let invalid = |title: String| {
        Problem::new(Code::BackupRecipientInvalid, title)
            .hint("conclave backup keygen --out FILE    makes a key pair, apart from the cluster")
    };
    if !(1..=RECIPIENTS_MAX).contains(&texts.len()) {
        let title = format!("a backup has 1 to {RECIPIENTS_MAX} recipients, not {}", texts.len());
        return Err(invalid(title));
    }
    let read = texts.iter().map(|text| text.parse::<Recipient>());
    read.collect::<Result<_, _>>().map_err(|error| invalid(error.to_string()))
}
