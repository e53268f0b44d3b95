//! Bounds of a disk.

/// Longest value: far below the 128 KiB from which sled moves values into files of their own,
/// which it never syncs.
pub const VALUE_BYTES_MAX: usize = 96 * 1024;
/// Longest key.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest payload of a marker.
pub const MARKER_BYTES_MAX: usize = 4000;
