//! One sled database whose synced commits survive a power cut.

use std::{
    fs::File,
    io,
    ops::RangeBounds,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    error::{Fault, OpenError},
    guard,
    record::{self, Batch},
};

/// Longest time for whoever had the database open to let go of it: sled's own threads, or a
/// process that is about to end, do so a little late.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How to open a database.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Memory that sled may use for pages, in bytes. The system keeps the file at hand as well.
    pub cache_bytes: u64,
}

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions { cache_bytes: 4 * 1024 * 1024 }
    }
}

/// A database: several trees that are synced together.
#[derive(Clone)]
pub struct Disk {
    db: sled::Db,
    was_created: bool,
}

impl Disk {
    /// Opens the database in `dir`, or makes it. Refused if the sync guard is not in force.
    /// sled panics on some damage; that becomes an error here.
    pub fn open(dir: &Path, options: DiskOptions) -> Result<Disk, OpenError> {
        guard::self_check()?;
        let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error)?;
        let config =
            sled::Config::new().path(dir).cache_capacity(options.cache_bytes).flush_every_ms(None);
        let database_error = |reason: String| OpenError::Database { path: dir.to_owned(), reason };
        let deadline = Instant::now() + LOCK_PATIENCE;
        let db = loop {
            let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
                .map_err(|_| database_error("it is damaged".to_owned()))?;
            match opened {
                Err(sled::Error::Io(error))
                    if error.to_string().contains("could not acquire lock")
                        && Instant::now() < deadline =>
                {
                    std::thread::park_timeout(LOCK_PAUSE);
                }
                other => break other.map_err(|error| database_error(error.to_string()))?,
            }
        };
        let was_created = !db.was_recovered();
        sync_directories(dir).map_err(io_error)?;
        Ok(Disk { db, was_created })
    }

    /// Whether this open made the database.
    pub fn was_created(&self) -> bool {
        self.was_created
    }

    /// A tree, made if it does not exist.
    pub fn tree(&self, name: &str) -> Result<Tree, Fault> {
        Ok(Tree { tree: self.db.open_tree(name)?, name: name.to_owned() })
    }

    /// Names of all trees but sled's own.
    pub fn tree_names(&self) -> Vec<String> {
        let names = self.db.tree_names();
        let own = |name: &String| name != "__sled__default";
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).filter(own).collect()
    }

    /// Removes a tree with all that it holds; durable after [`Self::sync`].
    pub fn drop_tree(&self, name: &str) -> Result<(), Fault> {
        self.db.drop_tree(name)?;
        Ok(())
    }

    /// Everything applied before this call is durable when it returns. Blocks for one device
    /// sync.
    pub fn sync(&self) -> Result<(), Fault> {
        self.db.flush()?;
        Ok(())
    }
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
    /// The value of `key`.
    pub fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.tree.get(key)? {
            Some(record) => record::value(&self.name, key, &record).map(Some),
            None => Ok(None),
        }
    }

    /// Records in the order of their keys.
    pub fn range<R: RangeBounds<Vec<u8>>>(
        &self,
        range: R,
    ) -> impl DoubleEndedIterator<Item = Result<Record, Fault>> {
        let name = self.name.clone();
        self.tree.range(range).map(move |found| checked(&name, found?))
    }

    /// The record with the lowest key.
    pub fn first(&self) -> Result<Option<Record>, Fault> {
        self.tree.first()?.map(|found| checked(&self.name, found)).transpose()
    }

    /// The record with the highest key.
    pub fn last(&self) -> Result<Option<Record>, Fault> {
        self.tree.last()?.map(|found| checked(&self.name, found)).transpose()
    }

    /// Does all of `batch` or nothing. Visible at once, durable after [`Disk::sync`].
    pub fn apply(&self, batch: Batch) -> Result<(), Fault> {
        self.tree.apply_batch(batch.checked()?)?;
        Ok(())
    }
}

fn checked(tree: &str, (key, record): (sled::IVec, sled::IVec)) -> Result<Record, Fault> {
    let value = record::value(tree, &key, &record)?;
    Ok((key.to_vec(), value))
}

/// New files exist after a power cut only if their directory was synced.
fn sync_directories(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
