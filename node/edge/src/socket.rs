//! Listening sockets, TLS termination on them, and forwarding to upstreams.

mod connect;
mod connection;
mod converse;
mod counters;
mod drain;
pub(crate) mod dtls;
mod failure;
mod forward;
mod handshake;
pub mod limits;
mod listener;
mod opening;
mod outgoing;
mod passing;
mod record;
mod session;
mod stream;
mod tls_stream;
mod upstream;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use conclave_store::{
    id::ListenerName,
    record::{Listener, ListenerPolicy, ListenerProtocol},
};
use tokio::sync::watch;

use crate::live::{Live, Sockets};
use counters::ListenerCounters;
use drain::Draining;
use limits::Places;
use listener::{Accepting, Open};
use workers::Worker;

pub use counters::{Handshakes, ListenerTotals, failure_reasons};
pub use passing::PassedSocket;
pub use record::AccessLog;
pub use upstream::{Allowed, Upstream, UpstreamError};

/// Options of the edge.
pub struct EdgeOptions {
    /// Addresses for listeners without an address of their own; empty means all.
    pub addresses: Vec<IpAddr>,
    /// Rules for upstream addresses.
    pub upstreams: Allowed,
    /// Longest duration of a handshake.
    pub handshake_timeout: Duration,
    /// A DTLS session without application data in either direction ends after this time.
    pub datagram_idle: Duration,
    /// Most descriptors for connections at the same time.
    pub descriptors_max: usize,
}

/// Status of a listener on this node.
#[derive(Debug, Clone)]
pub struct ListenerState {
    /// Name of the listener.
    pub name: ListenerName,
    /// Open addresses.
    pub open: Vec<SocketAddr>,
    /// Why an address is not open, one sentence each.
    pub problems: Vec<String>,
}

/// Totals since the start, over all listeners.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Connections open now.
    pub connections: u64,
    /// Completed handshakes, including resumed ones.
    pub handshakes: u64,
    /// Handshakes with resumption.
    pub resumed: u64,
}

/// All listeners of this node; cheap to clone.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
}

struct Shared {
    live: Live,
    options: EdgeOptions,
    workers: Vec<Worker>,
    places: Arc<Places>,
    listeners: Mutex<BTreeMap<ListenerName, OpenListener>>,
    draining: Mutex<Option<Draining>>,
    /// Whether the node drains, for those who wait for it.
    drains: watch::Sender<bool>,
    /// Sockets of an earlier process that no listener has taken yet.
    adopted: Mutex<Vec<PassedSocket>>,
    reads_datagrams: watch::Sender<bool>,
    access: record::Access,
    /// Counts changes of the open sockets.
    socket_changes: watch::Sender<u64>,
}

struct OpenListener {
    listener: Listener,
    accepting: Arc<ArcSwap<Accepting>>,
    counters: Arc<ListenerCounters>,
    sockets: BTreeMap<SocketAddr, Result<Open, String>>,
}

impl Edge {
    /// Starts the worker threads. No listener is open yet.
    pub fn new(live: Live, options: EdgeOptions) -> io::Result<Edge> {
        let places = Places::new(options.descriptors_max);
        let shared = Shared {
            live,
            options,
            workers: workers::start()?,
            places,
            listeners: Mutex::default(),
            draining: Mutex::default(),
            drains: watch::Sender::new(false),
            adopted: Mutex::default(),
            reads_datagrams: watch::Sender::new(true),
            access: record::Access::default(),
            socket_changes: watch::Sender::default(),
        };
        Ok(Edge { shared: Arc::new(shared) })
    }

    /// Updates the listeners, keeps their unchanged sockets, and returns the sockets to close.
    fn take_over(&self, listeners: Vec<(Listener, ListenerPolicy)>) -> Vec<(SocketAddr, Open)> {
        let mut known = self.listeners_mut();
        let mut old = std::mem::take(&mut *known);
        let mut closing = Vec::new();
        for (listener, policy) in listeners {
            let mut before = old.remove(&listener.name);
            let counters = before.as_ref().map(|before| Arc::clone(&before.counters));
            let counters = counters.unwrap_or_default();
            let is_other = |before: &mut OpenListener| {
                before.listener.protocol.is_datagram() != listener.protocol.is_datagram()
            };
            closing.extend(before.take_if(is_other).into_iter().flat_map(OpenListener::into_open));
            let addresses = self.addresses(&listener);
            let allowed = &self.shared.options.upstreams;
            let accepting = Accepting::new(&listener, policy, allowed, Arc::clone(&counters));
            let accepting = match (accepting, &before) {
                (Ok(new), Some(before)) => {
                    before.accepting.store(Arc::new(new));
                    Arc::clone(&before.accepting)
                }
                (Ok(new), None) => Arc::new(ArcSwap::from_pointee(new)),
                (Err(error), _) => {
                    closing.extend(before.take().into_iter().flat_map(OpenListener::into_open));
                    let problem = |address| (address, Err(format!("{address}: {error}")));
                    let sockets = addresses.into_iter().map(problem).collect();
                    let nowhere = Accepting::nowhere(&listener, policy, Arc::clone(&counters));
                    let accepting = Arc::new(ArcSwap::from_pointee(nowhere));
                    let refused = OpenListener { accepting, counters, sockets, listener };
                    known.insert(refused.listener.name.clone(), refused);
                    continue;
                }
            };
            let mut sockets = before.map(|before| before.sockets).unwrap_or_default();
            let gone = sockets.extract_if(.., |address, _| !addresses.contains(address));
            closing.extend(gone.filter_map(|(address, socket)| Some((address, socket.ok()?))));
            let name = listener.name.clone();
            known.insert(name, OpenListener { listener, accepting, counters, sockets });
        }
        closing.extend(old.into_values().flat_map(OpenListener::into_open));
        closing
    }

    /// Opens missing sockets. Returns true if all are open, or if the node drains.
    fn open_all(&self) -> bool {
        if self.draining().is_some() {
            return true;
        }
        let mut listeners = self.listeners_mut();
        listeners.values_mut().for_each(|known| self.open_sockets(known, &BTreeSet::new()));
        listeners.values().all(|known| known.sockets.values().all(Result::is_ok))
    }

    /// Opens the missing sockets of a listener, except those on the ports `not`.
    fn open_sockets(&self, known: &mut OpenListener, not: &BTreeSet<u16>) {
        if !known.accepting.load().is_possible() {
            return;
        }
        for address in self.addresses(&known.listener) {
            let is_open = matches!(known.sockets.get(&address), Some(Ok(_)));
            if is_open || not.contains(&address.port()) {
                continue;
            }
            let (workers, accepting) = (&self.shared.workers, &known.accepting);
            let opened = match known.listener.protocol.is_datagram() {
                true => dtls::open(self, workers, address, accepting),
                false => listener::open(self, workers, address, accepting),
            };
            if let Err(error) = &opened {
                let name = &known.listener.name;
                tracing::warn!(event = "listener.not_open", listener = %name, %address, %error);
            }
            let problem = |error: io::Error| format!("{address}: {error}");
            let is_open = opened.is_ok();
            known.sockets.insert(address, opened.map_err(problem));
            if is_open {
                self.note_socket_change();
            }
        }
    }

    /// Closes the sockets of some protocols, after accepting the connections in their backlogs.
    async fn close_sockets(&self, of: impl Fn(ListenerProtocol) -> bool) {
        let sockets = |known: &mut OpenListener| match of(known.listener.protocol) {
            true => std::mem::take(&mut known.sockets),
            false => BTreeMap::new(),
        };
        let open: Vec<_> = self.listeners_mut().values_mut().flat_map(sockets).collect();
        for open in open.into_iter().filter_map(|(_, socket)| socket.ok()) {
            open.close().await;
        }
        self.note_socket_change();
    }

    /// Retries failed sockets periodically, until it is dropped.
    pub async fn retry(self) {
        let mut interval = tokio::time::interval(limits::OPEN_RETRY);
        loop {
            interval.tick().await;
            self.open_all();
        }
    }

    /// Checks whether this node could open the sockets of a new listener.
    pub fn try_bind(&self, listener: &Listener) -> Result<(), (SocketAddr, io::Error)> {
        for address in self.addresses(listener) {
            let kind = listener::socket_type(listener.protocol);
            listener::check(kind, address).map_err(|error| (address, error))?;
        }
        Ok(())
    }

    /// Parses `HOST:PORT` or `unix:PATH` and refuses forbidden upstreams.
    pub fn check_upstream(&self, text: &str) -> Result<Upstream, UpstreamError> {
        Upstream::parse(text, &self.shared.options.upstreams)
    }

    /// Changes which connections have a line in the log. It holds for new connections.
    pub fn set_access_log(&self, setting: AccessLog) {
        self.shared.access.set(setting);
    }

    /// Returns the status of each listener.
    pub fn listeners(&self) -> Vec<ListenerState> {
        let state = |(name, known): (&ListenerName, &OpenListener)| {
            let sockets = || known.sockets.iter();
            let open = sockets().filter(|(_, socket)| socket.is_ok());
            let problems = sockets().filter_map(|(_, socket)| socket.as_ref().err());
            ListenerState {
                name: name.clone(),
                open: open.map(|(address, _)| *address).collect(),
                problems: problems.cloned().collect(),
            }
        };
        self.listeners_mut().iter().map(state).collect()
    }

    /// Returns the totals over all listeners.
    pub fn counters(&self) -> Counters {
        let connections = u64::try_from(self.places().taken()).unwrap_or(u64::MAX);
        let mut all = Counters { connections, ..Counters::default() };
        for known in self.listeners_mut().values() {
            let (handshakes, resumed) = known.counters.completed();
            all.handshakes += handshakes;
            all.resumed += resumed;
        }
        all
    }

    /// Returns the counters of each listener.
    pub fn totals(&self) -> Vec<ListenerTotals> {
        let known = self.listeners_mut();
        let totals = known
            .values()
            .map(|known| known.counters.totals(&known.listener.name, known.listener.protocol));
        totals.collect()
    }

    /// Returns whether the threads of connections work: each takes a task within `patience`, and
    /// every open socket still has the task that accepts on it.
    pub async fn is_moving(&self, patience: Duration) -> bool {
        let accepts = self.listeners_mut().values().all(OpenListener::accepts);
        let beats: Vec<_> =
            self.shared.workers.iter().map(|worker| worker.handle.spawn(async {})).collect();
        let all = futures::future::join_all(beats);
        accepts
            && tokio::time::timeout(patience, all)
                .await
                .is_ok_and(|all| all.into_iter().all(|beat| beat.is_ok()))
    }

    /// Returns the number of failed connections for each reason.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut all: BTreeMap<&'static str, u64> = BTreeMap::new();
        for known in self.listeners_mut().values() {
            for (reason, count) in known.counters.failures.all() {
                *all.entry(reason).or_default() += count;
            }
        }
        all.into_iter()
    }

    fn places(&self) -> &Arc<Places> {
        &self.shared.places
    }

    fn draining(&self) -> MutexGuard<'_, Option<Draining>> {
        self.shared.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners_mut(&self) -> MutexGuard<'_, BTreeMap<ListenerName, OpenListener>> {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Sockets for Edge {
    /// Existing connections continue, and sockets that stay open lose no client. [`Edge::retry`]
    /// tries again to open the others.
    async fn reconcile(&self, listeners: Vec<(Listener, ListenerPolicy)>) -> bool {
        let closing = self.take_over(listeners);
        // A listener that moves answers at its new port before it leaves the old one. A port that
        // is being left can be opened only afterwards.
        let left: BTreeSet<u16> = closing.iter().map(|(address, _)| address.port()).collect();
        if !closing.is_empty() && self.draining().is_none() {
            self.listeners_mut().values_mut().for_each(|known| self.open_sockets(known, &left));
        }
        let is_closing = !closing.is_empty();
        for (_, open) in closing {
            open.close().await;
        }
        if is_closing {
            self.note_socket_change();
        }
        self.open_all()
    }
}

impl OpenListener {
    fn accepts(&self) -> bool {
        let open = self.sockets.values().filter_map(|socket| socket.as_ref().ok());
        open.flat_map(|open| &open.tasks).all(|(_, task)| !task.is_finished())
    }

    fn into_open(self) -> impl Iterator<Item = (SocketAddr, Open)> {
        self.sockets.into_iter().filter_map(|(address, socket)| Some((address, socket.ok()?)))
    }
}
