//! A copy of the audit trail in a file of this node: one line for each entry, as the hash is about.
//!
//! The cluster keeps a number of entries, a file keeps what the operator keeps. After a restart the
//! file goes on with the entry after its last one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use conclave_store::{scope::Scope, state::State};

use super::limits::{AUDIT_FILES_KEPT, AUDIT_LINE_BYTES_MAX, AUDIT_WRITE_MAX};
use crate::{node::Node, replica::Replica};

/// Pause before a file that cannot be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Copies entries as they are applied. Runs until dropped.
pub(super) async fn follow(node: Node, replica: Replica) {
    let Some(path) = node.config().audit_file.clone() else { return };
    let bytes_max = node.config().audit_file_bytes;
    let mut reports = node.live().reports(Scope::Shared);
    let mut is_failing = false;
    loop {
        let (state, to) = (replica.point().state.clone(), path.clone());
        let copied = tokio::task::spawn_blocking(move || copy(&to, bytes_max, &state));
        match copied.await {
            Ok(Ok(true)) => continue,
            Ok(Ok(false)) => {
                if is_failing {
                    tracing::info!(event = "audit.file_written", path = %path.display());
                }
                is_failing = false;
            }
            Ok(Err(error)) => {
                if !is_failing {
                    tracing::warn!(event = "audit.file_failed", path = %path.display(), %error);
                }
                is_failing = true;
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(_) => return,
        }
        if reports.changed().await.is_err() {
            return;
        }
    }
}

/// Writes the entries that the file does not have yet, up to a bound. Returns whether there are
/// more.
fn copy(path: &Path, bytes_max: u64, state: &State) -> io::Result<bool> {
    let Some((last, _)) = state.audit_last() else { return Ok(false) };
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    let known = match last_number(&mut file)? {
        Some(number) => number,
        // A file that was just put aside: the next entry follows the last one there.
        None => match File::open(aside(path, 1)) {
            Ok(mut earlier) => last_number(&mut earlier)?.unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        },
    };
    let first = known + 1;
    if last < first {
        return Ok(false);
    }
    let begin = state.audit_cut().first;
    if known > 0 && begin > first {
        tracing::warn!(event = "audit.file_gap", from = first, to = begin - 1);
    }
    let mut lines = String::new();
    for (number, entry) in state.audit(first..=last).take(AUDIT_WRITE_MAX) {
        lines.push_str(&entry.line(number));
        lines.push('\n');
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()?;
    if file.metadata()?.len() >= bytes_max {
        put_aside(path)?;
    }
    Ok(last - first >= u64::try_from(AUDIT_WRITE_MAX).unwrap_or(u64::MAX))
}

/// Reads the number of the last whole line. Cuts off a line that a crash left unfinished.
fn last_number(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(AUDIT_LINE_BYTES_MAX * 2);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(AUDIT_LINE_BYTES_MAX * 2).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < tail.len() {
        file.set_len(start + u64::try_from(whole).unwrap_or_default())?;
    }
    let text = String::from_utf8_lossy(tail.get(..whole).unwrap_or_default()).into_owned();
    let Some(line) = text.lines().last() else { return Ok(None) };
    let digits = line.strip_prefix("{\"sequence\":").and_then(|rest| rest.split(',').next());
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(io::Error::other("its last line is no entry of an audit trail")),
    }
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Puts the file aside as the youngest of those that are kept.
fn put_aside(path: &Path) -> io::Result<()> {
    for number in (1..AUDIT_FILES_KEPT).rev() {
        match std::fs::rename(aside(path, number), aside(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, aside(path, 1))
}

#[cfg(test)]
mod tests {
    use conclave_store::{
        command::{Action, Command, FoundCluster},
        id::{ClusterId, ClusterName, Generation, LogIndex, NodeId, NodeName},
        machine,
        record::{Cluster, KeyringGeneration, LEVEL_MAX, Member, MemberRole, Sealed, TlsSettings},
        time::UnixMillis,
    };

    use super::*;

    fn found() -> Action {
        let sealed = Sealed { generation: Generation(1), nonce: [1; 12], ciphertext: vec![2; 40] };
        let cluster = Cluster {
            id: ClusterId([1; 16]),
            name: ClusterName::parse("test").unwrap(),
            authority_der: vec![1],
            authority_key: sealed,
            generation: Generation(1),
            node_last: NodeId(1),
            founded: UnixMillis(0),
        };
        let member = Member {
            id: NodeId(1),
            name: NodeName::parse("node-1").unwrap(),
            role: MemberRole::Voter,
            identity_der: vec![1; 10],
            sealing_key: [3; 32],
            address: "127.0.0.1:1".to_owned(),
            joined: UnixMillis(0),
        };
        let wraps = [(NodeId(1), serde_bytes::ByteBuf::from(vec![9; 80]))].into();
        let keyring = KeyringGeneration { wraps, made: UnixMillis(0) };
        Action::FoundCluster(Box::new(FoundCluster { cluster, member, keyring }))
    }

    fn apply(state: &State, number: u64, action: Action) -> State {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let command = Command::by_node(NodeId(1), random, UnixMillis(number), action);
        machine::apply(state, LogIndex(number), &command).state
    }

    fn changed(state: &State, number: u64) -> State {
        let ttl = u32::try_from(number).unwrap();
        let settings = TlsSettings { session_ttl_s: ttl, ..TlsSettings::default() };
        apply(state, number, Action::SetTlsSettings(Box::new(settings)))
    }

    fn numbers(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let number = |line: &str| line[12..].split(',').next().unwrap().parse().unwrap();
        text.lines().map(number).collect()
    }

    #[test]
    fn a_file_has_each_entry_once_whatever_interrupts_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let mut state = apply(&State::default(), 1, found());
        assert!(!copy(&path, u64::MAX, &state).unwrap(), "no trail yet");
        state = apply(&state, 2, Action::SetLevel(LEVEL_MAX));
        for number in 3..10 {
            state = changed(&state, number);
            copy(&path, u64::MAX, &state).unwrap();
            copy(&path, u64::MAX, &state).unwrap();
        }
        assert_eq!(numbers(&path), (1..=8).collect::<Vec<_>>());
        // A crash in the middle of a line.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 20]).unwrap();
        copy(&path, u64::MAX, &state).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        // Small files: each entry is in one of them.
        for number in 10..40 {
            state = changed(&state, number);
            copy(&path, 1_000, &state).unwrap();
        }
        let mut all: Vec<u64> =
            (1..=AUDIT_FILES_KEPT).rev().flat_map(|one| numbers(&aside(&path, one))).collect();
        all.extend(numbers(&path));
        let first = all[0];
        assert_eq!(all, (first..=38).collect::<Vec<_>>());
        assert!(!aside(&path, AUDIT_FILES_KEPT + 1).exists());
        std::fs::write(&path, "something else\n").unwrap();
        assert!(copy(&path, 1_000, &state).is_err(), "not its file");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else\n");
    }
}
