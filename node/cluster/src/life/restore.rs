//! Restoring a backup: founds a cluster, and orders the rows with their secrets sealed for it.

use std::{sync::Arc, time::Duration};

use conclave_api::{
    backup::{Key, Restore},
    problem::{Code, Problem},
};
use conclave_backup::Part;
use conclave_keys::{BackupKeys, GenerationKey};
use conclave_store::{
    command::{Action, Command},
    id::{ClusterId, ClusterName, Fingerprint, Generation, OperationId, ServerName},
    outcome::Outcome,
    record::{Principal, Record, RowKey},
    scope::Scope,
    wire,
};
use conclave_system::{clock, entropy};
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::{
    found::found,
    limits::{RESTORE_COMMANDS_AT_ONCE, RESTORE_KEYS_MAX, RESTORED_BYTES_PER_COMMAND},
};
use crate::{
    admit::rejection_problem,
    fault::{disk_full, internal},
    node::Node,
    replica::{ExecuteError, Replica, Wait},
};

/// Longest time for one command of a restore.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How often the level of the rules is looked at. It rises within a second of the founding.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Founds a cluster for the rows of a backup and keeps the keys of the backup in memory until the
/// end of the restore. In a cluster whose restore is unfinished it only keeps the keys.
pub async fn begin_restore(
    node: &Node,
    restore: Restore,
    principal: Principal,
) -> Result<(), Problem> {
    let name = ClusterName::parse(&restore.name)
        .map_err(|error| Problem::new(Code::Malformed, error.to_string()))?;
    let keys = read_keys(&restore.keys)?;
    match node.replica() {
        Ok(replica) if replica.point().state.is_restoring() => {}
        Ok(replica) if is_fresh(&replica, &name) => {}
        // Says that the node belongs to a cluster already, if it does.
        _ => found(node, name, principal.clone()).await?,
    }
    let replica = node.replica()?;
    let action = Action::BeginRestore;
    let deadline = Instant::now() + TIMEOUT;
    while replica.point().state.level() < action.level() {
        if Instant::now() >= deadline {
            let title = "the new cluster does not reach the level of its rules";
            return Err(Problem::new(Code::NoLeader, title).hint("repeat the command"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    order(&replica, &principal, action).await?;
    node.set_restoring(Some(Arc::new(keys)));
    Ok(())
}

/// Returns whether an earlier attempt founded this cluster and ended before it began to restore.
fn is_fresh(replica: &Replica, name: &ClusterName) -> bool {
    let state = &replica.point().state;
    state.cluster().is_some_and(|cluster| cluster.name == *name)
        && state.members().count() == 1
        && state.domains().next().is_none()
        && state.listeners().next().is_none()
}

fn read_keys(keys: &[Key]) -> Result<BackupKeys, Problem> {
    let malformed = || Problem::new(Code::Malformed, "a key of the backup cannot be read");
    if keys.len() > RESTORE_KEYS_MAX {
        return Err(malformed());
    }
    let mut read = BackupKeys::default();
    for one in keys {
        let scope_id = ClusterId::parse(&one.scope_id).ok_or_else(malformed)?;
        let Fingerprint(key) = Fingerprint::parse(&one.key).ok_or_else(malformed)?;
        let key = GenerationKey::from_bytes(key);
        read.add(Scope::Shared, scope_id, Generation(one.generation), key);
    }
    Ok(read)
}

/// Orders rows of a backup, with their secrets sealed for this cluster. Returns their number.
pub async fn restore_rows(node: &Node, part: &[u8], principal: &Principal) -> Result<u64, Problem> {
    let replica = node.replica()?;
    let keys = node.restoring().ok_or_else(not_restoring)?;
    let (part, its_node, principal) = (part.to_vec(), node.clone(), principal.clone());
    let packed = tokio::task::spawn_blocking(move || packed(&its_node, &keys, &part, &principal));
    let packed = packed.await.map_err(|error| internal("the rows of the backup", error))??;
    let orders = packed.into_iter().map(|(command, count)| {
        let replica = &replica;
        async move { order_encoded(replica, &command).await.map(|()| count) }
    });
    // Several at once share the syncs of the log.
    let orders = futures::stream::iter(orders).buffer_unordered(RESTORE_COMMANDS_AT_ONCE);
    orders.try_fold(0, |sum, count| async move { Ok(sum + count) }).await
}

/// Ends the restore. Returns the number of rows in the cluster.
pub async fn finish_restore(node: &Node, principal: &Principal) -> Result<u64, Problem> {
    let replica = node.replica()?;
    order(&replica, principal, Action::FinishRestore).await?;
    node.set_restoring(None);
    Ok(replica.point().state.row_count())
}

fn not_restoring() -> Problem {
    Problem::new(Code::NotRestoring, "this node restores no backup now")
        .why("it was started anew since, or the restore has ended")
        .hint("conclave backup restore FILE --identity KEYFILE    begins, or goes on")
}

/// An encoded command, and the number of its rows.
type Packed = (Vec<u8>, u64);

/// Seals the secrets of the rows anew and divides the rows into commands.
fn packed(
    node: &Node,
    keys: &BackupKeys,
    part: &[u8],
    principal: &Principal,
) -> Result<Vec<Packed>, Problem> {
    let rows = Part::rows(part)
        .map_err(|error| Problem::new(Code::Malformed, format!("rows of a backup: {error}")))?;
    let (mut all, mut together, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (key, record, length) in rows {
        check_main_domain(node, &record)?;
        let sealed = keys.resealed(Scope::Shared, &key, &record, node.keyring());
        let sealed = sealed.map_err(|error| {
            Problem::new(Code::BackupDamaged, "a secret of the backup does not open")
                .detail(error.to_string())
                .hint("conclave backup verify FILE --identity KEYFILE    says which")
        })?;
        if bytes + length > RESTORED_BYTES_PER_COMMAND && !together.is_empty() {
            pack(principal, std::mem::take(&mut together), &mut all)?;
            bytes = 0;
        }
        bytes += length;
        together.push((key, sealed));
    }
    pack(principal, together, &mut all)?;
    Ok(all)
}

/// Encodes rows as one command, or as several if they are too many for one.
fn pack(
    principal: &Principal,
    mut rows: Vec<(RowKey, Record)>,
    all: &mut Vec<Packed>,
) -> Result<(), Problem> {
    let count = u64::try_from(rows.len()).unwrap_or_default();
    match encoded(principal, Action::RestoreRows(rows.clone())) {
        Ok(command) => all.push((command, count)),
        Err(_) if rows.len() > 1 => {
            let others = rows.split_off(rows.len() / 2);
            pack(principal, rows, all)?;
            pack(principal, others, all)?;
        }
        Err(problem) => return Err(problem),
    }
    Ok(())
}

/// Refuses a domain with the name of this node's Main Domain, which is local to it.
fn check_main_domain(node: &Node, record: &Record) -> Result<(), Problem> {
    let Record::Domain(domain) = record else { return Ok(()) };
    let main = ServerName::from(node.config().main_domain.clone());
    match domain.server_names().any(|name| name == main) {
        true => Err(Problem::new(
            Code::NameTaken,
            format!("{main} is the Main Domain of this node and a name of {}", domain.name),
        )
        .hint("set another main_domain in the configuration of the node, then restore again")),
        false => Ok(()),
    }
}

/// Encodes a command of a restore.
fn encoded(principal: &Principal, action: Action) -> Result<Vec<u8>, Problem> {
    let now = clock::now();
    let command = Command {
        operation: OperationId::new(now, entropy::array()),
        principal: principal.clone(),
        request: [0; 32],
        time: now,
        reason: None,
        expects: Vec::new(),
        action,
        origin: None,
    };
    wire::encode_command(&command).map_err(|error| {
        Problem::new(Code::LimitReached, "a row of the backup is too large for one command")
            .detail(error.to_string())
    })
}

async fn order(replica: &Replica, principal: &Principal, action: Action) -> Result<(), Problem> {
    order_encoded(replica, &encoded(principal, action)?).await
}

async fn order_encoded(replica: &Replica, command: &[u8]) -> Result<(), Problem> {
    let executed = replica.execute(command, Wait::Committed, Instant::now() + TIMEOUT).await;
    let executed = executed.map_err(|error| match error {
        ExecuteError::NoRoom => disk_full("the disk of this node has too little room"),
        error => Problem::new(Code::NoLeader, "the new cluster cannot decide now")
            .detail(error.to_string())
            .hint("repeat the command: it goes on where it was"),
    })?;
    replica.wait_applied(executed.index.0, TIMEOUT).await;
    match executed.outcome {
        Outcome::Done(_) => Ok(()),
        Outcome::Rejected(rejection) => Err(rejection_problem(&rejection)),
    }
}
