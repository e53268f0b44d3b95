//! Bounds of belonging to a cluster.

/// Abandoned directories of one name that are kept.
pub(super) const ABANDONED_MAX: usize = 3;
