//! Many DTLS clients through one socket.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use conclave_dtls::{Connector, Session, State};

use super::sources::Sources;
use crate::measure::Figures;

/// How long handshakes that are under way may still take when time is over.
const LAST: Duration = Duration::from_secs(3);

/// What came of a client's datagrams.
pub(crate) enum Event {
    /// A handshake is done, and how long it took.
    Established(Ipv4Addr, Duration),
    /// The server said this.
    Plaintext(Ipv4Addr, Vec<u8>),
    /// The session is over, which nobody has asked for.
    Lost(Ipv4Addr, String),
}

struct Client {
    begun: Instant,
    session: Box<dyn Session>,
    /// The timer that stands for it; others of its are out of date.
    due: Option<Instant>,
}

/// Clients of one server, by their addresses.
pub(crate) struct Clients {
    sources: Sources,
    server: SocketAddr,
    connector: Connector,
    clients: HashMap<Ipv4Addr, Client>,
    timers: BinaryHeap<Reverse<(Instant, Ipv4Addr)>>,
    events: Vec<Event>,
}

impl Clients {
    /// Within a runtime.
    pub(crate) fn new(server: SocketAddr) -> Clients {
        let connector = Connector::new(&[]).unwrap();
        let (clients, timers, events) = (HashMap::new(), BinaryHeap::new(), Vec::new());
        Clients { sources: Sources::open(), server, connector, clients, timers, events }
    }

    /// Begins a handshake; what the client had before is forgotten.
    pub(crate) fn begin(&mut self, client: Ipv4Addr) {
        let now = Instant::now();
        let session = self.connector.connect(Some("shop.example"), now, 1500).unwrap();
        self.clients.insert(client, Client { begun: now, session, due: None });
        self.after(client);
    }

    /// Says something.
    pub(crate) fn say(&mut self, client: Ipv4Addr, plaintext: &[u8]) {
        self.clients.get_mut(&client).unwrap().session.send(plaintext).unwrap();
        self.after(client);
    }

    /// Says close_notify and forgets the client.
    pub(crate) fn close(&mut self, client: Ipv4Addr) {
        self.clients.get_mut(&client).unwrap().session.close();
        self.after(client);
        self.clients.remove(&client);
    }

    /// Whether a client has a session and no handshake is under way.
    pub(crate) fn is_established(&self, client: Ipv4Addr) -> bool {
        let known = self.clients.get(&client);
        known.is_some_and(|known| *known.session.state() == State::Established)
    }

    /// Waits for datagrams and timers until something has happened, at most until `end`.
    pub(crate) async fn events(&mut self, end: Instant) -> Vec<Event> {
        while self.events.is_empty() && Instant::now() < end {
            let due = self.timers.peek().map_or(end, |Reverse((due, _))| (*due).min(end));
            let mut came = Vec::new();
            self.sources.receive(due, |to, datagram| came.push((to, datagram.to_vec()))).await;
            for (client, datagram) in came {
                self.datagram(client, &datagram);
            }
            let now = Instant::now();
            while let Some(Reverse((due, client))) = self.timers.peek().copied()
                && due <= now
            {
                self.timers.pop();
                if let Some(known) = self.clients.get_mut(&client)
                    && known.due == Some(due)
                {
                    known.session.timer(now);
                    known.due = None;
                    self.after(client);
                }
            }
        }
        std::mem::take(&mut self.events)
    }

    fn datagram(&mut self, client: Ipv4Addr, datagram: &[u8]) {
        let Some(Client { begun, session, .. }) = self.clients.get_mut(&client) else { return };
        let was_new = *session.state() == State::Handshaking;
        session.datagram(Instant::now(), datagram);
        if was_new && *session.state() == State::Established {
            self.events.push(Event::Established(client, begun.elapsed()));
        }
        while let Some(plaintext) = session.next_plaintext() {
            self.events.push(Event::Plaintext(client, plaintext));
        }
        if let State::Closed(reason) = session.state() {
            self.events.push(Event::Lost(client, reason.to_string()));
        }
        self.after(client);
        if matches!(self.events.last(), Some(Event::Lost(..))) {
            self.clients.remove(&client);
        }
    }

    /// Sends what a session has to send, and minds its timer.
    fn after(&mut self, client: Ipv4Addr) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        while let Some(datagram) = known.session.next_datagram() {
            self.sources.send(client, self.server, &datagram);
        }
        let due = known.session.next_timer();
        // One that comes too early looks again; one that comes too late does not matter here.
        if known.due.is_none()
            && let Some(due) = due
        {
            known.due = Some(due);
            self.timers.push(Reverse((due, client)));
        }
    }

    /// Handshakes by these clients, each closing and beginning anew, for so long. None is left
    /// half done: a server of one client at a time would wait for it.
    pub(crate) async fn handshakes(&mut self, clients: &[Ipv4Addr], time: Duration) -> Figures {
        let (begun, mut times) = (Instant::now(), Vec::new());
        clients.iter().for_each(|client| self.begin(*client));
        while !self.clients.is_empty() && begun.elapsed() < time + LAST {
            for event in self.events(begun + time + LAST).await {
                let client = match event {
                    Event::Established(client, took) => {
                        self.close(client);
                        times.push((begun.elapsed(), took));
                        client
                    }
                    Event::Lost(client, _) => client,
                    Event::Plaintext(..) => continue,
                };
                if begun.elapsed() < time {
                    self.begin(client);
                }
            }
        }
        self.clients.clear();
        times.retain(|(at, _)| *at < time);
        Figures::within(times.into_iter().map(|(_, took)| took).collect(), time)
    }

    /// So many handshakes in a second, each by another client of `client(number)`, for so long;
    /// those that take longer than `within` do not count. Gives how many began, and how long those
    /// took that were done.
    pub(crate) async fn arrivals(
        &mut self,
        per_second: u32,
        time: Duration,
        within: Duration,
        client: impl Fn(u32) -> Ipv4Addr,
    ) -> (u32, Figures) {
        let (begun, mut times, mut count) = (Instant::now(), Vec::new(), 0_u32);
        while begun.elapsed() < time + within {
            let due = Duration::from_secs(1) * count / per_second;
            if due <= begun.elapsed() && due < time {
                self.begin(client(count));
                count += 1;
                continue;
            }
            if due >= time && self.clients.is_empty() {
                break;
            }
            let end = if due < time { begun + due } else { begun + time + within };
            for event in self.events(end).await {
                if let Event::Established(client, took) = event {
                    if took <= within {
                        times.push(took);
                    }
                    self.close(client);
                }
            }
        }
        (count, Figures::within(times, begun.elapsed().min(time)))
    }
}
