//! Bounds of the log and the network.

use std::time::Duration;

/// Longest payload of one entry.
pub const PAYLOAD_BYTES_MAX: usize = 72 * 1024;
/// Longest frame on a stream: an append of [`APPEND_ENTRIES_MAX`] of the longest entries.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest request of a node that is not yet a member.
pub const JOIN_BYTES_MAX: usize = 64 * 1024;
/// Entries sent in one append.
pub const APPEND_ENTRIES_MAX: u64 = 64;
/// Appends on their way to one peer before the first is answered.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Entries applied, and made durable, in one go.
pub const APPLY_ENTRIES_MAX: usize = 1024;
/// Committed entries waiting to be applied.
pub const QUEUE_ENTRIES_MAX: usize = 4 * 1024;
/// Entries whose newest copies stay in memory for replication.
pub const TAIL_ENTRIES_MAX: usize = if cfg!(conclave_sim) { 64 } else { 8 * 1024 };
/// Bytes of entries whose newest copies stay in memory for replication.
pub const TAIL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of entries read from disk in one go.
pub const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Writes waiting for the writer of the log.
pub const QUEUE_WRITES_MAX: usize = 16 * 1024;
/// Length of a segment of the log. Small enough that a node founds its log in an instant, large
/// enough that a new one is seldom needed. A simulation sees many of them in a short life.
pub const SEGMENT_BYTES: u64 = if cfg!(conclave_sim) { 256 } else { 4 * 1024 } * 1024;
/// Bytes of entries in one group; with one more append it still fits into a segment.
pub const GROUP_BYTES_MAX: usize = if cfg!(conclave_sim) { 32 } else { 1024 } * 1024;
/// Records in one group.
pub const GROUP_RECORDS_MAX: u32 = 16 * 1024;
/// What a record takes beside its payload, at most.
pub const RECORD_BYTES: usize = 64;
/// Spare segments that only a full disk uses.
pub const RESERVE_SEGMENTS: usize = 2;
/// Spare segments that are kept; more are removed.
pub const SPARE_SEGMENTS_MAX: usize = 6;
/// With less free space than this, only Raft itself may write.
pub const LOW_BYTES: u64 = 64 * 1024 * 1024;
/// Free space without which no log is made or rewritten.
pub const CREATE_BYTES: u64 = 64 * 1024 * 1024;
/// Records in one group while a log of version 0.1.0 is rewritten; of the longest, a megabyte.
pub const MIGRATE_RECORDS: usize = 14;
/// Purges that wait until the effect of what they drop is durable.
pub const PURGES_WAITING_MAX: usize = 64;
/// How long the news that entries are committed waits for entries to be written with.
pub const COMMITTED_DELAY: Duration = Duration::from_micros(500);
/// Pause before a group is tried again that found no room.
pub const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);
/// How often segments are prepared, at least.
pub const PREPARE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the log above which a snapshot is taken before its time.
pub const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How often the length of the log is looked at.
pub const LOG_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Entries that are purged at once, at least: each purge costs a record in the log.
pub const PURGE_ENTRIES_MIN: u64 = 256;
/// Patience with a process that is about to end and still holds the log.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Streams that a peer may have open at once.
pub const STREAMS_MAX: u32 = 512;
/// Connections accepted at once, members and joining nodes together.
pub const CONNECTIONS_MAX: usize = 1024;
/// Bytes of a snapshot that are read or written at once.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// Threads for Raft and its network.
pub const THREADS_MAX: usize = 2;
/// How far the marker may lag behind the log.
pub const MARKER_LAG: Duration = Duration::from_millis(200);
/// A peer that is silent that long is gone.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a connection is kept alive.
pub const KEEP_ALIVE: Duration = Duration::from_millis(400);
/// Longest time for one attempt to connect.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(1000);
/// Pause after the first failed attempt to reach a peer; it doubles with each further one.
pub const DIAL_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two attempts to reach a peer.
pub const DIAL_PAUSE_MAX: Duration = Duration::from_millis(1000);
/// Longest wait for an answer to an append that was sent. Longer than a slow device sync, which
/// the peer makes before it answers.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time for a joining node to send its request.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
