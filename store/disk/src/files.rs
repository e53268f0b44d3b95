//! File interface of one directory, passed in by the caller: a real disk in production; in
//! simulation a disk that loses, tears and fails writes.
//!
//! The contract is that of POSIX with a write-back cache. Bytes are durable after
//! [`DiskFile::sync`], names after [`Files::sync`]. Until then a power cut may keep any part of the
//! written data, in blocks of 512 bytes and in any order.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::FlockOperation;

const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Files of one directory, by their names.
pub trait Files: Send + Sync + 'static {
    /// Returns the names of all files in the directory.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file, and replaces any file of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, and replaces any file of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
    /// Returns the space here.
    fn space(&self) -> io::Result<Space>;
    /// Returns the path of the directory, for messages.
    fn path(&self) -> PathBuf;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Returns the length of the file.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `bytes` from `offset`. Fails if the file ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written durable. Blocks for one device sync. After an error, nothing
    /// written since the last successful sync can be relied on, even if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system.
pub struct Directory {
    path: PathBuf,
}

/// Number of parent directories whose names are made durable on open: `raft` and `data_dir`.
const NAMES_SYNCED: usize = 2;

impl Directory {
    /// Opens the directory, or creates it and its parents, accessible to this user only. Its own
    /// name is durable on return.
    pub fn open(path: &Path) -> io::Result<Directory> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // Sync existing parents as well, because a killed process may have created them without a
        // sync. If a power cut loses the name of a parent, the whole log is lost.
        for parent in path.ancestors().skip(1).take(NAMES_SYNCED) {
            if !parent.as_os_str().is_empty() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Directory { path: path.to_owned() })
    }
}

impl Files for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // Names that are not Unicode are not ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(options.open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        space(&self.path)
    }

    fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes still available to this user.
    pub free: u64,
    /// Bytes of the whole file system.
    pub total: u64,
}

impl Space {
    /// A small disk needs less in reserve than a large one: at most this share of it.
    const SHARE: u64 = 12;

    /// Returns the reserve to keep free: `most` bytes, or less on a small disk.
    pub fn reserve(self, most: u64) -> u64 {
        most.min(self.total / Space::SHARE)
    }
}

/// Returns the space on the file system of `path`.
pub fn space(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
}

/// Locks the directory `path` against other processes, and creates it if it does not exist. Waits
/// at most for `patience`, because an exiting process may release the lock a little late.
pub fn lock(path: &Path, patience: Duration) -> io::Result<File> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mut options = OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(false).mode(0o600).open(path.join("LOCK"))?;
    let deadline = Instant::now() + patience;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK && Instant::now() < deadline => {
                std::thread::park_timeout(LOCK_PAUSE);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let what = "another process uses it";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_less_free_than_a_large_one() {
        const MIB: u64 = 1024 * 1024;
        let reserve = |total: u64| Space { free: 0, total: total * MIB }.reserve(64 * MIB) / MIB;
        assert_eq!([reserve(24), reserve(600), reserve(768), reserve(250_000)], [2, 50, 64, 64]);
    }
}
