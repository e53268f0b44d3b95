//! Snapshots: a view of the state in memory, written to a file only when a peer needs it.
//!
//! A file is written once, read by transfers, and removed with its last user. It need not survive a
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

/// The state as of some entry. Taking a snapshot costs nothing, however large the state is. This
/// matters because every node takes one each time it shortens its log, and few are ever sent.
#[derive(Clone)]
pub(crate) struct Snapshot {
    content: Arc<Mutex<Content>>,
    /// Result of staging, kept until installation.
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

    /// Creates a snapshot of `view`. If it is sent, its file is written to `dir`.
    pub(crate) fn of_view(view: Box<dyn View>, dir: PathBuf) -> Snapshot {
        Snapshot::new(Content::View { view, dir })
    }

    /// Creates a snapshot from a file received from a peer.
    pub(crate) fn of_file(file: SnapshotFile) -> Snapshot {
        Snapshot::new(Content::File(file))
    }

    /// Makes the snapshot durable beside the state. Blocks, for seconds if the state is large.
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

    /// Keeps the result of [`Self::stage`] until [`Self::take_staged`].
    pub(crate) fn set_staged(&self, staged: Staged) {
        *self.staged.lock().unwrap_or_else(PoisonError::into_inner) = Some(staged);
    }

    /// Takes the result kept by [`Self::set_staged`], if any.
    pub(crate) fn take_staged(&self) -> Option<Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the file of the snapshot, and writes it first if there is none. Blocks, for seconds
    /// if the state is large.
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

/// A complete snapshot file. Removed when the last clone is dropped.
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
        // If this fails, the next start removes the file.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl SnapshotFile {
    /// Returns the length of the state, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// Returns the CRC-32 of the state.
    pub(crate) fn checksum(&self) -> u32 {
        self.shared.checksum
    }

    /// Opens the state for reading from its beginning.
    pub(crate) fn reader(&self) -> io::Result<impl Read + use<>> {
        Ok(BufReader::with_capacity(1 << 16, File::open(&self.shared.path)?))
    }
}

/// Writer of a new snapshot file. Keeps count of bytes and the checksum.
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

/// Writes the state of `view` to a new file.
fn write(dir: &Path, view: &dyn View) -> io::Result<SnapshotFile> {
    let mut writer = SnapshotWriter::create(dir)?;
    view.write(&mut writer)?;
    writer.finish()
}

/// Removes the files of an earlier process.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(dir),
    }
}
