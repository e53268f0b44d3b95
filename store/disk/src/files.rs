//! Files of one directory, handed in: a real disk in production, a disk that loses, tears and
//! fails in simulation.
//!
//! The contract is that of POSIX with a write-back cache. Bytes are durable after
//! [`DiskFile::sync`], names after [`Files::sync`]; until then a power cut may keep any part of
//! what was written, in blocks of 512 bytes and in any order.

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

/// One directory, by the names in it.
pub trait Files: Send + Sync + 'static {
    /// Names of all files in it.
    fn names(&self) -> io::Result<Vec<String>>;
    /// An existing file, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// A new, empty file in the place of any other of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, in the place of any other of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
    /// Bytes that may still be written here by this user.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Where it is, for messages.
    fn path(&self) -> PathBuf;
}

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Its length.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `bytes` from `offset`; an error if the file ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything that was written durable. Blocks for one device sync. After an error
    /// nothing that was written since the last success may be counted on, even if a later sync
    /// succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system.
pub struct Directory {
    path: PathBuf,
}

/// Directories above one that is opened whose names are made durable: `raft` and `data_dir`.
const NAMES_SYNCED: usize = 2;

impl Directory {
    /// Opens the directory, or makes it with its parents, for this user only. Its own name is
    /// durable when this returns.
    pub fn open(path: &Path) -> io::Result<Directory> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // A killed process may have made any of them without a sync, so those that exist count
        // too: without the name of a parent the whole log is gone after a power cut.
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

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.path)
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

/// Bytes that this user may still write on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Takes the lock of the directory `path`, which is made if it does not exist, so that no other
/// process uses what is in it. A process that is about to end lets go of it a little late, so
/// this waits for at most `patience`.
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
