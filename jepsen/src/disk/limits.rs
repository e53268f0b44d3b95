//! Bounds of the disk.

/// Bytes of a page, the unit of space.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Bytes of a sector, the least that a device writes at once.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Pages of a disk that nobody made smaller: 1 GiB.
pub(crate) const PAGES_DEFAULT: u64 = 256 * 1024;
/// Largest file: 1 GiB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;
/// Longest name.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Threads that answer the kernel; a slow sync keeps one of them.
pub(crate) const THREADS: usize = 4;
