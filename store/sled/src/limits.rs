//! Bounds of a State's home.

/// Rows written in one batch while a State is staged.
pub const STAGE_BATCH_ROWS: usize = 1_000;
/// Free space that must be left after a write: sled must never meet a full disk, because it does
/// not survive one.
pub const ROOM_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that may wait to be written; above it, applying waits.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
