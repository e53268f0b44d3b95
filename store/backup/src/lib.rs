//! Backups of a cluster as one file: the format, over [`std::io::Read`] and [`std::io::Write`].
//!
//! Layout: magic `CVBACKUP`, format version, length of the header, header (JSON, readable by
//! anyone), body, signature. The body is encrypted to the recipients in the format of age
//! (<https://age-encryption.org/v1>) and holds a zstd stream of frames: the keys of the keyring,
//! then the rows of State in the order of their keys, then their numbers. The signature is that of
//! the cluster's authority over everything before it.
//!
//! Pure: no clock, no files, no sockets. Memory does not grow with the number of rows.

#![deny(missing_docs)]

mod body;
mod frame;
mod header;
pub mod limits;
mod part;
mod read;
mod recipient;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod write;

pub use frame::{Item, KeyringKey, Numbers};
pub use header::Header;
pub use part::Part;
pub use read::{BackupError, Inspected, inspect, read, read_header};
pub use recipient::{Identities, NewIdentity, Recipient, RecipientError};
pub use write::{Content, WriteError, write};

/// First bytes of a backup.
const MAGIC: [u8; 8] = *b"CVBACKUP";
/// Version of the format that this program writes and reads.
const FORMAT: u8 = 1;
/// What a signature is for. The authority signs certificates too, and those never begin so.
const SIGNED_AS: &[u8] = b"conclave backup 1\0";

#[cfg(test)]
#[path = "../../../tests/src/samples.rs"]
mod samples_of_formats;
