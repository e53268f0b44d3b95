//! Bounds of cluster membership.

/// Most leftovers kept of one directory.
pub(super) const ABANDONED_MAX: usize = 3;
