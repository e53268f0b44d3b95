//! `conclave backup keygen`: a key pair for backups.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use conclave_backup::NewIdentity;
use serde::Serialize;
use zeroize::Zeroizing;

use super::super::{Done, unwritable};
use crate::{args::Global, output};

#[derive(Serialize)]
struct Made {
    recipient: String,
    file: String,
}

pub(super) fn keygen(global: &Global, out: &Path) -> Done {
    let made = NewIdentity::make();
    let recipient = made.recipient.to_string();
    let text = Zeroizing::new(format!("# public key: {recipient}\n{}\n", *made.secret));
    // An existing file is never replaced: it may be the only key to many backups.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let written = opened.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| unwritable(out, &error))?;
    let shown = Made { recipient, file: out.display().to_string() };
    if !output::object_of(global, "BackupIdentity", &shown.recipient, &shown) {
        output::line(&shown.recipient);
        let text = format!(
            "Keep {} away from the cluster, and a copy of it: without it no backup can be restored.\nNext: conclave backup create --recipient {} --out FILE",
            shown.file, shown.recipient
        );
        output::advice(global, &text);
    }
    Ok(0)
}
