//! Limits and timeouts of the log and the network.

use std::time::Duration;

/// Longest payload of one entry, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 72 * 1024;
/// Longest frame on a stream, in bytes: room for an append of [`APPEND_ENTRIES_MAX`] entries with
/// the longest payload.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest join request of a node that is not yet a member, in bytes.
pub const JOIN_BYTES_MAX: usize = 64 * 1024;
/// Most entries in one append.
pub const APPEND_ENTRIES_MAX: u64 = 64;
/// Most appends sent to a peer before the first is answered.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Most committed entries applied in one batch.
pub const APPLY_ENTRIES_MAX: usize = 1024;
/// Most committed entries queued for the applying thread.
pub const QUEUE_ENTRIES_MAX: usize = 4 * 1024;
/// Most entries kept in memory for replication. Entries that are not yet durable are kept beyond
/// this limit.
pub const TAIL_ENTRIES_MAX: usize = if cfg!(conclave_sim) { 64 } else { 8 * 1024 };
/// Most payload bytes of the entries kept in memory for replication.
pub const TAIL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most bytes of entries in one read from disk; a single longer entry is still read.
pub const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most writes queued for the writer of the log.
pub const QUEUE_WRITES_MAX: usize = 16 * 1024;
/// Length of a segment of the log, in bytes. Small enough that a new node creates its log in an
/// instant, although every file is first filled with zeros; large enough that a new segment is
/// seldom needed. Shorter in simulation, so that a short run uses many segments.
pub const SEGMENT_BYTES: u64 = if cfg!(conclave_sim) { 256 } else { 4 * 1024 } * 1024;
/// Most bytes of entries in one group, unless a single entry is longer. Well below
/// [`SEGMENT_BYTES`], so that a group always fits into an empty segment.
pub const GROUP_BYTES_MAX: usize = if cfg!(conclave_sim) { 32 } else { 1024 } * 1024;
/// Most records in one group. A group header that claims more is invalid.
pub const GROUP_RECORDS_MAX: u32 = 16 * 1024;
/// Upper bound of a record's bytes besides its payload.
pub const RECORD_BYTES: usize = 64;
/// Spare segments held in reserve, used only when the disk is full.
pub const RESERVE_SEGMENTS: usize = 2;
/// Most spare segments kept for reuse; surplus files are removed.
pub const SPARE_SEGMENTS_MAX: usize = 6;
/// Free space, in bytes, below which the disk counts as full: only Raft's own records may then be
/// written. Less on a small disk, see [`conclave_disk::Space::reserve`].
pub const LOW_BYTES: u64 = 64 * 1024 * 1024;
/// Free space, in bytes, required to create a log: the segment in use, the next one, the reserve and
/// the marker. Rewriting a log of version 0.1.0 requires the
/// length of the old log in addition.
pub const CREATE_BYTES: u64 = 4 * SEGMENT_BYTES + 2 * 1024 * 1024;
/// Records per group while a log of version 0.1.0 is rewritten: about a megabyte if all have the
/// longest payload.
pub const MIGRATE_RECORDS: usize = 14;
/// Most purges waiting for the effect of their entries to become durable.
pub const PURGES_WAITING_MAX: usize = 64;
/// Longest wait of a commit note for entries to share a group with. After it, the note gets a group
/// of its own.
pub const COMMITTED_DELAY: Duration = Duration::from_micros(500);
/// Pause before retrying a group for which there was no room.
pub const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);
/// Longest interval between two rounds of segment preparation.
pub const PREPARE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the log since the last snapshot above which the next snapshot is taken early.
pub const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Interval between two checks of the log's length.
pub const LOG_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Fewest entries worth a purge, because each purge costs a record in the log. Lower if fewer
/// entries are kept.
pub const PURGE_ENTRIES_MIN: u64 = 256;
/// Longest wait for the lock of the log: a process that is exiting may still hold it.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Most concurrent streams opened by a peer.
pub const STREAMS_MAX: u32 = 512;
/// Most accepted connections of all members at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Most accepted connections of one member at once. It needs two; others may be waiting for their
/// idle timeout.
pub const MEMBER_CONNECTIONS_MAX: usize = 64;
/// Most bytes that a member may send on all streams of a connection before they are read.
pub const MEMBER_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// Most bytes that a peer may send before it has proved to be a member: room for a join request.
pub const STRANGER_WINDOW_BYTES: u32 = 128 * 1024;
/// Most streams opened by a peer before it has proved to be a member.
pub const STRANGER_STREAMS_MAX: u32 = 1;
/// Handshakes at once above which a new peer must first show that it receives at its address.
pub const HANDSHAKES_UNCHECKED_MAX: usize = 8;
/// Most handshakes at once, with peers at any address.
pub const HANDSHAKES_MAX: usize = 64;
/// Most handshakes at once with peers at one address.
pub const HANDSHAKES_OF_ADDRESS_MAX: usize = 16;
/// Most handshakes at once with peers that have shown that they receive at a member's address.
pub const KNOWN_HANDSHAKES_MAX: usize = 256;
/// Most of these at one address: many members may run on one machine.
pub const KNOWN_HANDSHAKES_OF_ADDRESS_MAX: usize = 64;
/// Most packets of new connections waiting for the accepting task.
pub const INCOMING_MAX: usize = 1024;
/// Most bytes of new connections waiting for the accepting task.
pub const INCOMING_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Longest time for a handshake. Members give up earlier.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Most joins at once.
pub const JOINS_MAX: usize = 16;
/// Most joins at once from one address.
pub const JOINS_OF_ADDRESS_MAX: usize = 2;
/// Longest time from the handshake of a join until its request has arrived.
pub const JOIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause of a joining node that found no free place.
pub const JOIN_PAUSE: Duration = Duration::from_millis(250);
/// Interval between two checks that the peers of all connections are still members.
pub const MEMBERS_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Most refused peers remembered, so that each is logged once.
pub const REFUSED_MAX: usize = 64;
/// Most lines about refused peers in one [`REFUSED_LINES_EVERY`].
pub const REFUSED_LINES_MAX: u32 = 10;
/// Interval in which the lines about refused peers are counted.
pub const REFUSED_LINES_EVERY: Duration = Duration::from_secs(60);
/// Most addresses at which a member is looked for.
pub const ADDRESSES_MAX: usize = 6;
/// Delay between the attempts at two addresses of a member. The attempts overlap.
pub const ADDRESS_DELAY: Duration = Duration::from_millis(100);
/// Longest wait for the lookup of a name. After it, the last known addresses are used.
pub const LOOKUP_PATIENCE: Duration = Duration::from_millis(400);
/// Interval between two lookups of the names of all members.
pub const LOOKUP_EVERY: Duration = Duration::from_secs(30);
/// Bytes of a snapshot read or written at once.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// Most threads for Raft and its network.
pub const THREADS_MAX: usize = 2;
/// Longest lag of the marker behind the log.
pub const MARKER_LAG: Duration = Duration::from_millis(200);
/// Longest silence before a connection to a peer is considered lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of keep-alive packets on a connection.
pub const KEEP_ALIVE: Duration = Duration::from_millis(400);
/// Longest time for one connection attempt.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(1000);
/// Pause after the first failed connection attempt to a peer. Doubles with each further failure.
pub const DIAL_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two connection attempts to a peer.
pub const DIAL_PAUSE_MAX: Duration = Duration::from_millis(1000);
/// Longest wait for the answer to an append. Longer than a slow device sync, which the peer
/// completes before it answers.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time for a whole join, from the handshake until the joining node has read the answer.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
