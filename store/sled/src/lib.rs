//! State on disk, in sled: a home that follows the State in memory.
//!
//! One tree holds all rows and one more record, the checkpoint: the last applied command, and the
//! count and the digest of the rows. They change together, in one atomic batch. A State received as
//! a whole is staged in a new numbered tree, then one durable pointer moves.

mod home;
mod layout;
pub mod limits;
mod migrate;

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

use std::path::PathBuf;

use conclave_disk::Fault;
use conclave_store::{record::LEVEL_MAX, wire};

pub use home::{Home, Loaded, Stage, Turn};
pub use migrate::{migrate, old_state};

/// Error opening a State.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Too little free space. Nothing was changed.
    #[error("{path} has {free} bytes of free space; {wanted} are needed")]
    DiskFull {
        /// Directory of the database.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Required bytes.
        wanted: u64,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Disk(#[from] conclave_disk::OpenError),
    /// The database failed, or a record is damaged.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A record is intact, but is not a valid row.
    #[error("a row of the state cannot be read")]
    Row(#[from] wire::WireError),
    /// The rows follow rules that this program does not know.
    #[error("the state is of level {level}; this program knows level {LEVEL_MAX} and below")]
    Level {
        /// Level of the state.
        level: u32,
    },
    /// The pointer or the checkpoint is missing or malformed.
    #[error("the {0} of the state is damaged")]
    Layout(&'static str),
    /// Count or digest of the rows differ from the checkpoint.
    #[error("the state holds {found} rows that do not match its digest; {expected} were stored")]
    Digest {
        /// Rows found.
        found: u64,
        /// Rows counted by the checkpoint.
        expected: u64,
    },
}

impl OpenError {
    /// Returns whether the data is intact, but of a later version.
    pub fn is_of_later_version(&self) -> bool {
        match self {
            OpenError::Row(error) => error.is_of_later_version(),
            OpenError::Level { .. } => true,
            _ => false,
        }
    }

    /// Returns whether another process has the data open.
    pub fn is_in_use(&self) -> bool {
        matches!(self, OpenError::Disk(conclave_disk::OpenError::InUse { .. }))
    }

    /// Returns whether the data is intact, but there is too little free space.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, OpenError::DiskFull { .. })
    }
}

#[cfg(test)]
mod tests;
