//! A sled database whose synced commits survive a power cut.

use std::{
    fs::File,
    io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    error::{Fault, OpenError},
    guard,
    old::OldTree,
    record::{Assembly, Batch, piece_key, split_key},
};

/// Longest wait for the lock of the database. The previous holder, either sled's own threads or an
/// exiting process, may release it a little late.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Options of [`Disk::open`].
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Size of sled's page cache, in bytes. The operating system caches the file as well.
    pub cache_bytes: u64,
}

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions { cache_bytes: 4 * 1024 * 1024 }
    }
}

/// A database: several trees, synced together.
#[derive(Clone)]
pub struct Disk {
    db: sled::Db,
    was_created: bool,
    /// sled's directory for oversized pages, which it never syncs.
    blobs: PathBuf,
}

impl Disk {
    /// Opens the database in `dir`, or creates it. Fails if the sync guard is not in force.
    /// Converts a panic of sled, which some damage causes, into an error.
    pub fn open(dir: &Path, options: DiskOptions) -> Result<Disk, OpenError> {
        guard::self_check()?;
        let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error)?;
        remove_unfinished(dir).map_err(io_error)?;
        read_through(dir)?;
        let config =
            sled::Config::new().path(dir).cache_capacity(options.cache_bytes).flush_every_ms(None);
        let database_error = |reason: String| OpenError::Database { path: dir.to_owned(), reason };
        let deadline = Instant::now() + LOCK_PATIENCE;
        let db = loop {
            let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
                .map_err(|_| database_error("it is damaged".to_owned()))?;
            match opened {
                Err(sled::Error::Io(error))
                    if error.to_string().contains("could not acquire lock") =>
                {
                    if Instant::now() >= deadline {
                        return Err(OpenError::InUse { path: dir.to_owned() });
                    }
                    std::thread::park_timeout(LOCK_PAUSE);
                }
                other => break other.map_err(|error| database_error(error.to_string()))?,
            }
        };
        let was_created = !db.was_recovered();
        // Sync before anything relies on data that a killed process left unsynced.
        File::open(dir.join("db")).and_then(|db| db.sync_all()).map_err(io_error)?;
        // sled writes its settings once and never syncs them, but does not open without them.
        File::open(dir.join("conf")).and_then(|conf| conf.sync_all()).map_err(io_error)?;
        sync_directories(dir).map_err(io_error)?;
        Ok(Disk { db, was_created, blobs: dir.join("blobs") })
    }

    /// Returns whether this call of `open` created the database.
    pub fn was_created(&self) -> bool {
        self.was_created
    }

    /// Opens a tree, or creates it.
    pub fn tree(&self, name: &str) -> Result<Tree, Fault> {
        let tree = guarded(|| Ok(self.db.open_tree(name)?))?;
        Ok(Tree { tree, name: name.to_owned() })
    }

    /// Opens a tree of a database of version 0.1.0.
    pub fn old_tree(&self, name: &str) -> Result<OldTree, Fault> {
        let tree = guarded(|| Ok(self.db.open_tree(name)?))?;
        Ok(OldTree { tree, name: name.to_owned() })
    }

    /// Returns the names of all trees except sled's own.
    pub fn tree_names(&self) -> Vec<String> {
        let names = self.db.tree_names();
        let own = |name: &String| name != "__sled__default";
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).filter(own).collect()
    }

    /// Removes a tree and its content; durable after [`Self::sync`].
    pub fn drop_tree(&self, name: &str) -> Result<(), Fault> {
        guarded(|| Ok(self.db.drop_tree(name).map(|_| ())?))
    }

    /// Makes everything applied before this call durable. Blocks for one device sync.
    pub fn sync(&self) -> Result<(), Fault> {
        guarded(|| Ok(self.db.flush().map(|_| ())?))?;
        // Files in this directory were never synced. Records are cut into pieces so that none
        // appear.
        let has_blobs =
            std::fs::read_dir(&self.blobs).is_ok_and(|mut blobs| blobs.next().is_some());
        if has_blobs { Err(Fault::Blobs { path: self.blobs.clone() }) } else { Ok(()) }
    }
}

/// Reads every file once. sled takes a read that fails while it opens for the end of its log, and
/// overwrites what follows: a disk that fails for a moment would cost the data. What can be read
/// here comes from memory when sled reads it.
fn read_through(dir: &Path) -> Result<(), OpenError> {
    let entries =
        std::fs::read_dir(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
    for entry in entries {
        let io_error = |path: &Path, source| OpenError::Io { path: path.to_owned(), source };
        let path = entry.map_err(|source| io_error(dir, source))?.path();
        if path.is_file() {
            let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
            read.map_err(|source| io_error(&path, source))?;
        }
    }
    Ok(())
}

/// Removes unfinished snapshots, left by sled when its process was killed. sled would take one for
/// the newest, and would never open again.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Calls sled, and converts a panic, which some damage causes, into an error.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Fault::Panicked))
}

/// An ordered map of checksummed records.
#[derive(Clone)]
pub struct Tree {
    tree: sled::Tree,
    name: String,
}

/// Key and value of a record.
type Record = (Vec<u8>, Vec<u8>);

impl Tree {
    fn damaged(&self) -> Fault {
        Fault::Damaged { tree: self.name.clone() }
    }

    /// Reads the head piece of `key`.
    fn head(&self, key: &[u8]) -> Result<Option<Assembly>, Fault> {
        let found = guarded(|| Ok(self.tree.get(piece_key(key, 0))?))?;
        found.map(|head| Assembly::new(&head).ok_or_else(|| self.damaged())).transpose()
    }

    /// Reads the value of `key`.
    pub fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let Some(mut assembly) = self.head(key)? else { return Ok(None) };
        for number in 1..assembly.pieces() {
            let piece = guarded(|| Ok(self.tree.get(piece_key(key, number))?))?;
            assembly.push(&piece.ok_or_else(|| self.damaged())?);
        }
        assembly.value(key).ok_or_else(|| self.damaged()).map(Some)
    }

    /// Iterates over all records, shortest keys first.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, Fault>> {
        let (tree, mut pieces) = (self.clone(), self.tree.iter());
        std::iter::from_fn(move || tree.next_record(&mut pieces).transpose())
    }

    fn next_record(&self, pieces: &mut sled::Iter) -> Result<Option<Record>, Fault> {
        let mut next = || guarded(|| Ok(pieces.next().transpose()?));
        let Some((found, head)) = next()? else { return Ok(None) };
        let (key, number) = split_key(&found).ok_or_else(|| self.damaged())?;
        let mut assembly = Assembly::new(&head).filter(|_| number == 0);
        let mut expected: u8 = 0;
        while let Some(unfinished) = assembly.as_mut().filter(|one| !one.is_complete()) {
            expected = expected.saturating_add(1);
            match next()? {
                Some((more, piece)) if split_key(&more) == Some((key, expected)) => {
                    unfinished.push(&piece);
                }
                _ => return Err(self.damaged()),
            }
        }
        let value = assembly.and_then(|assembly| assembly.value(key));
        Ok(Some((key.to_vec(), value.ok_or_else(|| self.damaged())?)))
    }

    /// Applies `batch` completely or not at all. Visible at once, durable after [`Disk::sync`].
    pub fn apply(&self, batch: Batch) -> Result<(), Fault> {
        let pieces = |key: &[u8]| Ok(self.head(key)?.map_or(0, |head| head.pieces()));
        let batch = batch.for_sled(pieces)?;
        guarded(|| Ok(self.tree.apply_batch(batch)?))
    }
}

/// Syncs a directory and its parent: a new file survives a power cut only if its directory was
/// synced.
fn sync_directories(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
