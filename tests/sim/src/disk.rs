//! A disk below the files of one directory: what was synced stays. At a power cut any part of
//! the rest may go, sector by sector; names go from the newest on.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use conclave_disk::{DiskFile, Files, Space};
use conclave_raft::executor::{self, rng::Rng, since_start, trace};

use crate::oracle;

const SECTOR: usize = 512;
/// Room for everything, unless the disk is full.
const ROOM: u64 = 1 << 32;

/// What is there, and what is sure to stay.
#[derive(Clone, Default)]
struct Content {
    files: BTreeMap<u64, File>,
    /// As the process sees them.
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    /// Changes of names since the last sync of the directory, oldest first.
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Default)]
struct File {
    cached: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors that differ, or may.
    dirty: BTreeSet<usize>,
}

pub struct Disk {
    node: usize,
    content: Content,
    next: u64,
    rng: Rng,
    /// Goes up with every death of the process: its handles do nothing any more.
    life: u64,
    /// How many times slower than usual.
    pub slow_factor: u64,
    pub is_full: bool,
    /// One of so many syncs fails; 0: none.
    pub failing_one_in: u64,
    /// The node dies within this many operations.
    pub dies_in: Option<u64>,
    /// The content at the moment at which the node died; it runs on until its step is over.
    died_with: Option<Content>,
    has_failed: bool,
}

pub type SharedDisk = Arc<Mutex<Disk>>;

impl Disk {
    pub fn new(node: usize, rng: Rng) -> SharedDisk {
        Arc::new(Mutex::new(Disk {
            node,
            content: Content::default(),
            next: 0,
            rng,
            life: 0,
            slow_factor: 1,
            is_full: false,
            failing_one_in: 0,
            dies_in: None,
            died_with: None,
            has_failed: false,
        }))
    }

    /// The process is gone. Without power the page cache is gone, too.
    pub fn crash(&mut self, is_power_cut: bool) {
        self.life += 1;
        self.dies_in = None;
        self.has_failed = false;
        if let Some(content) = self.died_with.take() {
            self.content = content;
        }
        if is_power_cut {
            self.lose();
        }
    }

    /// Whether a sync has failed since the process began: then it may well stop.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn lose(&mut self) {
        let Content { files, names, synced_names, changes } = &mut self.content;
        let kept = self.rng.below(changes.len() as u64 + 1) as usize;
        for change in changes.drain(..).take(kept) {
            apply(synced_names, change);
        }
        *names = synced_names.clone();
        let mut lost = 0;
        // Usually one part stays and the rest goes; sometimes each sector is drawn.
        let keep_permille = [0, 500, 900, 1000][self.rng.below(4) as usize];
        for file in files.values_mut() {
            if file.cached.len() != file.synced.len() {
                let (low, high) = (
                    file.cached.len().min(file.synced.len()) as u64,
                    file.cached.len().max(file.synced.len()) as u64,
                );
                let length = self.rng.range(low, high + 1) as usize;
                file.synced.resize(length, 0);
            }
            for sector in std::mem::take(&mut file.dirty) {
                if self.rng.chance(keep_permille) {
                    keep(file, sector);
                } else {
                    lost += 1;
                }
            }
            file.cached.clone_from(&file.synced);
        }
        let is_named = |id: &u64| names.values().any(|named| named == id);
        files.retain(|id, _| is_named(id));
        trace::event(since_start(), "power", &[self.node as u64, kept as u64, lost]);
    }

    /// How long the next device sync takes.
    pub fn latency(&mut self) -> Duration {
        let micros = match self.rng.below(1000) {
            0..2 => self.rng.range(50_000, 400_000),
            2..30 => self.rng.range(5_000, 50_000),
            _ => self.rng.range(150, 2_500),
        };
        // What is going on when all is healed ends soon enough for liveness.
        Duration::from_micros((micros * self.slow_factor).min(3_000_000))
    }

    /// Counts an operation of a process; it may be its last.
    fn operate(&mut self, life: u64) -> io::Result<()> {
        if self.life != life {
            return Err(io::Error::other("the process is gone"));
        }
        if let Some(left) = &mut self.dies_in {
            if *left == 0 {
                self.dies_in = None;
                self.died_with = Some(self.content.clone());
                executor::doom(self.node);
            } else {
                *left -= 1;
            }
        }
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: Change) {
    match change {
        Change::Create(name, id) => {
            names.insert(name, id);
        }
        Change::Rename(from, to) => {
            if let Some(id) = names.remove(&from) {
                names.insert(to, id);
            }
        }
        Change::Remove(name) => {
            names.remove(&name);
        }
    }
}

/// A sector becomes durable.
fn keep(file: &mut File, sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(file.cached.len()).min(file.synced.len());
    if start < end {
        file.synced[start..end].copy_from_slice(&file.cached[start..end]);
    }
}

/// The directory, for one life of a process.
pub struct Directory {
    disk: SharedDisk,
    life: u64,
}

struct Handle {
    disk: SharedDisk,
    life: u64,
    id: u64,
}

impl Directory {
    pub fn open(disk: &SharedDisk) -> Directory {
        Directory { disk: Arc::clone(disk), life: disk.lock().unwrap().life }
    }

    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk.lock().unwrap();
        disk.operate(self.life)?;
        Ok(disk)
    }

    fn handle(&self, id: u64) -> Arc<dyn DiskFile> {
        Arc::new(Handle { disk: Arc::clone(&self.disk), life: self.life, id })
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Files for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.disk()?.content.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = *self.disk()?.content.names.get(name).ok_or_else(missing)?;
        Ok(self.handle(id))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut disk = self.disk()?;
        disk.next += 1;
        let id = disk.next;
        disk.content.files.insert(id, File::default());
        disk.content.names.insert(name.to_owned(), id);
        disk.content.changes.push(Change::Create(name.to_owned(), id));
        Ok(self.handle(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk()?;
        let content = &mut disk.content;
        let id = content.names.remove(from).ok_or_else(missing)?;
        content.names.insert(to.to_owned(), id);
        content.changes.push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk()?;
        let content = &mut disk.content;
        content.names.remove(name).ok_or_else(missing)?;
        content.changes.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        let Content { files, names, synced_names, changes } = &mut disk.content;
        changes.clear();
        synced_names.clone_from(names);
        files.retain(|id, _| names.values().any(|named| named == id));
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let free = if self.disk()?.is_full { 0 } else { ROOM };
        Ok(Space { free, total: u64::MAX })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("simulated")
    }
}

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut Disk, &mut File) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock().unwrap();
        disk.operate(self.life)?;
        // A file without a name lives as long as its handle.
        let mut file = disk.content.files.remove(&self.id).unwrap_or_default();
        let result = work(&mut disk, &mut file);
        disk.content.files.insert(self.id, file);
        result
    }
}

impl DiskFile for Handle {
    fn bytes(&self) -> io::Result<u64> {
        self.with(|_, file| Ok(file.cached.len() as u64))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|_, file| {
            let start = offset as usize;
            let found = file.cached.get(start..start + bytes.len());
            bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|disk, file| {
            let (start, end) = (offset as usize, offset as usize + bytes.len());
            if end > file.cached.len() {
                if disk.is_full {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                file.cached.resize(end, 0);
            }
            file.cached[start..end].copy_from_slice(bytes);
            file.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk, file| {
            let is_failing = disk.failing_one_in > 0 && disk.rng.below(disk.failing_one_in) == 0;
            let dirty = std::mem::take(&mut file.dirty);
            trace::event(
                since_start(),
                "sync",
                &[disk.node as u64, dirty.len() as u64, is_failing.into()],
            );
            if is_failing {
                // The kernel counts the pages as clean: no later sync writes them.
                disk.has_failed = true;
                oracle::counts(|counts| counts.failed_syncs += 1);
                return Err(io::Error::from_raw_os_error(5));
            }
            file.synced.resize(file.cached.len(), 0);
            for sector in dirty {
                keep(file, sector);
            }
            Ok(())
        })
    }
}
