//! Snapshot files: written once, read by transfers, gone with their last user.
//!
//! They need not survive a restart, because the state itself does.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::machine::View;

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
    pub(crate) fn reader(&self) -> io::Result<impl Read> {
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
pub(crate) fn build(dir: &Path, view: &dyn View) -> io::Result<SnapshotFile> {
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
