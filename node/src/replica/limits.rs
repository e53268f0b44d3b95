//! Bounds of a node's part in the cluster's order.

use std::time::Duration;

/// Voters that a stopping leader asks to lead after it.
pub(super) const HANDOVERS_MAX: usize = 3;
/// A node this many entries behind when a change commits still holds the change up.
pub(super) const LAG_ENTRIES_MAX: u64 = 64;
/// A node that was this far behind when it last reported still holds a change up.
pub(super) const LAG_TIME_MAX: Duration = Duration::from_millis(500);
