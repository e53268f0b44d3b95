//! Power-safe storage: sled opened safely, a marker, and the files of one directory behind an
//! interface that a simulation can replace.
//!
//! sled 0.34 alone is not power-safe: it ends a flush with `sync_file_range`, which flushes
//! neither the drive's cache nor the file's size. With the [`guard`] in force, every buffer that
//! sled writes is followed by a real fsync before sled counts it as stable. sled's own ordering (a
//! segment is reused only after its content is stable elsewhere) therefore also holds on the
//! device. Each record carries a checksum over key and value. A [`Marker`] lies outside a log or
//! database, and lets its user notice that durable data was silently lost.
//!
//! ```
//! use conclave_disk::{Batch, Disk, DiskOptions};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let disk = Disk::open(&dir.path().join("log"), DiskOptions::default()).unwrap();
//! let tree = disk.tree("entries").unwrap();
//! let mut batch = Batch::default();
//! batch.put(b"key", b"value");
//! tree.apply(batch).unwrap();
//! disk.sync().unwrap(); // from here on a power cut loses nothing
//! assert_eq!(tree.read(b"key").unwrap().as_deref(), Some(&b"value"[..]));
//! ```

mod disk;
mod error;
mod files;
pub mod guard;
pub mod limits;
mod marker;
mod old;
mod record;

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples;

pub use disk::{Disk, DiskOptions, Tree};
pub use error::{Fault, OpenError};
pub use files::{Directory, DiskFile, Files, Space, lock, space};
pub use marker::Marker;
pub use old::OldTree;
pub use record::Batch;
