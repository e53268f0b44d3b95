//! Bounds of cluster membership.

use std::time::Duration;

/// Most leftovers kept of one directory.
pub(super) const ABANDONED_MAX: usize = 3;
/// Longest address of a node, in bytes.
pub(crate) const ADDRESS_BYTES_MAX: usize = 255;
/// Most joins with a token unknown here in one [`UNKNOWN_TOKENS_EVERY`]: each asks the leader.
pub(super) const UNKNOWN_TOKENS_MAX: u32 = 10;
/// Interval in which joins with an unknown token are counted.
pub(super) const UNKNOWN_TOKENS_EVERY: Duration = Duration::from_secs(1);
/// Most lines about refused joins in one [`REFUSED_LINES_EVERY`].
pub(super) const REFUSED_LINES_MAX: u32 = 10;
/// Interval in which the lines about refused joins are counted.
pub(super) const REFUSED_LINES_EVERY: Duration = Duration::from_secs(60);
/// Bytes of rows in one command of a restore, unless a single row is longer. A command has 64 KiB,
/// and a record sealed anew may be some bytes longer.
pub(super) const RESTORED_BYTES_PER_COMMAND: usize = 48 * 1024;
/// Commands of a restore on their way at a time.
pub(super) const RESTORE_COMMANDS_AT_ONCE: usize = 8;
/// Keys of one backup.
pub(super) const RESTORE_KEYS_MAX: usize = 1_024;
/// Looks in a row at which something is wrong with a canary, until it is ended.
pub(super) const CANARY_FAILURES_MAX: u32 = 3;
/// How much longer a leader waits that is the canary itself: the others must have looked before.
pub(super) const CANARY_GRACE_MS: u64 = 5_000;
/// Listeners of a canary's node that are probed.
pub(super) const PROBED_LISTENERS_MAX: usize = 8;
/// Longest time for one probe.
pub(super) const PROBE_TIME_MAX: Duration = Duration::from_secs(2);
/// Entries of the audit trail that are copied at once.
pub(super) const AUDIT_WRITE_MAX: usize = 1_000;
/// Bytes of entries that are copied at once, unless a single entry has more.
pub(super) const AUDIT_WRITE_BYTES: usize = 1024 * 1024;
/// Entries that are sent as datagrams at once: a server has a small buffer for them.
pub(super) const AUDIT_DATAGRAMS_MAX: usize = 64;
/// Pause after entries were sent. Those that come meanwhile are sent together.
pub(super) const AUDIT_SEND_EVERY: Duration = Duration::from_millis(250);
/// Longest time to send entries at once.
pub(super) const AUDIT_SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for an ICMP message that nothing takes datagrams at the port.
pub(super) const AUDIT_REFUSAL_WAIT: Duration = Duration::from_millis(100);
/// Pause before a failed copy is tried again; it doubles up to [`AUDIT_RETRY_MAX`].
pub(super) const AUDIT_RETRY: Duration = Duration::from_secs(1);
/// Longest pause before a failed copy is tried again.
pub(super) const AUDIT_RETRY_MAX: Duration = Duration::from_secs(30);
/// Longest line of an entry.
pub(super) const AUDIT_LINE_BYTES_MAX: u64 = 128 * 1024;
/// Earlier files of the audit trail that are kept.
pub(super) const AUDIT_FILES_KEPT: u32 = 8;
