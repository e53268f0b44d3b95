//! Bounds of the edge, and who has a place within them.

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

/// Bytes of a refused client that are read away, so that it gets our answer rather than a reset.
pub(super) const REFUSED_BYTES_MAX: u64 = 64 * 1024;
/// Longest time from the first byte to the end of the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of a drain at the end of the process.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time to connect to an upstream, all of them together.
pub(crate) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// An upstream that did not answer is asked last for this time.
pub(crate) const UPSTREAM_PAUSE: Duration = Duration::from_secs(2);
/// How long the addresses of a name are used before it is looked up again.
pub(crate) const ADDRESSES_VALID: Duration = Duration::from_secs(5);
/// Bytes that are read at once while bytes flow; four whole records. Shared by all connections of
/// a thread. What a peer does not take is kept for it up to this size, and then nothing more is
/// read for it.
pub(crate) const BUFFER_BYTES: usize = 4 * RECORD_BYTES_MAX;
/// Largest TLS record with its header (RFC 8446 §5.2).
pub(crate) const RECORD_BYTES_MAX: usize = 16 * 1024 + 256 + 5;
/// Bytes of a handshake that are kept until they make a message (the largest has 64 KiB) and a
/// record more.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 64 * 1024 + RECORD_BYTES_MAX;
/// Rounds of reading and writing before other connections have their turn.
pub(crate) const ROUNDS_MAX: usize = 8;
/// How long a connection may stand still.
pub(crate) const PATIENCE: Patience =
    Patience { stall: Duration::from_secs(30), idle: Duration::from_secs(60 * 60) };
/// Longest time from the first byte to the start of TLS, or to the command that needs the server.
pub(crate) const CLEAR_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for the greeting of an upstream, and for its answer before bytes are passed on.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence on the control connection of FTP before its first data connection.
pub(crate) const CONTROL_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Longest time from a proven ClientHello of DTLS to the end of the handshake: flights that get
/// lost are repeated, and on a bad path that takes long.
pub(crate) const DATAGRAM_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Handshakes of DTLS at once on one thread. A hostile client can have 350 KiB kept while its own
/// lasts; an honest one takes a fifth of that.
pub(crate) const DATAGRAM_HANDSHAKES_MAX: usize = 1024;
/// Those of one address.
pub(crate) const DATAGRAM_HANDSHAKES_ADDRESS_MAX: usize = DATAGRAM_HANDSHAKES_MAX / 8;
/// A session of DTLS in which nobody says anything ends after this time unless the node's settings
/// say otherwise: most clients go without a word.
pub const DATAGRAM_IDLE: Duration = Duration::from_secs(10 * 60);
/// Datagrams that wait for their session; more are lost.
pub(crate) const SESSION_DATAGRAMS_MAX: usize = 64;
/// Datagrams that are taken from a socket at once.
pub(crate) const DATAGRAMS_AT_ONCE: usize = 8;
/// Room for what UDP can carry, and for several small datagrams of one client at once.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Bytes that wait in the system for a thread; it may allow less.
pub(crate) const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Refused hellos that are remembered by a socket.
pub(crate) const REFUSED_MAX: usize = 4096;
/// For how long; about as long as clients repeat them.
pub(crate) const REFUSED_VALID: Duration = Duration::from_secs(30);
/// ClientHellos in fragments that wait for the rest at a socket, of 16 KiB at most.
pub(crate) const ASSEMBLIES_MAX: usize = 256;
/// For how long.
pub(crate) const ASSEMBLY_VALID: Duration = Duration::from_secs(10);
/// Pause after the system refuses to accept, so that a full table of descriptors does not spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Pause between tries to open a socket.
pub(crate) const OPEN_RETRY: Duration = Duration::from_secs(2);
/// Connections waiting to be accepted, per socket.
pub(crate) const BACKLOG: i32 = 4096;
/// Descriptors that are left to the rest of the node.
const DESCRIPTORS_KEPT: u64 = 256;
/// Descriptors for the connections of a node, however many there are.
const DESCRIPTORS_MAX: u64 = 1 << 21;
/// A connection of TCP has one for the client and one for the upstream.
pub(crate) const CONNECTION_DESCRIPTORS: usize = 2;
/// A session of DTLS has one for its upstream; all clients share the listener's.
pub(crate) const SESSION_DESCRIPTORS: usize = 1;

/// Descriptors for connections, of all that the process may have.
pub fn descriptors_max(descriptors: u64) -> usize {
    let kept = descriptors.saturating_sub(DESCRIPTORS_KEPT).clamp(32, DESCRIPTORS_MAX);
    usize::try_from(kept).unwrap_or(usize::MAX)
}

/// How long a connection may stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A peer that takes nothing of what waits for it is given up after this time at the earliest,
    /// and after twice this time at the latest.
    pub(crate) stall: Duration,
    /// A connection without a byte in either direction ends after this time, give or take the
    /// other.
    pub(crate) idle: Duration,
}

/// Places for connections: descriptors, counted for the node and for each address.
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
    /// The node has as many connections as it can have.
    Node,
    /// This address has as many as one may have.
    Address,
}

impl Full {
    /// One word for logs and counters.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Full::Node => "too_many",
            Full::Address => "too_many_from_address",
        }
    }
}

/// A place of a connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: Option<IpAddr>,
    descriptors: usize,
}

impl Places {
    /// At most `max` descriptors, and half of them for one address: nobody shuts out all others
    /// alone.
    pub(crate) fn new(max: usize) -> Arc<Places> {
        let (taken, descriptors) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (address_max, emptied) = (max.div_ceil(2), Notify::new());
        let by_address = Mutex::default();
        Arc::new(Places { taken, descriptors, by_address, max, address_max, emptied })
    }

    /// A place for a connection with so many descriptors, of an address; none: of a proxy, whose
    /// clients are counted.
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

    /// Places taken.
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

/// What counts as one address: whoever has an IPv6 address mostly has its whole /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
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
    fn there_are_never_more_connections_than_descriptors_for_them() {
        assert_eq!(descriptors_max(4096), 3840);
        assert_eq!(descriptors_max(0), 32);
        assert_eq!(descriptors_max(u64::MAX), 1 << 21);
        let places = Places::new(3);
        let first = (places.take(None, 1).unwrap(), places.take(None, 1).unwrap());
        assert_eq!(places.take(None, 2).unwrap_err(), Full::Node);
        let last = places.take(None, 1).unwrap();
        assert_eq!(places.taken(), 3);
        drop((first, last));
        places.take(None, 2).unwrap();
    }
}
