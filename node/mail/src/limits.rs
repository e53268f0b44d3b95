//! Bounds of the LMTP proxy. Times are those of RFC 5321 §4.5.3.2, as far as it has any.

use std::time::Duration;

use conclave_smime::limits::HEADER_BYTES_MAX;

/// Connections of senders at the same time; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 100;
/// Connections to the mailbox server at the same time. Dovecot starts as many processes by default.
pub const UPSTREAMS_MAX: usize = 100;
/// Recipients of one transaction; the sender sends the message again for further ones. Postfix
/// takes as many by default.
pub const RECIPIENTS_MAX: usize = 50;
/// Longest command line (RFC 5321 §4.5.3.1.4 has 512; RFC 3461 §4 and others add to it).
pub const COMMAND_BYTES_MAX: usize = 2048;
/// Parameters of MAIL or RCPT.
pub const PARAMETERS_MAX: usize = 16;
/// Longest line of a reply of the mailbox server (RFC 5321 §4.5.3.1.5 has 512).
pub const REPLY_LINE_BYTES_MAX: usize = 2048;
/// Lines of one reply of the mailbox server.
pub const REPLY_LINES_MAX: usize = 64;
/// Refused commands of a connection, after which it ends. Refused recipients are not among them.
pub const ERRORS_MAX: usize = 20;
/// Bytes of a message that are handled at once.
pub const PIECE_BYTES: usize = 16 * 1024;
/// Start of a message that is held to see whether it is encrypted already. A header that has no end
/// in it is too long, even without the first line of mailboxes in files, which does not count.
pub const HEAD_BYTES_MAX: usize = 2 * HEADER_BYTES_MAX;
/// Part of the body in it: programs from before RFC 2633 say only there what a message is.
pub(crate) const BODY_START_BYTES: usize = 1024;

/// Longest wait for a command.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Longest time from MAIL to DATA.
pub const ENVELOPE_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Time after which a connection gets no further transaction.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// Longest wait for the next bytes of a message, and for either side to take some.
pub const BLOCK_TIMEOUT: Duration = Duration::from_secs(3 * 60);
/// Longest time for a whole message to arrive.
pub const DATA_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// Longest time to connect to the mailbox server.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a place among [`UPSTREAMS_MAX`].
pub const PLACE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a reply of the mailbox server to a command. Below [`COMMAND_TIMEOUT`], which a
/// sender waits, too.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Longest wait for its reply to a whole message. A sender waits 10 minutes, and must still be there
/// when the message is stored: otherwise it sends it again.
pub const STORED_TIMEOUT: Duration = Duration::from_secs(9 * 60);
/// Longest time to write a last word to a connection that ends.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Growth of a message by its encryption, as a fraction: base64 in lines, and the copies of header
/// fields inside.
pub(crate) const GROWTH: (u64, u64) = (7, 5);
/// Growth whatever its size: certificates' names and encrypted content keys.
pub(crate) const GROWTH_BYTES: u64 = 64 * 1024;
