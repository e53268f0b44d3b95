//! Limits of a State's home.

/// Rows per batch while a State is staged.
pub const STAGE_BATCH_ROWS: usize = 1_000;
/// Bytes per batch while a State is staged, unless a single row is longer.
pub const STAGE_BATCH_BYTES: usize = 512 * 1024;
/// Rows per batch of a turn, unless a single command changes more. sled reads a page anew for each
/// batch that changes it, so smaller ones are slower; what a larger one replaces fills the memory.
pub const PART_ROWS: usize = 8_000;
/// Bytes per batch of a turn, unless a single command changes more.
pub const PART_BYTES: usize = 4 * 1024 * 1024;
/// Free space left after every write, in bytes; less on a small disk, see
/// [`conclave_disk::Space::reserve`]. sled does not survive a full disk, so it must never
/// meet one.
pub const ROOM_BYTES: u64 = 32 * 1024 * 1024;
/// Most bytes waiting to be written; beyond that, applying waits.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
