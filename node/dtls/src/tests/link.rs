//! A path between a client and the engine that loses, duplicates and delays datagrams.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::client::Client;
use crate::{
    Answer, Assembly, Context, Door, Opening, Reason, Session, State, TicketKeys, is_client_hello,
};

/// The faults of a path, all derived from one seed.
#[derive(Clone)]
pub(crate) struct Path {
    seed: u64,
    loss_percent: u64,
    duplicate_percent: u64,
    reorder_percent: u64,
    /// Longer datagrams are lost.
    bytes_max: usize,
}

impl Path {
    /// Makes a path without faults.
    pub(crate) fn clear() -> Path {
        let (loss_percent, duplicate_percent, reorder_percent) = (0, 0, 0);
        Path { seed: 1, loss_percent, duplicate_percent, reorder_percent, bytes_max: 65_507 }
    }

    /// Makes a bad path: it loses `loss_percent`, duplicates 10 % and reorders 20 % of the
    /// datagrams.
    pub(crate) fn bad(seed: u64, loss_percent: u64) -> Path {
        let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Path { seed, loss_percent, duplicate_percent: 10, reorder_percent: 20, ..Path::clear() }
    }

    /// Limits the path to packets of this size.
    pub(crate) fn narrow(self, mtu: u16) -> Path {
        Path { bytes_max: usize::from(mtu) - 48, ..self }
    }

    /// xorshift64*: random enough, and the same in each run.
    fn is_in(&mut self, percent: u64) -> bool {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        (self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % 100 < percent
    }

    fn carry(&mut self, sent: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut arrived = Vec::new();
        for datagram in sent {
            if datagram.len() > self.bytes_max || self.is_in(self.loss_percent) {
                continue;
            }
            if self.is_in(self.duplicate_percent) {
                arrived.push(datagram.clone());
            }
            arrived.push(datagram);
            let last = arrived.len() - 1;
            if last > 0 && self.is_in(self.reorder_percent) {
                arrived.swap(last, last - 1);
            }
        }
        arrived
    }
}

/// The server end of a path, handling datagrams as a node does.
pub(crate) struct Server<'a> {
    door: &'a Door,
    context: &'a Context,
    tickets: Option<Arc<TicketKeys>>,
    path_mtu: u16,
    assembly: Option<Assembly>,
    /// The session, after the address is proven.
    pub(crate) session: Option<Box<dyn Session>>,
    /// Number of sessions so far.
    pub(crate) sessions: usize,
}

impl<'a> Server<'a> {
    pub(crate) fn new(door: &'a Door, context: &'a Context) -> Server<'a> {
        let (assembly, session, tickets) = (None, None, None);
        Server { door, context, tickets, path_mtu: 1500, assembly, session, sessions: 0 }
    }

    pub(crate) fn with_mtu(self, path_mtu: u16) -> Server<'a> {
        Server { path_mtu, ..self }
    }

    pub(crate) fn with_tickets(self, tickets: Arc<TicketKeys>) -> Server<'a> {
        Server { tickets: Some(tickets), ..self }
    }

    fn begin(&mut self, hello: &crate::ClientHello) {
        if self.session.as_ref().is_some_and(|session| session.began_with(hello)) {
            return;
        }
        let opening = super::opening(self.tickets.clone());
        let opening = Opening { path_mtu_bytes: self.path_mtu, ..opening };
        self.session = Some(self.context.accept(hello, opening).unwrap());
        self.sessions += 1;
    }

    /// Processes a datagram and returns the datagrams to send.
    pub(crate) fn datagram(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let client: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        if let Some(assembly) = &mut self.assembly {
            if let Ok(whole) = assembly.datagram(datagram) {
                if let Some(hello) = whole {
                    self.assembly = None;
                    self.begin(&hello);
                }
                return self.outgoing();
            }
            self.assembly = None;
        }
        if self.session.is_none() || is_client_hello(datagram) {
            match self.door.answer(client, datagram) {
                Answer::Verify(reply) => return vec![reply],
                Answer::Partial(assembly) => self.assembly = Some(assembly),
                Answer::Proven(hello) => self.begin(&hello),
                Answer::Ignore(_) => {}
            }
        } else if let Some(session) = &mut self.session {
            session.datagram(Instant::now(), datagram);
        }
        self.outgoing()
    }

    /// Returns the pending datagrams of the session.
    pub(crate) fn outgoing(&mut self) -> Vec<Vec<u8>> {
        let session = self.session.as_mut();
        session
            .map(|session| std::iter::from_fn(|| session.next_datagram()).collect())
            .unwrap_or_default()
    }

    pub(crate) fn state(&self) -> Option<&State> {
        self.session.as_ref().map(|session| session.state())
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        match self.state()? {
            State::Closed(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

/// Carries datagrams until both sides have none left. No time passes.
pub(crate) fn exchange(client: &mut Client, server: &mut Server<'_>, path: &mut Path) {
    let mut back = server.outgoing();
    loop {
        for datagram in path.carry(std::mem::take(&mut back)) {
            client.datagram(&datagram);
        }
        let there = client.outgoing();
        if there.is_empty() {
            return;
        }
        for datagram in path.carry(there) {
            back.extend(server.datagram(&datagram));
        }
    }
}

/// Carries datagrams over a path without faults. No time passes.
pub(crate) fn meet(client: &mut Client, server: &mut Server<'_>) {
    exchange(client, server, &mut Path::clear());
}

/// Carries datagrams and lets timers run until both sides are established or one has failed.
/// Returns whether both are established, and the time it took.
pub(crate) fn handshake(
    client: &mut Client,
    server: &mut Server<'_>,
    path: &mut Path,
    deadline: Duration,
) -> (bool, Duration) {
    let begin = Instant::now();
    loop {
        exchange(client, server, path);
        let now = Instant::now();
        let is_done = client.is_established && server.state() == Some(&State::Established);
        let is_over = client.failure.is_some() || server.reason().is_some();
        if is_done || is_over || now > begin + deadline {
            return (is_done, begin.elapsed());
        }
        let timer = server.session.as_ref().and_then(|session| session.next_timer());
        let next = [timer, client.next_timer(now)].into_iter().flatten().min();
        let next = next.expect("both sides wait for ever");
        std::thread::park_timeout(next.saturating_duration_since(now));
        client.timer();
        if let Some(session) = &mut server.session {
            session.timer(Instant::now());
        }
    }
}
