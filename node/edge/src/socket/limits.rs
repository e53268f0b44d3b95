//! Bounds of the edge, and the accounting of places for connections.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// Most bytes read from a refused client and discarded, so that it gets our answer and no reset.
pub(super) const REFUSED_BYTES_MAX: u64 = 64 * 1024;
/// Longest duration of a handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest drain at the end of the process.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time to connect over TCP, shared by all upstreams. For UDP it applies to each upstream.
pub(crate) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause of a failed upstream: for this time it is tried last.
pub(crate) const UPSTREAM_PAUSE: Duration = Duration::from_secs(2);
/// Lifetime of the addresses of a looked-up name.
pub(crate) const ADDRESSES_VALID: Duration = Duration::from_secs(5);
/// Most bytes per read while forwarding: four whole records. The buffer is shared by all
/// connections of a thread. Also the most bytes kept for a slow peer, before reading for it pauses.
pub(crate) const BUFFER_BYTES: usize = 4 * RECORD_BYTES_MAX;
/// Largest TLS record with its header (RFC 8446 §5.2).
pub(crate) const RECORD_BYTES_MAX: usize = 16 * 1024 + 256 + 5;
/// Most bytes kept until they form a ClientHello. One with a ticket that holds a chain of client
/// certificates takes about 8 KiB.
pub(crate) const HELLO_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;
/// Most handshake bytes kept until they form a message (at most 64 KiB), plus one record.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 64 * 1024 + RECORD_BYTES_MAX;
/// Reads per direction before other connections get their turn.
pub(crate) const ROUNDS_MAX: usize = 8;
/// Timeouts of all connections.
pub(crate) const PATIENCE: Patience =
    Patience { stall: Duration::from_secs(30), idle: Duration::from_secs(60 * 60) };
/// Longest wait for the client's next bytes before TLS. Together with the handshake timeout it also
/// bounds the whole time up to the end of the handshake.
pub(crate) const CLEAR_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for an upstream's greeting or answer before forwarding starts.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence on an FTP control connection before its first data connection.
pub(crate) const CONTROL_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Longest time from a proven DTLS ClientHello to the end of the handshake. Lost flights are
/// retransmitted, which takes long on a bad path.
pub(crate) const DATAGRAM_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most DTLS handshakes at once on the node, in equal parts for its threads. During its handshake a
/// hostile client can make us keep 350 KiB; an honest one needs a fifth of that.
pub(crate) const DATAGRAM_HANDSHAKES_MAX: usize = 1024;
/// Fewest DTLS handshakes at once on a thread, however many threads there are.
const DATAGRAM_HANDSHAKES_THREAD_MIN: usize = 16;
/// Longest time for DTLS handshakes to end before their sockets go to the next process.
pub(crate) const DATAGRAM_FINISH_MAX: Duration = Duration::from_secs(1);
/// Pause between two looks whether they have ended.
pub(crate) const DATAGRAM_FINISH_LOOK: Duration = Duration::from_millis(2);
/// Default idle timeout of a DTLS session. Most clients leave without close_notify.
pub const DATAGRAM_IDLE: Duration = Duration::from_secs(10 * 60);
/// Most datagrams queued for a session; more are dropped.
pub(crate) const SESSION_DATAGRAMS_MAX: usize = 64;
/// Most datagrams received per system call.
pub(crate) const DATAGRAMS_AT_ONCE: usize = 8;
/// Receive buffer per datagram: the largest UDP datagram, or several small ones joined by GRO.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Requested socket buffer; the system may grant less.
pub(crate) const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Most refused hellos remembered per socket.
pub(crate) const REFUSED_MAX: usize = 4096;
/// How long a refused hello is remembered: about as long as clients retransmit it.
pub(crate) const REFUSED_VALID: Duration = Duration::from_secs(30);
/// Most incomplete ClientHellos per socket, of at most 16 KiB each.
pub(crate) const ASSEMBLIES_MAX: usize = 256;
/// How long an incomplete ClientHello is kept.
pub(crate) const ASSEMBLY_VALID: Duration = Duration::from_secs(10);
/// Pause after a failed accept, so that an exhausted descriptor table does not cause a busy loop.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most lines in the access log about refused connections in one [`REFUSED_LINES_EVERY`].
pub(crate) const REFUSED_LINES_MAX: u32 = 100;
/// Interval in which the lines about refused connections are counted.
pub(crate) const REFUSED_LINES_EVERY: Duration = Duration::from_secs(1);
/// Pause between attempts to open a socket.
pub(crate) const OPEN_RETRY: Duration = Duration::from_secs(2);
/// Most connections waiting to be accepted, per socket.
pub(crate) const BACKLOG: i32 = 4096;
/// Descriptors reserved for the rest of the node, without its HTTP servers.
const DESCRIPTORS_KEPT: u64 = 256;
/// Most descriptors for connections, however many the process may have.
const DESCRIPTORS_MAX: u64 = 1 << 21;
/// Descriptors of a TCP connection: one to the client and one to the upstream.
pub(crate) const CONNECTION_DESCRIPTORS: usize = 2;
/// Descriptors of a DTLS session: one to its upstream. All clients share the listener's.
pub(crate) const SESSION_DESCRIPTORS: usize = 1;

/// Returns the descriptors for connections, out of the process's limit. `http` is what the HTTP
/// servers of the node may take. At least half of the limit is for connections.
pub fn descriptors_max(descriptors: u64, http: usize) -> usize {
    let http = u64::try_from(http).unwrap_or(u64::MAX);
    let kept = DESCRIPTORS_KEPT.max((DESCRIPTORS_KEPT.saturating_add(http)).min(descriptors / 2));
    let left = descriptors.saturating_sub(kept).clamp(32, DESCRIPTORS_MAX);
    usize::try_from(left).unwrap_or(usize::MAX)
}

/// Returns how many DTLS handshakes one of `threads` may have at once, in total and from one
/// address: an eighth.
pub(crate) fn datagram_handshakes_max(threads: usize) -> (usize, usize) {
    let all = DATAGRAM_HANDSHAKES_MAX / threads.max(1);
    let all = all.max(DATAGRAM_HANDSHAKES_THREAD_MIN);
    (all, all / 8)
}

/// Timeouts of an idle or stalled connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Send timeout: a peer that does not drain its send buffer is dropped after one to two of
    /// these.
    pub(crate) stall: Duration,
    /// Idle timeout: a connection without a byte in either direction ends after this time, give or
    /// take one `stall`.
    pub(crate) idle: Duration,
}

/// Accounting of descriptors for connections, for the node and for each client address.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    descriptors: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
    address_max: usize,
    emptied: Notify,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The node has as many connections as it may have.
    Node,
    /// The address has as many connections as it may have.
    Address,
}

/// Place of a connection. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: Option<IpAddr>,
    descriptors: usize,
}

impl Places {
    /// Allows `max` descriptors in total and half of them per address, so that one client cannot
    /// shut out all others.
    pub(crate) fn new(max: usize) -> Arc<Places> {
        let (taken, descriptors) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (address_max, emptied) = (max.div_ceil(2), Notify::new());
        let by_address = Mutex::default();
        Arc::new(Places { taken, descriptors, by_address, max, address_max, emptied })
    }

    /// Takes a place with this many descriptors. `address` is none for a proxy: its clients are
    /// counted instead, once their addresses are known.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        descriptors: usize,
    ) -> Result<Place, Full> {
        let before = self.descriptors.fetch_add(descriptors, Ordering::Relaxed);
        if before + descriptors > self.max {
            self.descriptors.fetch_sub(descriptors, Ordering::Relaxed);
            return Err(Full::Node);
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { places: Arc::clone(self), address: None, descriptors };
        match address {
            Some(address) => place.count_for(address).map(|()| place),
            None => Ok(place),
        }
    }

    /// Waits until no place is taken.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.taken() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Returns the number of taken places.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Place {
    /// Counts the connection for this address from now on.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> Result<(), Full> {
        let address = network(address);
        let places = &self.places;
        let mut counts = places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count + self.descriptors > places.address_max {
            return Err(Full::Address);
        }
        *count += self.descriptors;
        drop(counts);
        self.uncount();
        self.address = Some(address);
        Ok(())
    }

    fn uncount(&mut self) {
        let Some(address) = self.address.take() else { return };
        let mut counts = self.places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= self.descriptors;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.uncount();
        self.places.descriptors.fetch_sub(self.descriptors, Ordering::Relaxed);
        if self.places.taken.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.places.emptied.notify_waiters();
        }
    }
}

/// Returns the unit of counting per address: an IPv4 address or an IPv6 /64. A client with one IPv6
/// address usually controls the whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_never_has_more_than_half_of_all_places() {
        let places = Places::new(8);
        let take = |address: &str| places.take(Some(address.parse().unwrap()), 2);
        let first = (take("192.0.2.1").unwrap(), take("::ffff:192.0.2.1").unwrap());
        assert_eq!(take("192.0.2.1").unwrap_err(), Full::Address);
        let other = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
        assert_eq!(take("192.0.2.3").unwrap_err(), Full::Node);
        drop(first);
        assert_eq!(take("2001:db8::3").unwrap_err(), Full::Address);
        let mut proxied = places.take(None, 2).unwrap();
        assert_eq!(proxied.count_for("2001:db8::4".parse().unwrap()), Err(Full::Address));
        proxied.count_for("2001:db8:0:1::".parse().unwrap()).unwrap();
        assert_eq!(places.taken(), 3);
        drop((other, proxied));
        assert_eq!(places.taken(), 0);
        assert!(places.by_address.lock().unwrap().is_empty());
    }

    #[test]
    fn threads_share_the_handshakes_of_the_node() {
        assert_eq!(datagram_handshakes_max(0), (1024, 128));
        for threads in 1..=64 {
            let (all, of_address) = datagram_handshakes_max(threads);
            assert!(all * threads <= DATAGRAM_HANDSHAKES_MAX, "{threads}");
            assert!(of_address >= 2 && of_address * 8 <= all, "{threads}");
        }
        assert_eq!(datagram_handshakes_max(1_000), (16, 2));
    }

    #[test]
    fn there_are_never_more_connections_than_descriptors_for_them() {
        assert_eq!(descriptors_max(4096, 0), 3840);
        assert_eq!(descriptors_max(4096, 384), 3456);
        assert_eq!(descriptors_max(1024, 384), 512);
        assert_eq!(descriptors_max(300, 384), 44);
        assert_eq!(descriptors_max(0, 384), 32);
        assert_eq!(descriptors_max(u64::MAX, 384), 1 << 21);
        let places = Places::new(3);
        let first = (places.take(None, 1).unwrap(), places.take(None, 1).unwrap());
        assert_eq!(places.take(None, 2).unwrap_err(), Full::Node);
        let last = places.take(None, 1).unwrap();
        assert_eq!(places.taken(), 3);
        drop((first, last));
        places.take(None, 2).unwrap();
    }
}
