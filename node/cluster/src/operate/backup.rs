//! Making of backups: a stream of bytes, encoded on a thread of its own.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_api::problem::{Code, Problem};
use conclave_backup::{Content, Header, KeyringKey, Recipient};
use conclave_keys::Purpose;
use conclave_pki::{certificate::Certificate, key::PrivateKey};
use conclave_store::{scope::Scope, state::State};
use conclave_system::clock;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
};
use zeroize::Zeroizing;

use super::Operator;
use crate::fault::internal;

/// The encoding thread works at most 1/`SHARE` of the time, so that changes and handshakes keep
/// their cores.
const SHARE: u32 = 4;
/// Longest rest at a time.
const REST_MAX: Duration = Duration::from_millis(100);
/// Bytes in one piece of the stream.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for the caller.
const PIECES_MAX: usize = 8;
/// A caller that takes nothing for this long is dropped.
const STALL_MAX: Duration = Duration::from_secs(60);

/// The pieces of a backup. An error is the last one: the file is then incomplete.
pub(crate) type Pieces = mpsc::Receiver<io::Result<Vec<u8>>>;

impl Operator {
    /// Makes a backup of the cluster's State at one point, and with `include_local` of this node's
    /// own. State is immutable, so that changes go on meanwhile.
    pub async fn backup(
        &self,
        recipients: Vec<Recipient>,
        include_local: bool,
    ) -> Result<Pieces, Problem> {
        let node = &self.node;
        if let Some(reason) = node.keyring().sealed_reason() {
            let title = format!("{} is sealed: it cannot make a backup", node.config().name);
            return Err(Problem::new(Code::Sealed, title)
                .why(reason)
                .hint(format!("ask another node with --address    or: {}", node.how_to_unseal())));
        }
        let permit = Arc::clone(node.backing_up()).try_acquire_owned().map_err(|_| {
            Problem::new(Code::BackupBusy, "this node makes a backup already")
                .hint("wait for it, or ask another node with --address")
        })?;
        let shared = self.read().await?;
        let local = include_local.then(|| node.local().point().state.clone());
        let keys = self.keys_of(&shared, include_local)?;
        let (certificate, authority) = self.authority_of(&shared)?;
        let work = Work {
            header: Header {
                cluster: cluster(&shared)?.name.clone(),
                cluster_id: cluster(&shared)?.id,
                node: node.config().name.clone(),
                made: clock::now(),
                index: shared.rows().map(|(_, row)| row.changed_at).max().unwrap_or_default(),
                level: shared.level(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                rows: shared.row_count(),
                local_rows: local.as_ref().map(State::row_count),
                recipients: recipients.iter().map(ToString::to_string).collect(),
                authority: certificate,
            },
            recipients,
            keys,
            shared,
            local,
            authority,
        };
        let (pieces, received) = mpsc::channel(PIECES_MAX);
        let handle = Handle::current();
        // Ends by itself: at the latest when the caller has taken nothing for STALL_MAX.
        tokio::task::spawn_blocking(move || work.run(&Output { pieces, handle }, permit));
        Ok(received)
    }

    /// Returns the keys of every generation that State knows.
    fn keys_of(&self, shared: &State, include_local: bool) -> Result<Vec<KeyringKey>, Problem> {
        let keyring = self.node.keyring();
        let held = keyring.generations();
        let scope_id = cluster(shared)?.id;
        let mut keys = Vec::new();
        for (generation, _) in shared.generations() {
            let Some((_, key)) = held.iter().find(|(id, _)| id == generation) else {
                let title = format!("this node does not hold generation {generation}");
                return Err(Problem::new(Code::Sealed, title)
                    .why("a backup without a key of the keyring could not be restored")
                    .hint("ask another node with --address"));
            };
            let key = Zeroizing::new(*key.expose());
            keys.push(KeyringKey { scope: Scope::Shared, scope_id, generation: *generation, key });
        }
        if let Some((scope_id, key)) = keyring.local().filter(|_| include_local) {
            let (generation, key) = (Default::default(), Zeroizing::new(*key.expose()));
            keys.push(KeyringKey { scope: Scope::Local, scope_id, generation, key });
        }
        Ok(keys)
    }

    fn authority_of(&self, shared: &State) -> Result<(Certificate, PrivateKey), Problem> {
        let cluster = cluster(shared)?;
        let unusable = |error: String| internal("the cluster's authority cannot sign", error);
        let keyring = self.node.keyring();
        let opened = keyring.open(Scope::Shared, Purpose::Authority, &cluster.authority_key);
        let opened = opened.map_err(|error| unusable(error.to_string()))?;
        let key = PrivateKey::from_pkcs8_der(opened.expose());
        let certificate = Certificate::from_der(&cluster.authority_der);
        Ok((
            certificate.map_err(|error| unusable(error.to_string()))?,
            key.map_err(|error| unusable(error.to_string()))?,
        ))
    }
}

fn cluster(shared: &State) -> Result<&conclave_store::record::Cluster, Problem> {
    shared
        .cluster()
        .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster yet"))
}

/// Everything that the encoding thread needs.
struct Work {
    header: Header,
    recipients: Vec<Recipient>,
    keys: Vec<KeyringKey>,
    shared: State,
    local: Option<State>,
    authority: PrivateKey,
}

impl Work {
    fn run(self, out: &Output, permit: OwnedSemaphorePermit) {
        let started = Instant::now();
        let mut writer = Pieced { out, piece: Vec::with_capacity(PIECE_BYTES), bytes: 0 };
        let content =
            Content { keys: &self.keys, shared: &self.shared, local: self.local.as_ref() };
        let mut begun = Instant::now();
        let mut pace = || {
            let rest = (begun.elapsed() * (SHARE - 1)).min(REST_MAX);
            std::thread::park_timeout(rest);
            begun = Instant::now();
            Ok(())
        };
        let written = conclave_backup::write(
            &self.header,
            &self.recipients,
            &content,
            &self.authority,
            &mut pace,
            &mut writer,
        );
        let (bytes, took_ms) = (writer.bytes, started.elapsed().as_millis());
        let recipients = self.header.recipients.join(" ");
        match written {
            Ok(()) => tracing::info!(
                event = "backup.made", index = %self.header.index, bytes, took_ms, recipients
            ),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(event = "backup.ended", %error, ?cause, bytes, recipients);
                // The stream must not end as if it were complete.
                let _ = out.send(Err(io::Error::other(error.to_string())));
            }
        }
        drop(permit);
    }
}

/// The way to the caller.
struct Output {
    pieces: mpsc::Sender<io::Result<Vec<u8>>>,
    handle: Handle,
}

impl Output {
    fn send(&self, piece: io::Result<Vec<u8>>) -> io::Result<()> {
        let sent = tokio::time::timeout(STALL_MAX, self.pieces.send(piece));
        match self.handle.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the caller has gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the caller takes nothing")),
        }
    }
}

/// Cuts what is written into pieces.
struct Pieced<'a> {
    out: &'a Output,
    piece: Vec<u8>,
    bytes: u64,
}

impl Write for Pieced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES.saturating_sub(self.piece.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.piece.extend_from_slice(taken);
        self.bytes += u64::try_from(taken.len()).unwrap_or_default();
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.piece.is_empty() {
            true => Ok(()),
            false => {
                let next = Vec::with_capacity(PIECE_BYTES);
                self.out.send(Ok(std::mem::replace(&mut self.piece, next)))
            }
        }
    }
}
