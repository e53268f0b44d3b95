//! Bounds of a node's part in the cluster's order.

use std::time::Duration;

/// Voters that a stopping leader asks to lead after it.
pub(super) const HANDOVERS_MAX: usize = 3;
/// Longest time for which a leader works on a change of another member.
pub(super) const EXECUTE_TIME_MAX: Duration = Duration::from_secs(600);
/// A node that was further behind when a change commits does not hold the change up.
pub(super) const LAG_ENTRIES_MAX: u64 = 64;
/// Neither does one that is behind, and came no further for this long.
pub(super) const LAG_TIME_MAX: Duration = Duration::from_millis(500);
/// Failed commands that a report of version 0.1.0 holds; of earlier ones it tells nothing.
pub(super) const FAILED_MAX_V1: usize = 64;
/// A node whose served index stays behind for longer is a problem in the status.
pub(super) const LAG_SHOWN: Duration = Duration::from_secs(1);
