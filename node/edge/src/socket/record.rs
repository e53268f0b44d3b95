//! The access log: one line for each connection, written when it ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use conclave_store::id::ListenerName;

use super::{
    counters::ListenerCounters,
    failure::Failure,
    limits::{REFUSED_LINES_EVERY, REFUSED_LINES_MAX},
    session::Session,
};

/// End of a connection that its client or its upstream closed.
pub(crate) const CLOSED: &str = "closed";

/// Which connections have a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessLog {
    /// One in this many; 0: none.
    pub every: u64,
    /// Only those of these listeners; empty: of all.
    pub listeners: Vec<ListenerName>,
}

impl AccessLog {
    /// Returns whether the next connection of a listener has a line. `next` counts those that may
    /// have one, so that a busy listener which is left out draws none away from the others.
    fn takes(&self, listener: &ListenerName, next: &AtomicU64) -> bool {
        let may =
            self.every > 0 && (self.listeners.is_empty() || self.listeners.contains(listener));
        may && next.fetch_add(1, Relaxed).checked_rem(self.every) == Some(0)
    }
}

/// The access log of an edge.
#[derive(Default)]
pub(super) struct Access {
    setting: ArcSwap<AccessLog>,
    next: AtomicU64,
    refused: RefusedLines,
}

/// Counts the lines of refused connections in the current interval.
struct RefusedLines {
    began: Instant,
    /// Number of the interval in the upper 32 bits, lines in the lower ones. One number, because
    /// accepting a connection takes no lock.
    interval_and_count: AtomicU64,
}

impl Default for RefusedLines {
    fn default() -> RefusedLines {
        RefusedLines { began: Instant::now(), interval_and_count: AtomicU64::new(0) }
    }
}

impl RefusedLines {
    /// Counts a line at this time. Returns whether it is within the bound.
    fn may_add(&self, now: Instant) -> bool {
        let intervals =
            now.duration_since(self.began).as_millis() / REFUSED_LINES_EVERY.as_millis();
        let interval = u64::from(u32::try_from(intervals).unwrap_or(u32::MAX));
        let add = |both: u64| match (both >> 32 == interval, both & u64::from(u32::MAX)) {
            (true, count) if count >= u64::from(REFUSED_LINES_MAX) => None,
            (true, _) => Some(both + 1),
            (false, _) => Some(interval << 32 | 1),
        };
        self.interval_and_count.fetch_update(Relaxed, Relaxed, add).is_ok()
    }
}

impl Access {
    pub(super) fn set(&self, setting: AccessLog) {
        self.setting.store(Arc::new(setting));
    }

    /// Begins the line of a connection, if it has one.
    pub(super) fn begin(&self, listener: &ListenerName, remote: SocketAddr) -> Recorded {
        let is_taken = self.setting.load().takes(listener, &self.next);
        Recorded(is_taken.then(|| Arc::new(Line::new(listener.clone(), remote))))
    }

    /// Writes the line of a connection that was refused before it began, if it has one. A flood of
    /// them is counted as failures without bound, and written up to one.
    pub(super) fn refused(&self, listener: &ListenerName, remote: SocketAddr, failure: Failure) {
        if !self.setting.load().takes(listener, &self.next) {
            return;
        }
        if self.refused.may_add(Instant::now()) {
            Recorded(Some(Arc::new(Line::new(listener.clone(), remote)))).ends(failure.word());
        }
    }
}

/// What is written about a connection; nothing, if it has no line. Written when the last clone is
/// dropped, so that a connection that the node ends has its line too.
#[derive(Default, Clone)]
pub(crate) struct Recorded(Option<Arc<Line>>);

struct Line {
    began: Instant,
    listener: ListenerName,
    /// Address of the peer.
    remote: SocketAddr,
    /// Address of the client behind a proxy.
    client: OnceLock<SocketAddr>,
    agreed: OnceLock<Agreed>,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    /// The first cause of the end.
    end: OnceLock<&'static str>,
}

/// What a completed handshake agreed on.
struct Agreed {
    domain: String,
    server_name: String,
    version: &'static str,
    cipher: String,
    is_resumed: bool,
    fingerprint: String,
}

impl Line {
    fn new(listener: ListenerName, remote: SocketAddr) -> Line {
        Line {
            began: Instant::now(),
            listener,
            remote,
            client: OnceLock::new(),
            agreed: OnceLock::new(),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            end: OnceLock::new(),
        }
    }
}

impl Recorded {
    /// Notes the address of the client, as a proxy told it.
    pub(crate) fn client(&self, client: SocketAddr) {
        self.with(|line| line.client.set(client));
    }

    /// Notes a completed handshake.
    pub(crate) fn agreed(&self, session: &Session) {
        self.with(|line| {
            let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
            // Server names may hold any character: escape them.
            let server_name = session.server_name.as_deref();
            let server_name = server_name.map(|name| name.escape_debug().to_string());
            let fingerprint = session.client.as_ref().map(|client| client.fingerprint.as_str());
            let agreed = Agreed {
                domain: session.domain.to_string(),
                server_name: text(server_name.as_deref()),
                version: session.version,
                cipher: session.cipher.clone(),
                is_resumed: session.is_resumed,
                fingerprint: text(fingerprint),
            };
            let _ = line.agreed.set(agreed);
        });
    }

    /// Notes why the connection ends. Only the first cause counts.
    pub(crate) fn ends(&self, why: &'static str) {
        self.with(|line| line.end.set(why));
    }

    /// Notes a failure, and counts it for the listener.
    pub(crate) fn fails(&self, counters: &ListenerCounters, failure: impl Into<Failure>) {
        let failure = failure.into();
        counters.failures.count(failure);
        self.ends(failure.word());
    }

    /// Counts bytes from the client, for its listener too.
    pub(crate) fn up(&self, counters: &ListenerCounters, bytes: u64) {
        counters.bytes_up.fetch_add(bytes, Relaxed);
        self.with(|line| line.bytes_up.fetch_add(bytes, Relaxed));
    }

    /// Counts bytes to the client, for its listener too.
    pub(crate) fn down(&self, counters: &ListenerCounters, bytes: u64) {
        counters.bytes_down.fetch_add(bytes, Relaxed);
        self.with(|line| line.bytes_down.fetch_add(bytes, Relaxed));
    }

    fn with<T>(&self, note: impl FnOnce(&Line) -> T) {
        if let Some(line) = &self.0 {
            note(line);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let client = self.client.get().unwrap_or(&self.remote);
        let (received, sent) = (self.bytes_up.load(Relaxed), self.bytes_down.load(Relaxed));
        // A task that was ended from outside has told nothing.
        let end = self.end.get().copied().unwrap_or("ended_by_node");
        let listener = &self.listener;
        match self.agreed.get() {
            Some(Agreed { domain, server_name, version, cipher, is_resumed, fingerprint }) => {
                tracing::info!(event = "connection.ended", %listener, %client, server_name, domain, version, cipher, resumed = is_resumed, client_certificate = fingerprint, received, sent, took_ms, end);
            }
            None => {
                tracing::info!(event = "connection.ended", %listener, %client, received, sent, took_ms, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_so_many_has_a_line_and_others_have_none() {
        let name = |text: &str| ListenerName::parse(text).unwrap();
        let lines = |log: &AccessLog, listener: &str| {
            let next = AtomicU64::new(0);
            (0..12).filter(|_| log.takes(&name(listener), &next)).count()
        };
        assert_eq!(lines(&AccessLog::default(), "tls"), 0);
        assert_eq!(lines(&AccessLog { every: 1, listeners: Vec::new() }, "tls"), 12);
        let sampled = AccessLog { every: 4, listeners: vec![name("tls")] };
        assert_eq!((lines(&sampled, "tls"), lines(&sampled, "smtp")), (3, 0));
        // Connections of a listener that is left out in between change nothing.
        let next = AtomicU64::new(0);
        let drawn = (0..12).filter(|_| {
            (0..3).for_each(|_| assert!(!sampled.takes(&name("smtp"), &next)));
            sampled.takes(&name("tls"), &next)
        });
        assert_eq!(drawn.count(), 3);
    }

    #[test]
    fn a_flood_of_refused_connections_has_some_lines() {
        let lines = RefusedLines::default();
        let begin = lines.began;
        let written = |at| (0..10 * REFUSED_LINES_MAX).filter(|_| lines.may_add(at)).count();
        let max = usize::try_from(REFUSED_LINES_MAX).unwrap();
        assert_eq!(written(begin), max);
        assert_eq!(written(begin + REFUSED_LINES_EVERY / 2), 0);
        assert_eq!(written(begin + REFUSED_LINES_EVERY), max);
        assert_eq!(written(begin + 100 * REFUSED_LINES_EVERY), max);
    }

    #[test]
    fn the_first_cause_of_an_end_counts() {
        let access = Access::default();
        access.set(AccessLog { every: 1, listeners: Vec::new() });
        let listener = ListenerName::parse("tls").unwrap();
        let recorded = access.begin(&listener, ([192, 0, 2, 1], 1).into());
        let counters = ListenerCounters::default();
        recorded.fails(&counters, Failure::UnknownName);
        recorded.ends("closed");
        let line = recorded.0.as_ref().unwrap();
        assert_eq!(line.end.get(), Some(&"unknown_name"));
        access.set(AccessLog::default());
        assert!(access.begin(&listener, ([192, 0, 2, 1], 1).into()).0.is_none());
    }
}
