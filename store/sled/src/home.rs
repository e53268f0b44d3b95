//! State's home on disk: it follows the State in memory, with a small delay.
//!
//! The applying thread only records changes ([`Home::put`]). [`Home::turn`] writes all recorded
//! changes, in atomic batches that have their checkpoints in them. The disk therefore always holds
//! the complete State as of some command. Later commands are in the log.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use conclave_disk::{Batch, Disk, DiskOptions, Fault, Space, Tree};
use conclave_store::{
    change::Change,
    record::LEVEL_MAX,
    state::{State, StoredRow},
    wire,
};

use crate::{
    OpenError,
    layout::{self, CHECKPOINT_KEY, Checkpoint, POINTER_KEY, POINTER_TREE, tree_name},
    limits::{
        PART_BYTES, PART_ROWS, ROOM_BYTES, STAGE_BATCH_BYTES, STAGE_BATCH_ROWS, WAITING_BYTES_MAX,
    },
};

/// Content of a home, as loaded from disk.
pub struct Loaded {
    /// The open home.
    pub home: Home,
    /// The State.
    pub state: State,
    /// Checkpoint bytes of the last turn; `None` for a new home.
    pub checkpoint: Option<Vec<u8>>,
    /// Index of the last command in the State.
    pub index: u64,
}

/// Result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was waiting.
    Idle,
    /// Everything waiting is durable.
    Written,
    /// The disk has too little room. Everything continues to wait.
    NoRoom {
        /// Free bytes.
        free: u64,
        /// Required bytes.
        wanted: u64,
    },
}

/// The home of one scope's State; cheap to clone.
#[derive(Clone)]
pub struct Home {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    disk: Disk,
    persisted: Arc<AtomicU64>,
    /// Locked for an instant only.
    waiting: Mutex<Waiting>,
    /// Locked while rows are written.
    rows: Mutex<Rows>,
}

/// Changes since the last turn, the earliest first. sled frees nothing that it read and replaced
/// before a batch is through, so none is large.
#[derive(Default)]
struct Waiting(VecDeque<Part>);

impl Waiting {
    fn bytes(&self) -> usize {
        self.0.iter().map(|part| part.bytes).sum()
    }

    /// Takes changes into the last part, or into a new one if that is full.
    fn put<'a>(&mut self, changes: impl Iterator<Item = &'a Change>, checkpoint: Checkpoint) {
        if let Some(last) = self.0.back_mut().filter(|part| !part.is_full()) {
            last.checkpoint = checkpoint;
            last.put(changes);
        } else {
            let mut part = Part { rows: BTreeMap::new(), bytes: 0, checkpoint };
            part.put(changes);
            self.0.push_back(part);
        }
    }
}

/// Changes of successive commands: the newest row of each key, and the checkpoint after them.
struct Part {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    checkpoint: Checkpoint,
}

impl Part {
    fn is_full(&self) -> bool {
        self.rows.len() >= PART_ROWS || self.bytes >= PART_BYTES
    }

    fn put<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) {
        let length = |row: &Option<Vec<u8>>| row.as_ref().map_or(0, Vec::len);
        for change in changes {
            let (key, row) = (wire::key_payload(&change.key_bytes), change.row_bytes.clone());
            self.bytes += length(&row);
            match self.rows.insert(key.to_vec(), row) {
                Some(old) => self.bytes = self.bytes.saturating_sub(length(&old)),
                None => self.bytes += key.len(),
            }
        }
    }

    /// Writes the changes, and returns the index of the last command in them.
    fn write(self, tree: &Tree) -> Result<u64, Fault> {
        let mut batch = Batch::default();
        for (key, row) in self.rows {
            match row {
                Some(row) => batch.put(&key, &row),
                None => batch.remove(&key),
            }
        }
        batch.put(CHECKPOINT_KEY, &self.checkpoint.encode());
        tree.apply(batch)?;
        Ok(self.checkpoint.index)
    }
}

/// The current tree of rows.
struct Rows {
    pointer: Tree,
    tree: Tree,
    number: u64,
    /// Whether trees other than the current one may exist.
    has_leftovers: bool,
}

/// A State staged on disk, not yet the current one. If dropped without [`Home::install`], it is
/// removed by a turn after the next installed State, or at the next [`Home::open`].
pub struct Stage {
    home: Home,
    tree: Tree,
    number: u64,
    state: State,
    checkpoint: Checkpoint,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.home.rows().has_leftovers = true;
    }
}

impl Home {
    /// Opens the home in `dir`, or creates an empty one. Fails if count or digest of the rows
    /// differ from the checkpoint. Changes nothing on a full disk.
    pub fn open(dir: &Path, options: DiskOptions) -> Result<Loaded, OpenError> {
        check_room(dir, 1, 0)?;
        let disk = Disk::open(dir, options)?;
        let pointer = disk.tree(POINTER_TREE)?;
        let number = match pointer.read(POINTER_KEY)? {
            Some(bytes) => layout::number(&bytes).ok_or(OpenError::Layout("pointer"))?,
            None => 0,
        };
        let tree = disk.tree(&tree_name(number))?;
        let (state, checkpoint) = load(&tree, number)?;
        let index = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.index);
        let home = Home {
            shared: Arc::new(Shared {
                path: dir.to_owned(),
                disk,
                persisted: Arc::new(AtomicU64::new(index)),
                waiting: Mutex::default(),
                rows: Mutex::new(Rows { pointer, tree, number, has_leftovers: false }),
            }),
        };
        // Nothing is being staged yet, so every other tree is a leftover.
        home.drop_trees(|other| other != number)?;
        let checkpoint = checkpoint.map(|checkpoint| checkpoint.bytes);
        Ok(Loaded { home, state, checkpoint, index })
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.shared.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a shared counter: the index of the last command whose effect is durable.
    pub fn persisted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.persisted)
    }

    /// Records the changes of the command at `index`; `state` is the State after it. Returns false
    /// if so much is waiting that the caller should wait too.
    pub fn put<'a>(
        &self,
        changes: impl IntoIterator<Item = &'a Change>,
        checkpoint: &[u8],
        index: u64,
        state: &State,
    ) -> bool {
        let mut waiting = self.waiting();
        waiting.put(changes.into_iter(), Checkpoint::of(state, index, checkpoint));
        waiting.bytes() <= WAITING_BYTES_MAX
    }

    /// Returns the free bytes, and how many must be free before larger changes are recorded.
    pub fn room(&self) -> io::Result<(u64, u64)> {
        let space = space(&self.shared.path)?;
        Ok((space.free, space.reserve(ROOM_BYTES).saturating_mul(2)))
    }

    /// Returns whether the caller holds the only clone.
    pub fn is_unused(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Returns whether so much is waiting that applying should wait.
    pub fn is_full(&self) -> bool {
        self.waiting().bytes() > WAITING_BYTES_MAX
    }

    /// Makes all changes durable that were recorded before. Blocks for a few device syncs. After an
    /// error the home must not be written again.
    pub fn turn(&self) -> Result<Turn, Fault> {
        let mut rows = self.rows();
        let (parts, bytes) = {
            let waiting = self.waiting();
            if waiting.0.is_empty() && !rows.has_leftovers {
                return Ok(Turn::Idle);
            }
            (waiting.0.len(), u64::try_from(waiting.bytes()).unwrap_or(u64::MAX))
        };
        let space = space(&self.shared.path).map_err(Fault::Room)?;
        let wanted = space.reserve(ROOM_BYTES).saturating_add(bytes.saturating_mul(2));
        let free = space.free;
        if free < wanted {
            return Ok(Turn::NoRoom { free, wanted });
        }
        let mut written = None;
        // What comes meanwhile waits for the next turn.
        for _ in 0..parts {
            let part = self.waiting().0.pop_front();
            written = part.map(|part| part.write(&rows.tree)).transpose()?.or(written);
        }
        if let Some(index) = written {
            self.shared.disk.sync()?;
            self.shared.persisted.fetch_max(index, Ordering::AcqRel);
        }
        self.drop_leftovers(&mut rows)?;
        Ok(if written.is_some() { Turn::Written } else { Turn::Idle })
    }

    /// Writes `state`, as of the command at `index`, beside the current State; durable on return.
    /// Blocks, for seconds if the State is large, while turns continue.
    pub fn stage(&self, state: State, checkpoint: &[u8], index: u64) -> Result<Stage, OpenError> {
        check_room(&self.shared.path, 2, 0)?;
        let number = self.unused_number();
        let tree = self.shared.disk.tree(&tree_name(number))?;
        let checkpoint = Checkpoint::of(&state, index, checkpoint);
        let stage = Stage { home: self.clone(), tree, number, state, checkpoint };
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for (key, row) in stage.state.rows() {
            let key = wire::encode_key(key)?;
            let row = wire::encode_row(row.changed_at, &row.record)?;
            bytes += key.len() + row.len();
            batch.put(wire::key_payload(&key), &row);
            if batch.len() >= STAGE_BATCH_ROWS || bytes >= STAGE_BATCH_BYTES {
                check_room(&self.shared.path, 1, 0)?;
                stage.tree.apply(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        batch.put(CHECKPOINT_KEY, &stage.checkpoint.encode());
        stage.tree.apply(batch)?;
        self.shared.disk.sync()?;
        Ok(stage)
    }

    fn unused_number(&self) -> u64 {
        let names = self.shared.disk.tree_names();
        let used = names.iter().filter_map(|name| layout::tree_number(name));
        used.chain([self.rows().number]).max().unwrap_or(0) + 1
    }

    /// Makes a staged State the current one, durable on return, and returns it with its checkpoint.
    /// Drops the changes recorded before. Quick for a State of any size, because only a pointer
    /// moves.
    pub fn install(&self, stage: Stage) -> Result<(State, Vec<u8>), Fault> {
        let mut rows = self.rows();
        let mut batch = Batch::default();
        batch.put(POINTER_KEY, &stage.number.to_be_bytes());
        rows.pointer.apply(batch)?;
        self.shared.disk.sync()?;
        *self.waiting() = Waiting::default();
        rows.tree = stage.tree.clone();
        rows.number = stage.number;
        self.shared.persisted.store(stage.checkpoint.index, Ordering::Release);
        let installed = (stage.state.clone(), stage.checkpoint.bytes.clone());
        drop(rows);
        Ok(installed)
    }

    /// Removes trees older than the current one. A newer one may be a State being staged.
    fn drop_leftovers(&self, rows: &mut Rows) -> Result<(), Fault> {
        match std::mem::take(&mut rows.has_leftovers) {
            true => self.drop_trees(|number| number < rows.number),
            false => Ok(()),
        }
    }

    fn drop_trees(&self, is_gone: impl Fn(u64) -> bool) -> Result<(), Fault> {
        let names = self.shared.disk.tree_names();
        let gone = |name: &&String| layout::tree_number(name).is_some_and(&is_gone);
        let gone: Vec<&String> = names.iter().filter(gone).collect();
        for name in &gone {
            self.shared.disk.drop_tree(name)?;
        }
        if gone.is_empty() { Ok(()) } else { self.shared.disk.sync() }
    }
}

fn load(tree: &Tree, number: u64) -> Result<(State, Option<Checkpoint>), OpenError> {
    let (mut rows, mut checkpoint) = (Vec::new(), None);
    for record in tree.records() {
        let (key, value) = record?;
        if key == CHECKPOINT_KEY {
            checkpoint = Some(Checkpoint::decode(&value).ok_or(OpenError::Layout("checkpoint"))?);
        } else {
            rows.push(StoredRow::read(&wire::key_of_payload(&key)?, &value)?);
        }
    }
    let state = State::load(rows);
    let level = state.level();
    if level > LEVEL_MAX {
        return Err(OpenError::Level { level });
    }
    let Some(checkpoint) = checkpoint else {
        // Without a checkpoint nothing was ever written, so there must be no rows.
        let is_new = state.row_count() == 0 && number == 0;
        return if is_new { Ok((state, None)) } else { Err(OpenError::Layout("checkpoint")) };
    };
    if (checkpoint.row_count, checkpoint.digest) != (state.row_count(), state.digest()) {
        let (found, expected) = (state.row_count(), checkpoint.row_count);
        return Err(OpenError::Digest { found, expected });
    }
    Ok((state, Some(checkpoint)))
}

/// Returns the space where `path` is, or will be.
fn space(path: &Path) -> io::Result<Space> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    conclave_disk::space(existing)
}

/// Checks that `reserves` times what is kept free, and `bytes` besides, are free.
pub(crate) fn check_room(path: &Path, reserves: u64, bytes: u64) -> Result<(), OpenError> {
    let space = space(path).map_err(|source| {
        OpenError::Disk(conclave_disk::OpenError::Io { path: path.to_owned(), source })
    })?;
    let wanted = space.reserve(ROOM_BYTES).saturating_mul(reserves).saturating_add(bytes);
    match space.free < wanted {
        true => Err(OpenError::DiskFull { path: path.to_owned(), free: space.free, wanted }),
        false => Ok(()),
    }
}
