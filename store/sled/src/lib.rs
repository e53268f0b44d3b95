//! State on disk: a home that follows the State in memory.
//!
//! One tree holds every row and one more record, the checkpoint: what was applied last, with
//! the count and the digest of the rows. They change together, in one atomic batch. A State that
//! comes whole is staged in a new numbered tree, and then one durable pointer is moved.

mod home;
mod layout;
pub mod limits;
mod migrate;

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

use std::path::PathBuf;

use conclave_disk::Fault;
use conclave_store::wire;

pub use home::{Home, Loaded, Stage, Turn};
pub use migrate::{migrate, old_state};

/// Why a State cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Too little room. Nothing was touched.
    #[error("{path} has {free} bytes of free space; {wanted} are needed")]
    DiskFull {
        /// Directory of the database.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes that are needed.
        wanted: u64,
    },
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

    /// Whether nothing is lost, but there is too little room.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, OpenError::DiskFull { .. })
    }
}

#[cfg(test)]
mod tests;
