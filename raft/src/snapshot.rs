//! Snapshots: a view of the state, which becomes a file when a peer needs it.
//!
//! Files are written once, read by transfers, gone with their last user. They need not survive a
//! restart, because the state itself does.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use openraft::alias::SnapshotMetaOf;

use crate::{
    machine::{Staged, Stager, View},
    types::{Position, Types},
    wire::{self, CheckpointV1},
};

/// The state as of some entry. Taking one costs nothing, however large the state: every node
/// takes one each time that it shortens its log, and few are ever sent.
#[derive(Clone)]
pub(crate) struct Snapshot {
    content: Arc<Mutex<Content>>,
    /// What came of staging it, until it is installed.
    staged: Arc<Mutex<Option<Staged>>>,
}

enum Content {
    View { view: Box<dyn View>, dir: PathBuf },
    File(SnapshotFile),
}

impl Snapshot {
    fn new(content: Content) -> Snapshot {
        Snapshot { content: Arc::new(Mutex::new(content)), staged: Arc::default() }
    }

    /// A snapshot of what `view` shows; if it is sent, its file lies in `dir`.
    pub(crate) fn of_view(view: Box<dyn View>, dir: PathBuf) -> Snapshot {
        Snapshot::new(Content::View { view, dir })
    }

    /// One that came from a peer.
    pub(crate) fn of_file(file: SnapshotFile) -> Snapshot {
        Snapshot::new(Content::File(file))
    }

    /// Makes it durable beside the state. Blocks, for seconds if the state is large.
    pub(crate) fn stage(
        &self,
        meta: &SnapshotMetaOf<Types>,
        stager: &dyn Stager,
    ) -> io::Result<Staged> {
        let position = meta.last_log_id.as_ref().map(Position::of);
        let checkpoint = wire::encode(&CheckpointV1::new(position, &meta.last_membership))?;
        let file = self.file()?;
        let mut reader = file.reader()?;
        let index = position.map_or(0, |position| position.index);
        stager.stage(&mut reader, &checkpoint, index).map_err(io::Error::other)
    }

    /// Keeps what [`Self::stage`] gave until [`Self::take_staged`].
    pub(crate) fn set_staged(&self, staged: Staged) {
        *self.staged.lock().unwrap_or_else(PoisonError::into_inner) = Some(staged);
    }

    /// What was staged before.
    pub(crate) fn take_staged(&self) -> Option<Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Its file, written now unless there is one. Blocks, for seconds if the state is large.
    pub(crate) fn file(&self) -> io::Result<SnapshotFile> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &*content {
            Content::File(file) => return Ok(file.clone()),
            Content::View { view, dir } => write(dir, view.as_ref())?,
        };
        *content = Content::File(file.clone());
        Ok(file)
    }
}

/// A finished snapshot on disk; the file goes with the last clone.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    bytes: u64,
    checksum: u32,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A file that stays is removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl SnapshotFile {
    /// Length of the state, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// CRC-32 of the state.
    pub(crate) fn checksum(&self) -> u32 {
        self.shared.checksum
    }

    /// The state, from its beginning.
    pub(crate) fn reader(&self) -> io::Result<impl Read + use<>> {
        Ok(BufReader::with_capacity(1 << 16, File::open(&self.shared.path)?))
    }
}

/// Writes into a new file and keeps count and checksum.
pub(crate) struct SnapshotWriter {
    out: BufWriter<File>,
    shared: Shared,
    hasher: crc32fast::Hasher,
}

impl SnapshotWriter {
    pub(crate) fn create(dir: &Path) -> io::Result<SnapshotWriter> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(dir)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("snapshot-{number}"));
        let out = BufWriter::with_capacity(1 << 16, File::create(&path)?);
        let shared = Shared { path, bytes: 0, checksum: 0 };
        Ok(SnapshotWriter { out, shared, hasher: crc32fast::Hasher::new() })
    }

    pub(crate) fn finish(mut self) -> io::Result<SnapshotFile> {
        self.out.flush()?;
        self.shared.checksum = self.hasher.finalize();
        Ok(SnapshotFile { shared: Arc::new(self.shared) })
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.shared.bytes += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes what `view` shows.
fn write(dir: &Path, view: &dyn View) -> io::Result<SnapshotFile> {
    let mut writer = SnapshotWriter::create(dir)?;
    view.write(&mut writer)?;
    writer.finish()
}

/// Removes what an earlier process left.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(dir),
    }
}
