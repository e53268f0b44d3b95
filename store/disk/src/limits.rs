//! Bounds of a disk.

/// Longest value; it is kept in pieces.
pub const VALUE_BYTES_MAX: usize = 96 * 1024;
/// Longest piece. sled moves a page of 128 KiB and more into a file of its own, which it never
/// syncs. A page of records has at most 16, and up to 3 more when pages are merged, and one more
/// before it is split.
pub const PIECE_BYTES: usize = 5 * 1024;
/// Longest key. A page of keys has at most 256, and up to 63 more when pages are merged.
pub const KEY_BYTES_MAX: usize = 360;
/// Longest payload of a marker.
pub const MARKER_BYTES_MAX: usize = 4000;
