//! Bounds of the engine. Sizes are in bytes.

use std::time::Duration;

/// Longest reassembled ClientHello. A ticket with a client certificate makes one of about 4 KiB.
pub const HELLO_BYTES_MAX: usize = 8 * 1024;
/// Highest record number of a ClientHello. No client sends as many records before its handshake,
/// and enough numbers remain for the records of the answer.
pub const HELLO_RECORD_NUMBER_MAX: u64 = 1 << 32;
/// Smallest accepted path MTU (RFC 1122 §3.3.3).
pub const PATH_MTU_BYTES_MIN: u16 = 576;
/// Largest accepted path MTU.
pub const PATH_MTU_BYTES_MAX: u16 = 1500;
/// Path MTUs to try when a flight stays unanswered: the minimum of IPv6, then the minimum of IPv4.
pub const PATH_MTU_FALLBACKS: [u16; 2] = [1280, 576];
/// Retransmissions at one MTU before the next smaller one.
pub const RETRANSMISSIONS_PER_MTU: u32 = 1;
/// Size of IPv6 and UDP headers. IPv4 headers are smaller.
pub const IP_UDP_BYTES: u16 = 48;
/// Time to the first retransmission of a flight.
pub const RETRANSMIT_FIRST: Duration = Duration::from_millis(300);
/// Longest time between two retransmissions. The interval doubles from `RETRANSMIT_FIRST`.
pub const RETRANSMIT_MAX: Duration = Duration::from_secs(2);
/// Largest chain of a client, and with it the largest handshake message. A proven client can make
/// OpenSSL buffer about ten such messages out of order.
pub const CLIENT_CHAIN_BYTES_MAX: u32 = 32 * 1024;
/// Largest handshake message of a client that is asked for no certificate.
pub const CLIENT_MESSAGE_BYTES_MAX: u32 = 4 * 1024;
/// Largest chain of a client that its ticket holds, without its own certificate. With a larger one
/// no session resumes that would need it.
pub const TICKET_CHAIN_BYTES_MAX: usize = 3 * 1024;
/// Largest list of authorities in a certificate request.
pub const AUTHORITY_NAMES_BYTES_MAX: usize = 16 * 1024;
/// Largest plaintext of one record (RFC 6347 §4.1, RFC 5246 §6.2.1).
pub const PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
