//! Limits of the simulated disk.

/// Bytes of a page, the unit of space.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Bytes of a sector, the smallest unit that a device writes at once.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Default size of a disk, in pages: 1 GiB.
pub(crate) const PAGES_DEFAULT: u64 = 256 * 1024;
/// Largest file, in bytes: 1 GiB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;
/// Longest name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Threads for calls of the kernel; a slow sync occupies one of them.
pub(crate) const THREADS: usize = 4;
