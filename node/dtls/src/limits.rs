//! Bounds of the engine. Sizes are in bytes.

use std::time::Duration;

/// Longest reassembled ClientHello; a ticket that carries a client certificate makes one of 4 KiB.
pub const HELLO_BYTES_MAX: usize = 8 * 1024;
/// Highest record number of a ClientHello: no client sends so many before its handshake, and room
/// stays for the records of the answer.
pub const HELLO_RECORD_NUMBER_MAX: u64 = 1 << 32;
/// Smallest path MTU that may be asked for (RFC 1122 §3.3.3).
pub const PATH_MTU_BYTES_MIN: u16 = 576;
/// Largest path MTU that may be asked for.
pub const PATH_MTU_BYTES_MAX: u16 = 1500;
/// Path MTUs to fall back to when a flight stays unanswered: IPv6's least, then IPv4's.
pub const PATH_MTU_FALLBACKS: [u16; 2] = [1280, 576];
/// Retransmissions at one MTU before the next smaller one is tried.
pub const RETRANSMISSIONS_PER_MTU: u32 = 1;
/// IPv6 and UDP headers; what fits with these fits with IPv4's too.
pub const IP_UDP_BYTES: u16 = 48;
/// Time to the first retransmission of a flight.
pub const RETRANSMIT_FIRST: Duration = Duration::from_millis(300);
/// Longest time between two retransmissions; they double from the first.
pub const RETRANSMIT_MAX: Duration = Duration::from_secs(2);
/// Largest chain that a client may present, and with it the largest handshake message. A proven
/// client can make OpenSSL keep about ten of these out of order.
pub const CLIENT_CHAIN_BYTES_MAX: u32 = 32 * 1024;
/// Largest list of authorities in a request for a client certificate.
pub const AUTHORITY_NAMES_BYTES_MAX: usize = 16 * 1024;
/// Largest plaintext of one record (RFC 6347 §4.1, RFC 5246 §6.2.1).
pub const PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
