//! State on disk: open, load, commit a batch of changes, replace the whole.
//!
//! One tree holds every row and one more record, the checkpoint: what was applied last, with
//! the count and the digest of the rows. They change together, in one atomic batch. Replacing
//! writes a new numbered tree, syncs it, and only then moves one durable pointer.

mod layout;

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

use std::path::Path;

use conclave_disk::{Batch, Disk, DiskOptions, Fault, Tree};
use conclave_store::{
    change::Change,
    state::{State, StoredRow},
    wire,
};

use crate::layout::{CHECKPOINT_KEY, Checkpoint, POINTER_KEY, POINTER_TREE, tree_name};

/// Rows written in one batch while a State is replaced.
const REPLACE_BATCH_ROWS: usize = 1_000;

/// Why a State cannot be opened. It must then come from other nodes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The database cannot be opened.
    #[error(transparent)]
    Disk(#[from] conclave_disk::OpenError),
    /// The database fails, or a record is damaged.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A record is whole but not what it should be.
    #[error("a row of the state cannot be read")]
    Row(#[from] wire::WireError),
    /// The pointer or the checkpoint is missing or malformed.
    #[error("the {0} of the state is damaged")]
    Layout(&'static str),
    /// Rows are missing or are not those that belong together.
    #[error("the state holds {found} rows that do not match its digest; {expected} were stored")]
    Digest {
        /// Rows found.
        found: u64,
        /// Rows that the checkpoint counts.
        expected: u64,
    },
}

impl OpenError {
    /// Whether nothing is lost, but this version cannot read it.
    pub fn is_of_later_version(&self) -> bool {
        matches!(self, OpenError::Row(error) if error.is_of_later_version())
    }
}

/// The disk of one scope's State.
pub struct StateDisk {
    disk: Disk,
    pointer: Tree,
    rows: Tree,
    number: u64,
}

/// What was found on disk.
pub struct Loaded {
    /// The disk, for commits.
    pub disk: StateDisk,
    /// The State.
    pub state: State,
    /// The checkpoint bytes of the last commit; none for a new disk.
    pub checkpoint: Option<Vec<u8>>,
}

impl StateDisk {
    /// Opens the State in `dir`, or makes an empty one. Count and digest of the rows must be
    /// those of the checkpoint.
    pub fn open(dir: &Path, options: DiskOptions) -> Result<Loaded, OpenError> {
        let disk = Disk::open(dir, options)?;
        let pointer = disk.tree(POINTER_TREE)?;
        let number = match pointer.read(POINTER_KEY)? {
            Some(bytes) => layout::number(&bytes).ok_or(OpenError::Layout("pointer"))?,
            None => 0,
        };
        let rows = disk.tree(&tree_name(number))?;
        let state_disk = StateDisk { disk, pointer, rows, number };
        state_disk.drop_other_trees()?;
        let (state, checkpoint) = state_disk.load()?;
        Ok(Loaded { disk: state_disk, state, checkpoint })
    }

    /// Makes `changes` and `checkpoint` durable together; `state` is the State after them.
    pub fn commit<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
        checkpoint: &[u8],
        state: &State,
    ) -> Result<(), Fault> {
        let mut batch = Batch::default();
        for change in changes {
            match &change.row_bytes {
                Some(row) => batch.put(&change.key_bytes, row),
                None => batch.remove(&change.key_bytes),
            }
        }
        batch.put(CHECKPOINT_KEY, &Checkpoint::of(state, checkpoint).encode());
        self.rows.apply(batch)?;
        self.disk.sync()
    }

    /// Makes `state` the whole truth. A crash at any step leaves the old or the new State.
    pub fn replace(&mut self, state: &State, checkpoint: &[u8]) -> Result<(), Fault> {
        let number = self.write_tree(state, checkpoint)?;
        self.point_at(number)?;
        self.drop_other_trees()
    }

    /// First step of [`Self::replace`]: the new tree, durable, but not yet the truth.
    fn write_tree(&mut self, state: &State, checkpoint: &[u8]) -> Result<u64, Fault> {
        let number = self.number + 1;
        let rows = self.disk.tree(&tree_name(number))?;
        let mut batch = Batch::default();
        for (key, row) in state.rows() {
            // Encoding what was decoded before cannot exceed the bounds it was held to.
            let (Ok(key), Ok(row)) =
                (wire::encode_key(key), wire::encode_row(row.changed_at, &row.record))
            else {
                return Err(Fault::Damaged { tree: tree_name(number) });
            };
            batch.put(&key, &row);
            if batch.len() >= REPLACE_BATCH_ROWS {
                rows.apply(std::mem::take(&mut batch))?;
            }
        }
        batch.put(CHECKPOINT_KEY, &Checkpoint::of(state, checkpoint).encode());
        rows.apply(batch)?;
        self.disk.sync()?;
        self.rows = rows;
        Ok(number)
    }

    /// Second step: from here on the new tree is the truth.
    fn point_at(&mut self, number: u64) -> Result<(), Fault> {
        let mut batch = Batch::default();
        batch.put(POINTER_KEY, &number.to_be_bytes());
        self.pointer.apply(batch)?;
        self.disk.sync()?;
        self.number = number;
        Ok(())
    }

    /// Last step, and the first after a crash: trees that the pointer does not name go.
    fn drop_other_trees(&self) -> Result<(), Fault> {
        let current = tree_name(self.number);
        for name in self.disk.tree_names() {
            if name != current && name != POINTER_TREE {
                self.disk.drop_tree(&name)?;
            }
        }
        self.disk.sync()
    }

    fn load(&self) -> Result<(State, Option<Vec<u8>>), OpenError> {
        let (mut rows, mut checkpoint) = (Vec::new(), None);
        for record in self.rows.range(..) {
            let (key, value) = record?;
            if key == CHECKPOINT_KEY {
                checkpoint =
                    Some(Checkpoint::decode(&value).ok_or(OpenError::Layout("checkpoint"))?);
            } else {
                rows.push(StoredRow::read(&key, &value)?);
            }
        }
        let state = State::load(rows);
        let Some(checkpoint) = checkpoint else {
            // Without a checkpoint nothing was ever committed.
            let found = state.row_count();
            let is_new = found == 0 && self.number == 0;
            return if is_new { Ok((state, None)) } else { Err(OpenError::Layout("checkpoint")) };
        };
        if (checkpoint.row_count, checkpoint.digest) != (state.row_count(), state.digest()) {
            let (found, expected) = (state.row_count(), checkpoint.row_count);
            return Err(OpenError::Digest { found, expected });
        }
        Ok((state, Some(checkpoint.bytes)))
    }
}

#[cfg(test)]
mod tests;
