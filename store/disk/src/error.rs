//! Errors of opening and using a disk.

use std::{io, path::PathBuf};

/// Error opening a database or marker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An operation of the operating system failed.
    #[error("cannot use {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("another process uses {path}")]
    InUse {
        /// Directory of the database.
        path: PathBuf,
    },
    /// sled failed to open the database, or panicked.
    #[error("the database {path} cannot be opened: {reason}")]
    Database {
        /// Directory of the database.
        path: PathBuf,
        /// The cause, in sled's words.
        reason: String,
    },
    /// No slot of the marker is valid.
    #[error("the marker {path} is damaged")]
    Marker {
        /// The file.
        path: PathBuf,
    },
    /// The sync guard is not in force: sled would report syncs that never reach the device.
    #[error("the sync guard is not in force, so no write would survive a power cut")]
    GuardMissing,
}

/// Fatal fault of a disk in use. Nothing after it can be trusted, and the node stops.
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
        /// Directory of those files.
        path: PathBuf,
    },
    /// A record is damaged.
    #[error("a record of {tree:?} is damaged")]
    Damaged {
        /// Name of the tree.
        tree: String,
    },
    /// A record exceeds its limit: a bug in the caller.
    #[error("a record of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Bytes of the record.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The free space cannot be determined.
    #[error("the free space cannot be told")]
    Room(#[source] io::Error),
    /// The marker cannot be written.
    #[error("the marker cannot be written")]
    Marker(#[source] io::Error),
}
