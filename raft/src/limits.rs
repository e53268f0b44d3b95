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
pub const TAIL_ENTRIES_MAX: usize = 8 * 1024;
/// Writes that the durable thread takes into one group.
pub const GROUP_WRITES_MAX: usize = 1024;
/// Writes waiting for the durable thread.
pub const QUEUE_WRITES_MAX: usize = 16 * 1024;
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
