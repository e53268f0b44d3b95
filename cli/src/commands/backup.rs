//! Commands for backups: making, looking at, testing and restoring them.

mod create;
mod kept;
mod keygen;
mod restore;
mod verify;

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use conclave_api::problem::{Code, Problem};
use conclave_backup::{
    BackupError, Header, Identities, Inspected, inspect, limits::IDENTITY_FILE_BYTES_MAX,
};
use conclave_client::Failure;
use conclave_store::id::Fingerprint;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Asking, Done, file_problem};
use crate::{
    args::{Backup, Global, Source},
    output,
};

pub(super) async fn run(asking: &Asking, command: Backup) -> Done {
    match command {
        Backup::Keygen { out } => keygen::keygen(&asking.global, &out),
        Backup::Create(creating) => create::create(asking, creating).await,
        Backup::Inspect { source } => show(&asking.global, &source),
        Backup::Verify { source, opening } => verify::verify(&asking.global, &source, &opening),
        Backup::Restore { source, opening, name } => {
            restore::restore(asking, source, opening, name).await
        }
    }
}

/// A header, as JSON shows it.
#[derive(Serialize)]
struct Shown {
    file: String,
    cluster: String,
    cluster_id: String,
    authority: String,
    node: String,
    made: String,
    index: u64,
    level: u32,
    version: String,
    rows: u64,
    local_rows: Option<u64>,
    recipients: Vec<String>,
    bytes: u64,
    body_offset: u64,
    body_bytes: u64,
}

fn show(global: &Global, source: &Source) -> Done {
    let Inspected { header, body_offset, body_bytes, bytes } = whole(source)?;
    let shown = Shown {
        file: source.file.display().to_string(),
        cluster: header.cluster.to_string(),
        cluster_id: header.cluster_id.to_string(),
        authority: header.fingerprint().to_string(),
        node: header.node.to_string(),
        made: made(&header),
        index: header.index.0,
        level: header.level,
        version: header.version.clone(),
        rows: header.rows,
        local_rows: header.local_rows,
        recipients: header.recipients.clone(),
        bytes,
        body_offset,
        body_bytes,
    };
    if output::object_of(global, "Backup", &shown.file, &shown) {
        return Ok(0);
    }
    let field = |name: &str, text: &str| output::line(&format!("{name:<12}{text}"));
    field("Cluster", &format!("{} (id {})", shown.cluster, shown.cluster_id));
    field("Authority", &shown.authority);
    field("Made", &format!("{} on {} by version {}", shown.made, shown.node, shown.version));
    let local = shown.local_rows.map(|rows| format!(", {rows} rows local to the node"));
    let rows = format!("{} rows{}", shown.rows, local.unwrap_or_default());
    field("Content", &format!("{rows}, at index {}, level {}", shown.index, shown.level));
    shown.recipients.iter().for_each(|recipient| field("Recipient", recipient));
    field("Size", &format!("{bytes} bytes, {body_bytes} encrypted from offset {body_offset}"));
    field("Signature", "right: nothing was changed since");
    Ok(0)
}

fn made(header: &Header) -> String {
    let millis = i64::try_from(header.made.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map(|at| at.to_string()).unwrap_or_default()
}

fn open(file: &Path) -> Result<BufReader<File>, Failure> {
    let opened = File::open(file).map_err(|error| file_problem(file, error.to_string()))?;
    Ok(BufReader::with_capacity(1 << 16, opened))
}

/// Reads a backup whole and verifies its signature, and that the right cluster made it.
fn whole(source: &Source) -> Result<Inspected, Failure> {
    let inspected = inspect(open(&source.file)?).map_err(|error| wrong(&source.file, &error))?;
    let Some(expected) = &source.authority else { return Ok(inspected) };
    let expected = Fingerprint::parse(&expected.to_ascii_lowercase()).ok_or_else(|| {
        let title = format!("{expected:?} is not a fingerprint");
        Box::new(
            Problem::new(Code::Malformed, title)
                .detail("64 hexadecimal digits")
                .hint("conclave status -o json    shows it, as cluster.fingerprint"),
        )
    })?;
    let found = inspected.header.fingerprint();
    match found == expected {
        true => Ok(inspected),
        false => Err(Box::new(
            Problem::new(Code::BackupOfOtherCluster, "another cluster made this backup")
                .detail(format!("{}: authority {found}", source.file.display()))
                .why(format!("--authority asks for {expected}"))
                .hint("give the backup of that cluster, or leave out --authority"),
        )),
    }
}

/// Reads a file of identities. Its text is wiped from memory.
fn identities(file: &Path) -> Result<Identities, Failure> {
    let unreadable = |error: std::io::Error| file_problem(file, error.to_string());
    let mut text = Zeroizing::new(String::new());
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(IDENTITY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Identities::parse(&text).map_err(|error| -> Failure {
        let title = format!("{}: {error}", file.display());
        Box::new(
            Problem::new(Code::BackupRecipientInvalid, title)
                .hint("give the file that conclave backup keygen or age-keygen wrote"),
        )
    })
}

/// Describes a backup that cannot be used.
fn wrong(file: &Path, error: &BackupError) -> Failure {
    let shown = file.display();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let problem = match error {
        BackupError::Read(error) => return file_problem(file, error.to_string()),
        error if error.is_of_later_version() => {
            Problem::new(Code::VersionTooOld, format!("{shown}: {error}"))
                .hint("use the version of conclave that made it, or a later one")
        }
        BackupError::Identity => {
            Problem::new(Code::BackupIdentityWrong, format!("the identity does not open {shown}"))
                .why("it was encrypted to other recipients")
                .hint(format!("conclave backup inspect {shown}    shows the recipients"))
        }
        error => Problem::new(Code::BackupDamaged, format!("{shown}: {error}"))
            .why("every byte of a backup is signed, so nothing of this file can be trusted")
            .hint("take another copy of it, or an earlier backup"),
    };
    Box::new(match cause {
        Some(cause) => problem.detail(cause),
        None => problem,
    })
}
