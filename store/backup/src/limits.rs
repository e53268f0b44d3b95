//! Every bound of the file format, by name.

use conclave_store::limits::ROW_BYTES_MAX;

/// Longest header, in bytes.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Recipients of one backup.
pub const RECIPIENTS_MAX: usize = 16;
/// Identities in one file.
pub const IDENTITIES_MAX: usize = 64;
/// Longest file with identities, in bytes.
pub const IDENTITY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Longest stored key or row of State: the payload, and the header that each has.
pub const STORED_BYTES_MAX: usize = ROW_BYTES_MAX + 64;
/// Largest window of the compression that is accepted, as a power of two: 32 MiB.
pub const WINDOW_LOG_MAX: u32 = 25;
/// Level of compression. A higher one takes several times the work for some percent.
pub const COMPRESSION: i32 = 3;
/// Rows written between two calls of the pace.
pub const ROWS_PER_PACE: u64 = 256;
/// Bytes of rows in one part of a restore, unless a single row is longer.
pub const PART_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest signature, in bytes (ECDSA on P-256, ASN.1).
pub const SIGNATURE_BYTES_MAX: usize = 72;
