//! `conclave backup create`: receives a backup from a node and keeps it in a file.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use conclave_api::{
    backup::{Create, LastBackup},
    problem::{Code, Problem},
};
use conclave_backup::{Header, Inspected};
use conclave_client::{Client, Failure};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::{
    super::{Asking, Done, unwritable},
    kept, made,
};
use crate::{
    args::{Creating, Source},
    output,
};

/// What was made, as JSON shows it.
#[derive(Serialize)]
struct Made {
    file: String,
    cluster: String,
    made: String,
    index: u64,
    rows: u64,
    bytes: u64,
    removed: Vec<String>,
}

pub(super) async fn create(asking: &Asking, creating: Creating) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    let create =
        Create { recipients: creating.recipient.clone(), include_local: creating.include_local };
    let part = part_of(&creating);
    let mut file = open_part(&part)?;
    let received = receive(client, &create, &mut file, &part).await;
    let finished = received.and_then(|()| finish(&creating, &part));
    let (inspected, path) = match finished {
        Ok(finished) => finished,
        Err(failure) => {
            let _ = std::fs::remove_file(&part);
            return Err(failure);
        }
    };
    let header = &inspected.header;
    note(asking, client, header).await;
    let removed = match (&creating.out_dir, creating.keep) {
        (Some(dir), Some(keep)) => kept::remove_older(dir, header, keep)?,
        _ => Vec::new(),
    };
    let shown = Made {
        file: path.display().to_string(),
        cluster: header.cluster.to_string(),
        made: made(header),
        index: header.index.0,
        rows: header.rows,
        bytes: inspected.bytes,
        removed: removed.iter().map(|path| path.display().to_string()).collect(),
    };
    if !output::object_of(global, "Backup", &shown.file, &shown) {
        let text = format!(
            "Backup of cluster {:?} in {}: {} rows at index {}, {} bytes",
            shown.cluster, shown.file, shown.rows, shown.index, shown.bytes
        );
        output::success(global, &text);
        shown.removed.iter().for_each(|path| output::success(global, &format!("Removed {path}")));
        output::advice(
            global,
            &format!("Next: conclave backup verify {} --identity KEYFILE", shown.file),
        );
    }
    Ok(0)
}

/// Returns the path for the incomplete backup, on the file system of the complete one.
fn part_of(creating: &Creating) -> PathBuf {
    match (&creating.out, &creating.out_dir) {
        (Some(out), _) => {
            let mut name = out.clone().into_os_string();
            name.push(".part");
            name.into()
        }
        (None, dir) => dir.clone().unwrap_or_default().join("new.part"),
    }
}

/// Opens the file for the incomplete backup, which one process writes at a time.
fn open_part(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|error| unwritable(path, &error))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let title = format!("another backup is being written to {}", path.display());
        Box::new(Problem::new(Code::BackupBusy, title).hint("wait for it, or give another file"))
    })?;
    file.set_len(0).map_err(|error| unwritable(path, &error))?;
    Ok(file)
}

async fn receive(
    client: &Client,
    create: &Create,
    file: &mut File,
    part: &Path,
) -> Result<(), Failure> {
    let mut download = client.create_backup(create).await?;
    while let Some(piece) = download.next().await? {
        file.write_all(piece.as_ref()).map_err(|error| unwritable(part, &error))?;
    }
    file.sync_all().map_err(|error| unwritable(part, &error))
}

/// Reads the whole file back, and gives it its name only if it is right.
fn finish(creating: &Creating, part: &Path) -> Result<(Inspected, PathBuf), Failure> {
    let source = Source { file: part.to_owned(), authority: None };
    let inspected = super::whole(&source).map_err(|failure| -> Failure {
        Box::new(
            Problem::new(Code::BackupIncomplete, "the backup did not arrive as it was made")
                .detail(failure.title.clone())
                .hint("repeat the command"),
        )
    })?;
    let path = match (&creating.out, &creating.out_dir) {
        (Some(out), _) => out.clone(),
        (None, dir) => dir.clone().unwrap_or_default().join(kept::file_name(&inspected.header)),
    };
    std::fs::rename(part, &path).map_err(|error| unwritable(&path, &error))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let synced = File::open(dir.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
    synced.map_err(|error| unwritable(&path, &error))?;
    Ok((inspected, path))
}

/// Tells the cluster that there is a new backup, for `conclave status`. The backup is good without.
async fn note(asking: &Asking, client: &Client, header: &Header) {
    if asking.global.stale {
        // Without a quorum nothing can be noted, and the caller wants no wait for one.
        return;
    }
    let last =
        LastBackup { time_ms: header.made.0, index: header.index.0, node: header.node.to_string() };
    if let Err(failure) = client.note_backup(&last).await {
        let text = format!("the cluster did not note the backup: {}", failure.title);
        output::warning(&asking.global, &text);
    }
}
