//! Counters of a listener since the start of the process. Handshakes only add to them: no counter
//! has a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use conclave_store::{id::ListenerName, record::ListenerProtocol};
use conclave_system::histogram::{Histogram, Observed};

use super::failure::{Failure, Failures};

/// Versions of TLS and DTLS, in the order of their counters.
const VERSIONS: [&str; 3] = ["TLSv1.2", "TLSv1.3", "DTLSv1.2"];

/// Counters of a listener. They survive changes of its settings.
#[derive(Default)]
pub(crate) struct ListenerCounters {
    /// Connections accepted.
    pub(crate) connections: AtomicU64,
    /// Connections open now.
    open: AtomicU64,
    /// Completed handshakes of each version, full ones and resumptions.
    handshakes: [[AtomicU64; 2]; VERSIONS.len()],
    /// Durations of completed handshakes, full ones and resumptions.
    durations: [Histogram; 2],
    /// Completed handshakes with an accepted client certificate.
    client_certificates: AtomicU64,
    /// Plaintext bytes from clients.
    pub(crate) bytes_up: AtomicU64,
    /// Plaintext bytes to clients.
    pub(crate) bytes_down: AtomicU64,
    /// Refused and failed connections.
    pub(crate) failures: Failures,
}

/// A completed handshake, as it is counted.
pub(crate) struct Handshake {
    /// Version, as `TLSv1.3`.
    pub(crate) version: &'static str,
    pub(crate) is_resumed: bool,
    /// Whether the client has shown an acceptable certificate.
    pub(crate) has_client: bool,
    /// Time since the connection, or since the client's address was proven.
    pub(crate) took: Duration,
}

/// A connection that counts as open until this is dropped.
pub(crate) struct Counted<'a>(&'a ListenerCounters);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Completed handshakes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshakes {
    /// Version, as `TLSv1.3`.
    pub version: &'static str,
    /// Whether they resumed an earlier session.
    pub is_resumed: bool,
    /// Their number.
    pub count: u64,
}

/// What a listener has counted since the start of the process.
#[derive(Debug, Clone)]
pub struct ListenerTotals {
    /// Name of the listener.
    pub name: ListenerName,
    /// Whether it speaks DTLS.
    pub is_datagram: bool,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Completed handshakes.
    pub handshakes: Vec<Handshakes>,
    /// Durations of the full handshakes, and those of the resumptions.
    pub durations: [Observed; 2],
    /// Completed handshakes with an accepted client certificate.
    pub client_certificates: u64,
    /// Plaintext bytes from clients.
    pub bytes_up: u64,
    /// Plaintext bytes to clients.
    pub bytes_down: u64,
    /// Failed connections for each reason, those without any included.
    pub failures: Vec<(&'static str, u64)>,
}

impl ListenerCounters {
    /// Counts a completed handshake.
    pub(crate) fn handshake(&self, handshake: &Handshake) {
        let kind = usize::from(handshake.is_resumed);
        let of_version = VERSIONS.iter().zip(&self.handshakes);
        let counts = of_version.filter(|(version, _)| **version == handshake.version);
        for count in counts.filter_map(|(_, counts)| counts.get(kind)) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(durations) = self.durations.get(kind) {
            durations.observe(handshake.took);
        }
        self.client_certificates.fetch_add(u64::from(handshake.has_client), Relaxed);
    }

    /// Counts a connection as open.
    pub(crate) fn open(&self) -> Counted<'_> {
        self.open.fetch_add(1, Relaxed);
        Counted(self)
    }

    /// Returns the completed handshakes, and how many of them were resumptions.
    pub(crate) fn completed(&self) -> (u64, u64) {
        let sum = |kind: usize| {
            let counts = self.handshakes.iter().filter_map(|counts| counts.get(kind));
            counts.map(|count| count.load(Relaxed)).sum::<u64>()
        };
        (sum(0) + sum(1), sum(1))
    }

    /// Returns all counters.
    pub(crate) fn totals(&self, name: &ListenerName, protocol: ListenerProtocol) -> ListenerTotals {
        let is_datagram = protocol.is_datagram();
        let [full, resumed] = &self.durations;
        let of_version = VERSIONS.iter().zip(&self.handshakes);
        let spoken = of_version.filter(|(version, _)| version.starts_with('D') == is_datagram);
        let handshakes = spoken.flat_map(|(version, counts)| {
            [false, true].into_iter().zip(counts).map(|(is_resumed, count)| Handshakes {
                version,
                is_resumed,
                count: count.load(Relaxed),
            })
        });
        ListenerTotals {
            name: name.clone(),
            is_datagram,
            accepted: self.connections.load(Relaxed),
            open: self.open.load(Relaxed),
            handshakes: handshakes.collect(),
            durations: [full.read(), resumed.read()],
            client_certificates: self.client_certificates.load(Relaxed),
            bytes_up: self.bytes_up.load(Relaxed),
            bytes_down: self.bytes_down.load(Relaxed),
            failures: self.failures.all().collect(),
        }
    }
}

/// Returns the reasons for failed connections, in the order of [`ListenerTotals::failures`].
pub fn failure_reasons() -> impl Iterator<Item = &'static str> {
    Failure::words()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_count_by_version_and_kind() {
        let counters = ListenerCounters::default();
        for (version, is_resumed, has_client) in
            [("TLSv1.3", false, true), ("TLSv1.3", true, false), ("TLSv1.2", false, false)]
        {
            let took = Duration::from_millis(1);
            counters.handshake(&Handshake { version, is_resumed, has_client, took });
        }
        assert_eq!(counters.completed(), (3, 1));
        let name = ListenerName::parse("tls").unwrap();
        let totals = counters.totals(&name, ListenerProtocol::Tls);
        let counts: Vec<u64> = totals.handshakes.iter().map(|one| one.count).collect();
        assert_eq!(counts, [1, 0, 1, 1]);
        assert_eq!(totals.durations.map(|one| one.count), [2, 1]);
        assert_eq!(totals.client_certificates, 1);
    }

    #[test]
    fn a_connection_is_open_until_it_has_ended() {
        let counters = ListenerCounters::default();
        let open = counters.open();
        assert_eq!(counters.open.load(Relaxed), 1);
        drop(open);
        assert_eq!(counters.open.load(Relaxed), 0);
    }
}
