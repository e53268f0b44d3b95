//! What can go wrong with a disk.

use std::{io, path::PathBuf};

/// A database or marker cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system refuses.
    #[error("cannot use {path}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// sled refuses, or panicked on what it found.
    #[error("the database {path} cannot be opened: {reason}")]
    Database {
        /// Which directory.
        path: PathBuf,
        /// Why, in sled's words.
        reason: String,
    },
    /// Neither slot of the marker is whole.
    #[error("the marker {path} is damaged")]
    Marker {
        /// Which file.
        path: PathBuf,
    },
    /// sled would sync without syncing.
    #[error("the sync guard is not in force, so no write would survive a power cut")]
    GuardMissing,
}

/// The disk failed while in use: nothing after it can be trusted, and the node stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// sled failed.
    #[error("the database failed")]
    Database(#[from] sled::Error),
    /// sled panicked, as it does on some damage.
    #[error("the database is damaged")]
    Panicked,
    /// sled moved pages into files that it never syncs.
    #[error("the database keeps what is not durable in {path}")]
    Blobs {
        /// Which directory.
        path: PathBuf,
    },
    /// A record is not what was written.
    #[error("a record of {tree:?} is damaged")]
    Damaged {
        /// Which tree.
        tree: String,
    },
    /// A record is larger than its bound: a bug of the caller.
    #[error("a record of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Bytes of the record.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The free space cannot be told.
    #[error("the free space cannot be told")]
    Room(#[source] io::Error),
    /// The marker cannot be written.
    #[error("the marker cannot be written")]
    Marker(#[source] io::Error),
}
