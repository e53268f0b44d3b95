//! Sockets where TLS ends, and the way from there to the upstream.

mod connection;
mod drain;
mod failure;
mod forward;
mod handshake;
pub(crate) mod limits;
mod listener;
mod session;
pub(crate) mod tls;
mod upstream;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_store::{id::ListenerName, record::Listener};
use tokio::sync::{Semaphore, watch};

use crate::live::Live;
use drain::Draining;
use listener::Open;

use failure::Failures;
pub(crate) use session::Chosen;
pub(crate) use upstream::{Upstream, UpstreamError};

/// How to open sockets.
pub(crate) struct EdgeOptions {
    /// Addresses for listeners that name none; empty: all.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where no upstream may point: admin and health ports.
    pub(crate) forbidden: Vec<SocketAddr>,
    /// Longest time for a handshake.
    pub(crate) handshake_timeout: Duration,
    /// Connections at once.
    pub(crate) connections_max: usize,
}

/// A listener on this node.
#[derive(Debug, Clone)]
pub(crate) struct ListenerState {
    pub(crate) name: ListenerName,
    pub(crate) open: Vec<SocketAddr>,
    pub(crate) problems: Vec<String>,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) connections: u64,
    /// Handshakes that came to their end, resumed ones among them.
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
}

/// Handshakes that came to their end.
#[derive(Default)]
struct Counted {
    handshakes: AtomicU64,
    resumed: AtomicU64,
}

impl Counted {
    fn handshake(&self, is_resumed: bool) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        self.resumed.fetch_add(u64::from(is_resumed), Ordering::Relaxed);
    }
}

/// All listeners of this node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Edge {
    shared: Arc<Shared>,
}

struct Shared {
    live: Live,
    options: EdgeOptions,
    listeners: Mutex<BTreeMap<ListenerName, OpenListener>>,
    connections: Arc<Semaphore>,
    counted: Counted,
    failures: Failures,
    draining: Mutex<Option<Draining>>,
    /// Number of times that all connections were closed.
    closing: watch::Sender<u64>,
}

struct OpenListener {
    listener: Listener,
    sockets: BTreeMap<SocketAddr, Result<Open, String>>,
}

impl Edge {
    pub(crate) fn new(live: Live, options: EdgeOptions) -> Edge {
        let connections = Arc::new(Semaphore::new(options.connections_max));
        let shared = Shared {
            live,
            options,
            listeners: Mutex::default(),
            connections,
            counted: Counted::default(),
            failures: Failures::default(),
            draining: Mutex::default(),
            closing: watch::Sender::default(),
        };
        Edge { shared: Arc::new(shared) }
    }

    /// Opens and closes sockets until they are those of `listeners`. Connections that stand go
    /// on. False if a socket cannot be opened; it is tried again.
    pub(crate) async fn reconcile(&self, listeners: Vec<Listener>) -> bool {
        let mut open = self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, known| listeners.contains(&known.listener));
        for listener in listeners {
            let known = open.entry(listener.name.clone()).or_insert_with(|| OpenListener {
                listener: listener.clone(),
                sockets: BTreeMap::new(),
            });
            self.open_sockets(known);
        }
        open.values().all(|known| known.sockets.values().all(Result::is_ok))
    }

    fn open_sockets(&self, known: &mut OpenListener) {
        if self.is_draining() {
            return;
        }
        for address in self.addresses(&known.listener) {
            if matches!(known.sockets.get(&address), Some(Ok(_))) {
                continue;
            }
            let opened = listener::open(self.clone(), address, &known.listener);
            if let Err(error) = &opened {
                let name = &known.listener.name;
                tracing::warn!(event = "listener.not_open", listener = %name, %address, %error);
            }
            let problem = |error: io::Error| format!("{address}: {error}");
            known.sockets.insert(address, opened.map_err(problem));
        }
    }

    fn close_sockets(&self) {
        let mut open = self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        open.values_mut().for_each(|known| known.sockets.clear());
    }

    fn open_all(&self) -> bool {
        let mut open = self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        open.values_mut().for_each(|known| self.open_sockets(known));
        open.values().all(|known| known.sockets.values().all(Result::is_ok))
    }

    /// Tries again what could not be opened; works until it is dropped.
    pub(crate) async fn retry(self) {
        let mut interval = tokio::time::interval(limits::OPEN_RETRY);
        loop {
            interval.tick().await;
            let mut open = self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            open.values_mut().for_each(|known| self.open_sockets(known));
        }
    }

    /// Whether this node could open the sockets of a new listener now.
    pub(crate) fn try_bind(&self, listener: &Listener) -> Result<(), (SocketAddr, io::Error)> {
        for address in self.addresses(listener) {
            listener::bind(address).map_err(|error| (address, error))?;
        }
        Ok(())
    }

    /// Reads `HOST:PORT` and refuses what no upstream may be.
    pub(crate) fn check_upstream(&self, text: &str) -> Result<Upstream, UpstreamError> {
        Upstream::parse(text, &self.shared.options.forbidden)
    }

    /// Every listener and its sockets.
    pub(crate) fn listeners(&self) -> Vec<ListenerState> {
        let open = self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter()
            .map(|(name, known)| ListenerState {
                name: name.clone(),
                open: known
                    .sockets
                    .iter()
                    .filter(|(_, socket)| socket.is_ok())
                    .map(|(address, _)| *address)
                    .collect(),
                problems: known
                    .sockets
                    .values()
                    .filter_map(|s| s.as_ref().err().cloned())
                    .collect(),
            })
            .collect()
    }

    /// Counters.
    pub(crate) fn counters(&self) -> Counters {
        let free = self.shared.connections.available_permits();
        let taken = self.shared.options.connections_max.saturating_sub(free);
        Counters {
            connections: u64::try_from(taken).unwrap_or(u64::MAX),
            handshakes: self.shared.counted.handshakes.load(Ordering::Relaxed),
            resumed: self.shared.counted.resumed.load(Ordering::Relaxed),
        }
    }

    /// Handshakes that did not come to their end since the start, by reason.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.shared.failures.all()
    }

    /// Stops accepting and waits until connections have ended, at most `timeout`.
    pub(crate) async fn shutdown(&self, timeout: Duration) {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let all = u32::try_from(self.shared.options.connections_max).unwrap_or(u32::MAX);
        let ended = self.shared.connections.acquire_many(all);
        let _ = tokio::time::timeout(timeout, ended).await;
    }

    fn addresses(&self, listener: &Listener) -> Vec<SocketAddr> {
        let addresses = match listener.address {
            Some(address) => vec![address],
            None if self.shared.options.addresses.is_empty() => {
                vec![IpAddr::from(Ipv6Addr::UNSPECIFIED)]
            }
            None => self.shared.options.addresses.clone(),
        };
        addresses.into_iter().map(|address| SocketAddr::new(address, listener.port)).collect()
    }
}
