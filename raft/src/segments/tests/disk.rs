//! A disk in memory. A power cut may lose any part of its unsynced data.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use conclave_disk::{DiskFile, Files, Space};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Bytes {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
}

#[derive(Default)]
struct Content {
    files: Vec<Bytes>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    free: u64,
    /// Number of operations before all further ones fail.
    fail_after: Option<u64>,
    operations: u64,
}

/// A disk; cheap to clone, and all clones are the same disk.
#[derive(Clone)]
pub(crate) struct TestDisk(Arc<Mutex<Content>>);

struct TestFile {
    disk: TestDisk,
    number: usize,
}

impl TestDisk {
    pub(crate) fn new() -> TestDisk {
        let free = u64::MAX / 2;
        TestDisk(Arc::new(Mutex::new(Content { free, ..Content::default() })))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn step(&self) -> io::Result<MutexGuard<'_, Content>> {
        let mut content = self.content();
        content.operations += 1;
        let is_over = content.fail_after.is_some_and(|after| content.operations > after);
        if is_over { Err(io::Error::other("the disk is gone")) } else { Ok(content) }
    }

    pub(crate) fn operations(&self) -> u64 {
        self.content().operations
    }

    /// Lets every operation fail after the first `operations`.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.content().fail_after = Some(operations);
    }

    pub(crate) fn set_free(&self, bytes: u64) {
        self.content().free = bytes;
    }

    /// Returns the disk after a power cut: everything synced, and random unsynced sectors.
    pub(crate) fn power_cut(&self, seed: u64) -> TestDisk {
        let mut random = StdRng::seed_from_u64(seed);
        let content = self.content();
        let files = content.files.iter().map(|file| {
            let mut kept = file.durable.clone();
            kept.resize(file.live.len().max(kept.len()), 0);
            let keep_chance = [0.0, 0.2, 0.8, 1.0][random.random_range(0..4)];
            for start in file.dirty.iter().map(|sector| sector * SECTOR) {
                let end = (start + SECTOR).min(file.live.len());
                if random.random_bool(keep_chance) {
                    kept[start..end].copy_from_slice(&file.live[start..end]);
                }
            }
            Bytes { live: kept.clone(), durable: kept, dirty: BTreeSet::new() }
        });
        let files: Vec<Bytes> = files.collect();
        let names = content.durable.clone();
        let left = Content {
            files,
            live: names.clone(),
            durable: names,
            free: content.free,
            ..Content::default()
        };
        TestDisk(Arc::new(Mutex::new(left)))
    }

    /// Returns the disk after a kill of the process: everything written, but no more of it durable
    /// than before.
    pub(crate) fn killed(&self) -> TestDisk {
        let content = self.content();
        let left = Content {
            files: content.files.clone(),
            live: content.live.clone(),
            durable: content.durable.clone(),
            free: content.free,
            ..Content::default()
        };
        TestDisk(Arc::new(Mutex::new(left)))
    }

    /// Damages a file: changes its durable bytes.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.content();
        let number = content.live[name];
        change(&mut content.files[number].live);
        content.files[number].durable = content.files[number].live.clone();
        content.files[number].dirty.clear();
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let content = self.content();
        content.files[content.live[name]].live.clone()
    }
}

impl Files for TestDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.step()?.live.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = *self.step()?.live.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(TestFile { disk: self.clone(), number }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut content = self.step()?;
        content.files.push(Bytes::default());
        let number = content.files.len() - 1;
        content.live.insert(name.to_owned(), number);
        Ok(Arc::new(TestFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.step()?;
        let number = content.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
        content.live.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut content = self.step()?;
        let number = content.live.remove(name).ok_or(io::ErrorKind::NotFound)?;
        let freed = u64::try_from(content.files[number].live.len()).unwrap();
        content.free += freed;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.step()?;
        content.durable = content.live.clone();
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space { free: self.step()?.free, total: u64::MAX })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("disk")
    }
}

impl DiskFile for TestFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.disk.step()?.files[self.number].live.len()).unwrap())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.disk.step()?;
        let start = usize::try_from(offset).unwrap();
        let found = content.files[self.number].live.get(start..start + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.disk.step()?;
        let start = usize::try_from(offset).unwrap();
        let length = content.files[self.number].live.len();
        let more = (start + bytes.len()).saturating_sub(length);
        let more = u64::try_from(more).unwrap();
        if content.free < more {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.free -= more;
        let end = start + bytes.len();
        let file = &mut content.files[self.number];
        file.live.resize(length.max(end), 0);
        file.live[start..end].copy_from_slice(bytes);
        file.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.disk.step()?;
        let file = &mut content.files[self.number];
        file.durable.resize(file.live.len(), 0);
        for start in std::mem::take(&mut file.dirty).into_iter().map(|sector| sector * SECTOR) {
            let end = (start + SECTOR).min(file.live.len());
            file.durable[start..end].copy_from_slice(&file.live[start..end]);
        }
        Ok(())
    }
}
