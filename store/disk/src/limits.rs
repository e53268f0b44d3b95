//! Limits of records and markers.

/// Longest value, in bytes; stored in pieces.
pub const VALUE_BYTES_MAX: usize = 96 * 1024;
/// Longest piece of a value, in bytes. sled moves a page of 128 KiB or more into a file of its own,
/// which it never syncs. A page holds at most 16 records, up to 3 more after a merge, and one more
/// before a split: 20 pieces stay below that size.
pub const PIECE_BYTES: usize = 5 * 1024;
/// Longest key, in bytes. A page of keys holds at most 256, and up to 63 more after a merge, which
/// stays below the same size.
pub const KEY_BYTES_MAX: usize = 360;
/// Longest payload of a marker, in bytes.
pub const MARKER_BYTES_MAX: usize = 4000;
