//! `conclave backup restore`: founds a new cluster and sends it the rows of a backup.

use std::{path::Path, sync::Arc, time::Duration};

use conclave_api::{
    backup::{Key, Restore},
    problem::{Code, Problem},
};
use conclave_backup::{BackupError, Identities, Item, Part, limits::PART_BYTES_MAX, read};
use conclave_client::{Client, Failure};
use conclave_store::{
    id::Fingerprint,
    machine::is_restorable,
    record::{Record, RowKey},
    scope::Scope,
};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    super::{Asking, Done, cluster::about_keys},
    identities, open, verify, whole, wrong,
};
use crate::{
    args::{Opening, Source},
    output,
};

/// Shortest time limit of one request: a node may take longer to store a part than to answer.
const REQUEST_MIN: Duration = Duration::from_secs(60);
/// Parts that are read ahead.
const PARTS_AHEAD: usize = 2;

#[derive(Serialize)]
struct Restored {
    cluster: String,
    id: String,
    fingerprint: String,
    node: String,
    from_cluster_id: String,
    from_index: u64,
    rows: u64,
}

pub(super) async fn restore(
    asking: &Asking,
    source: Source,
    opening: Opening,
    name: Option<String>,
) -> Done {
    let client = asking.client()?.for_one_node()?;
    let client = client.with_timeout(client.timeout().max(REQUEST_MIN));
    let inspected = whole(&source)?;
    let header = inspected.header;
    let identities = Arc::new(identities(&opening.identity)?);
    // Everything is read once before the node is asked for anything.
    let keys = verify::keys(&source.file, &identities)?;
    let restore = Restore {
        name: name.unwrap_or_else(|| header.cluster.to_string()),
        keys: keys
            .iter()
            .map(|key| Key {
                scope_id: key.scope_id.to_string(),
                generation: key.generation.0,
                key: Fingerprint(*key.key).to_string(),
            })
            .collect(),
    };
    let made = client.begin_restore(&restore).await?;
    let mut rows = 0;
    for phase in PHASES {
        rows += send(&client, &source.file, &identities, phase).await?;
    }
    client.finish_restore().await?;
    let shown = Restored {
        cluster: made.cluster.clone(),
        id: made.id.clone(),
        fingerprint: made.fingerprint.clone(),
        node: made.node.clone(),
        from_cluster_id: header.cluster_id.to_string(),
        from_index: header.index.0,
        rows,
    };
    let global = &asking.global;
    if !output::object_of(global, "Restore", &shown.cluster, &shown) {
        let text = format!(
            "Made cluster {:?} (id {}) with one voter, {}, from {} rows of the backup at index {}.",
            shown.cluster, shown.id, shown.node, shown.rows, shown.from_index
        );
        output::success(global, &text);
        if header.local_rows.is_some() {
            let text = "domains that were local to a node are not restored";
            output::warning(global, text);
        }
        about_keys(global, &made);
        output::advice(
            global,
            "Members and tokens of the old cluster are not valid here. Stop its nodes before clients reach this one.\nNext: conclave join-token create    add nodes; conclave token create NAME --role ROLE    for each script",
        );
    }
    Ok(0)
}

/// Rows that are sent together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What domains refer to.
    Bases,
    /// Domains, and what refers to other rows.
    Domains,
    /// Listeners: only now is there something to serve.
    Listeners,
}

/// A node serves each row as it comes, so what a row refers to comes before it.
const PHASES: [Phase; 3] = [Phase::Bases, Phase::Domains, Phase::Listeners];

/// Returns the phase of a row; none if a new cluster does not get it.
fn phase_of(key: &RowKey) -> Option<Phase> {
    match key {
        RowKey::Chain(_)
        | RowKey::Trusted(_)
        | RowKey::Crl(_)
        | RowKey::CrlPart(_)
        | RowKey::TlsSettings
        | RowKey::ListenerPolicy(_) => Some(Phase::Bases),
        RowKey::Listener(_) => Some(Phase::Listeners),
        other => is_restorable(other).then_some(Phase::Domains),
    }
}

/// Sends the rows of one phase, in parts. Returns their number.
async fn send(
    client: &Client,
    file: &Path,
    identities: &Arc<Identities>,
    phase: Phase,
) -> Result<u64, Failure> {
    let (parts, mut received) = mpsc::channel(PARTS_AHEAD);
    let (file, identities) = (file.to_owned(), Arc::clone(identities));
    let reading =
        tokio::task::spawn_blocking(move || read_parts(&file, &identities, phase, &parts));
    let mut rows = 0;
    let mut failed = None;
    while let Some(part) = received.recv().await {
        match client.restore_rows(&part).await {
            Ok(restored) => rows += restored.rows,
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    // Ends the reading, if it has not ended.
    drop(received);
    let read = reading.await.unwrap_or_else(|error| {
        Err(Box::new(
            Problem::new(Code::Internal, "the backup is not read").detail(error.to_string()),
        ))
    });
    match failed {
        Some(failure) => Err(failure),
        None => read.map(|()| rows),
    }
}

fn read_parts(
    file: &Path,
    identities: &Identities,
    phase: Phase,
    parts: &mpsc::Sender<Vec<u8>>,
) -> Result<(), Failure> {
    let mut part = Part::default();
    let mut unwritable = None;
    let mut take = |key: &RowKey, record: &Record| {
        if let Err(error) = part.push(key, record) {
            unwritable = Some(error);
            return false;
        }
        let is_full = part.bytes() >= PART_BYTES_MAX;
        !is_full || parts.blocking_send(std::mem::take(&mut part).into_bytes()).is_ok()
    };
    let done = read(open(file)?, identities, &mut |_, item| match item {
        Item::Row { scope: Scope::Shared, key, record } => match phase_of(&key) {
            Some(its) if its == phase => take(&key, &record),
            _ => true,
        },
        _ => true,
    });
    if let Some(error) = unwritable {
        let title = "a row of the backup cannot be sent";
        return Err(Box::new(Problem::new(Code::Internal, title).detail(error.to_string())));
    }
    match done {
        // The receiver has gone and knows why.
        Err(BackupError::Ended) => Ok(()),
        Err(error) => Err(wrong(file, &error)),
        Ok(_) if part.bytes() == 0 => Ok(()),
        Ok(_) => {
            let _ = parts.blocking_send(part.into_bytes());
            Ok(())
        }
    }
}
