//! Copies of the audit trail outside the cluster, in a file and at a syslog server: each entry as
//! the line of JSON that its hash is about.
//!
//! The cluster keeps a number of entries, a copy keeps what the operator keeps. Each copy is made by
//! a task of its own that reads State, so a copy that fails holds up neither a change nor the other
//! copy, and takes no memory: it reads the same entries again later.

mod file;
mod syslog;

use std::{io, sync::atomic::Ordering::Relaxed};

use conclave_store::{record::AuditEntry, scope::Scope, state::State};

use super::limits::{AUDIT_RETRY, AUDIT_RETRY_MAX, AUDIT_WRITE_BYTES, AUDIT_WRITE_MAX};
use crate::{node::Node, replica::Replica};
use file::FileCopy;
pub(super) use syslog::SENT;
use syslog::SyslogCopy;

/// A place for a copy of the trail.
enum Target {
    File(FileCopy),
    Syslog(SyslogCopy),
}

/// Makes the copies that the configuration asks for. Runs until dropped.
pub(super) async fn follow(node: Node, replica: Replica) {
    let config = node.config();
    let file = config
        .audit_file
        .clone()
        .map(|path| Target::File(FileCopy { path, bytes_max: config.audit_file_bytes }));
    let syslog = config.audit_syslog.clone();
    let syslog = syslog.map(|server| Target::Syslog(SyslogCopy::new(server, node.data_dir())));
    let copies = file.into_iter().chain(syslog);
    futures::future::join_all(copies.map(|copy| copy.follow(&node, &replica))).await;
}

impl Target {
    /// Copies entries as they are applied. Runs until dropped.
    async fn follow(self, node: &Node, replica: &Replica) {
        let mut reports = node.live().reports(Scope::Shared);
        let (to, mut pause, mut is_failing) = (self.name(), AUDIT_RETRY, false);
        loop {
            match self.copy(replica.point().state.clone()).await {
                Ok(Copied { is_all, left_out }) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!(event = "audit.copy_resumed", to);
                    }
                    if left_out > 0 {
                        node.observed().audit_failures.fetch_add(left_out, Relaxed);
                        tracing::warn!(event = "audit.copy_incomplete", to, entries = left_out);
                    }
                    pause = AUDIT_RETRY;
                    if is_all && reports.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    node.observed().audit_failures.fetch_add(1, Relaxed);
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(event = "audit.copy_failed", to, %error);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AUDIT_RETRY_MAX);
                }
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Target::File(file) => file.path.display().to_string(),
            Target::Syslog(syslog) => syslog.server.to_string(),
        }
    }

    /// Copies the entries that the copy does not have yet, up to a bound.
    async fn copy(&self, state: State) -> io::Result<Copied> {
        match self {
            Target::File(file) => {
                let file = file.clone();
                let copied = tokio::task::spawn_blocking(move || file.copy(&state));
                copied.await.map_err(io::Error::other)?
            }
            Target::Syslog(syslog) => syslog.copy(&state).await,
        }
    }
}

/// What came of a round of copying.
#[derive(Debug, Default, PartialEq, Eq)]
struct Copied {
    /// Whether the copy has all entries.
    is_all: bool,
    /// Entries that this copy will never have.
    left_out: u64,
}

/// What the line of an entry begins with.
const LINE_BEGIN: &str = "{\"sequence\":";

/// An entry that a copy has: its number and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Had {
    number: u64,
    hash: String,
}

impl Had {
    /// Parses the line of an entry.
    fn parse(line: &str) -> Option<Had> {
        let digits = line.strip_prefix(LINE_BEGIN)?.split(',').next()?;
        let hash = line.strip_suffix("\"}")?.rsplit_once(",\"hash\":\"")?.1;
        Some(Had { number: digits.parse().ok()?, hash: hash.to_owned() })
    }
}

/// What a copy lacks of the trail.
#[derive(Debug, PartialEq, Eq)]
enum Lacking {
    /// Nothing.
    Nothing,
    /// The entries from a number on.
    From {
        number: u64,
        /// Entries before it that have left the trail uncopied.
        gone: u64,
    },
    /// All entries: the copy is of another trail, as of the cluster before a restore.
    All,
}

/// Compares a trail with the last entries of a copy, in their order.
fn lacking(state: &State, had: &[Had]) -> Lacking {
    let Some((end, _)) = state.audit_last() else { return Lacking::Nothing };
    let first = state.audit_cut().first;
    let Some(last) = had.last() else { return Lacking::From { number: first, gone: 0 } };
    let is_other = match had.iter().rfind(|one| one.number <= end) {
        // Of an entry that has left nothing is known.
        Some(one) => state
            .audit(one.number..=one.number)
            .any(|(_, entry)| entry.hash.to_string() != one.hash),
        // After a restart the last entries may come a moment later.
        None => last.number - end > u64::try_from(AUDIT_WRITE_MAX).unwrap_or(u64::MAX),
    };
    match last.number.saturating_add(1) {
        _ if is_other => Lacking::All,
        next if next > end => Lacking::Nothing,
        next => Lacking::From { number: next.max(first), gone: first.saturating_sub(next) },
    }
}

/// Returns the entries to copy at once, from a number on.
fn batch(state: &State, from: u64) -> Vec<(u64, &AuditEntry, String)> {
    let mut bytes = 0;
    let entries = state.audit(from..=u64::MAX).take(AUDIT_WRITE_MAX);
    let lines = entries.map(|(number, entry)| (number, entry, entry.line(number)));
    lines
        .take_while(|(_, _, line)| {
            let may = bytes < AUDIT_WRITE_BYTES;
            bytes += line.len();
            may
        })
        .collect()
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

    pub(super) fn changed(state: &State, number: u64) -> State {
        let ttl = u32::try_from(number).unwrap();
        let settings = TlsSettings { session_ttl_s: ttl, ..TlsSettings::default() };
        apply(state, number, Action::SetTlsSettings(Box::new(settings)))
    }

    /// A trail with this many entries, of a cluster with this session lifetime.
    pub(super) fn trail(entries: u64, ttl: u32) -> State {
        let state = apply(&State::default(), 1, found());
        let state = apply(&state, 2, Action::SetLevel(LEVEL_MAX));
        let settings = TlsSettings { session_ttl_s: ttl, ..TlsSettings::default() };
        let mut state = apply(&state, 3, Action::SetTlsSettings(Box::new(settings)));
        for number in 4..entries + 2 {
            state = changed(&state, number);
        }
        state
    }

    fn had(state: &State, numbers: std::ops::RangeInclusive<u64>) -> Vec<Had> {
        let lines = state.audit(numbers).map(|(number, entry)| entry.line(number));
        lines.map(|line| Had::parse(&line).unwrap()).collect()
    }

    #[test]
    fn what_a_copy_lacks_is_found_by_numbers_and_hashes() {
        let (state, other) = (trail(20, 60), trail(20, 61));
        assert_eq!(state.audit_last().unwrap().0, 20);
        let from = |number| Lacking::From { number, gone: 0 };
        assert_eq!(lacking(&State::default(), &had(&state, 1..=9)), Lacking::Nothing);
        assert_eq!(lacking(&state, &[]), from(1));
        assert_eq!(lacking(&state, &had(&state, 5..=9)), from(10));
        assert_eq!(lacking(&state, &had(&state, 20..=20)), Lacking::Nothing);
        assert_eq!(lacking(&state, &had(&other, 9..=9)), Lacking::All);
        // After a restart State may end before the copy, for a moment.
        assert_eq!(lacking(&trail(15, 60), &had(&state, 10..=20)), Lacking::Nothing);
        assert_eq!(lacking(&trail(15, 60), &had(&state, 20..=20)), Lacking::Nothing);
        assert_eq!(lacking(&trail(15, 60), &had(&other, 10..=20)), Lacking::All);
        let far = Had { number: 5_000, ..had(&state, 20..=20).remove(0) };
        assert_eq!(lacking(&state, &[far]), Lacking::All);
    }

    #[test]
    fn a_line_tells_its_number_and_its_hash() {
        let state = trail(4, 60);
        let (number, entry) = state.audit_last().unwrap();
        let line = entry.line(number);
        let expected = Had { number, hash: entry.hash.to_string() };
        assert_eq!(Had::parse(&line), Some(expected));
        assert_eq!(Had::parse(&line[..line.len() - 1]), None);
        assert_eq!(Had::parse("something else"), None);
    }
}
