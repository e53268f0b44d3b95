//! Bounds of the replica.

use std::time::Duration;

/// Most attempts of a leader to hand over, each to another voter.
pub(super) const HANDOVERS_MAX: usize = 3;
/// Pause before a transfer of leadership is asked for again, while no leader is known.
pub(super) const TRANSFER_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest time for a leader to work on a change of another member.
pub(super) const EXECUTE_TIME_MAX: Duration = Duration::from_secs(600);
/// Largest lag in entries of a node when a change commits. The change does not wait for nodes that
/// are further behind.
pub(super) const LAG_ENTRIES_MAX: u64 = 64;
/// Longest time without progress for a node that is behind. After it, changes do not wait for the
/// node.
pub(super) const LAG_TIME_MAX: Duration = Duration::from_millis(500);
/// Most failed commands in a report of version 0.1.0. It omits older ones.
pub(super) const FAILED_MAX_V1: usize = 64;
/// Events that wait for their entries in the audit trail.
pub(super) const AUDIT_QUEUE_MAX: usize = 1_024;
/// Time in which events gather for one command.
pub(super) const AUDIT_GATHER: Duration = Duration::from_millis(100);
/// Pause before entries are ordered again.
pub(super) const AUDIT_RETRY: Duration = Duration::from_secs(1);
/// Time until the status reports a node whose served index stays behind.
pub(super) const LAG_SHOWN: Duration = Duration::from_secs(1);
/// Most things that a member reports as needing attention. Further ones are omitted.
pub(super) const ATTENTION_MAX: usize = 32;
/// Longest text of one of them, in characters.
pub(super) const ATTENTION_TEXT_MAX: usize = 400;
/// Longest time for a status to find the leader, or each member if there is none.
pub(super) const OUTLOOK_TIME_MAX: Duration = Duration::from_millis(1_500);
