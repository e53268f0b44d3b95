//! A client and a server in memory, and what is on its way between them.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use conclave_dtls::{
    Answer, Assembly, ClientHello, Opening, Session, State, is_client_hello, limits,
};

use super::{ASKING, CONNECTOR, DOOR, OPEN, address};

/// Bytes that one datagram may cause: the longest flight of the server twice.
const CAUSED_BYTES_MAX: usize = 8 * 1024;

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// A client, perhaps a server's session, and the datagrams that are for each.
pub(super) struct Link {
    client: Box<dyn Session>,
    server: Option<Box<dyn Session>>,
    assembly: Option<Assembly>,
    is_asking: bool,
    path_mtu_bytes: u16,
    pub(super) to_client: VecDeque<Vec<u8>>,
    pub(super) to_server: VecDeque<Vec<u8>>,
    /// What each side has said and the other has not heard, the server's first.
    said: [BTreeSet<Vec<u8>>; 2],
    words: u32,
    /// Bytes that came to the server and went from it before there was a session.
    unproven: (usize, usize),
}

impl Link {
    pub(super) fn new(is_asking: bool, path_mtu_bytes: u16) -> Link {
        let client = CONNECTOR.connect(Some("shop.example"), Instant::now(), path_mtu_bytes);
        let mut link = Link {
            client: client.unwrap(),
            server: None,
            assembly: None,
            is_asking,
            path_mtu_bytes,
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            said: [BTreeSet::new(), BTreeSet::new()],
            words: 0,
            unproven: (0, 0),
        };
        link.drain(Side::Client);
        link
    }

    /// The session of a side; the server's begins behind the door.
    pub(super) fn session(&mut self, side: Side) -> Option<&mut Box<dyn Session>> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Server => self.server.as_mut(),
        }
    }

    pub(super) fn is_established(&mut self, side: Side) -> bool {
        self.session(side).is_some_and(|session| *session.state() == State::Established)
    }

    /// Datagrams that are for a side.
    pub(super) fn queue(&mut self, side: Side) -> &mut VecDeque<Vec<u8>> {
        match side {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        }
    }

    /// Lets a datagram arrive, as a node would take it.
    pub(super) fn arrive(&mut self, side: Side, datagram: &[u8]) {
        let is_for_door = side == Side::Server
            && (self.server.is_none() || self.assembly.is_some() || is_client_hello(datagram));
        if is_for_door {
            self.at_door(datagram);
        } else {
            self.put(side, datagram);
        }
    }

    fn at_door(&mut self, datagram: &[u8]) {
        self.unproven.0 += datagram.len();
        if let Some(assembly) = &mut self.assembly {
            match assembly.datagram(datagram) {
                Ok(None) => return,
                Ok(Some(hello)) => {
                    self.assembly = None;
                    return self.begin(&hello);
                }
                Err(_) => self.assembly = None,
            }
        }
        match DOOR.answer(address(1), datagram) {
            Answer::Verify(reply) => {
                self.unproven.1 += reply.len();
                assert!(self.unproven.1 < self.unproven.0, "more bytes out than in");
                self.to_client.push_back(reply);
            }
            Answer::Partial(assembly) => self.assembly = Some(assembly),
            Answer::Proven(hello) => self.begin(&hello),
            _ => {}
        }
    }

    fn begin(&mut self, hello: &ClientHello) {
        if self.server.as_ref().is_some_and(|session| session.began_with(hello)) {
            return;
        }
        let context = if self.is_asking { &ASKING } else { &OPEN };
        let (now, path_mtu_bytes) = (Instant::now(), self.path_mtu_bytes);
        let opening = Opening { now, unix_seconds: 1_767_225_600, tickets: None, path_mtu_bytes };
        self.server = Some(context.accept(hello, opening).unwrap());
        // The client cannot have meant what it says to the next session.
        self.said = [BTreeSet::new(), BTreeSet::new()];
        self.drain(Side::Server);
    }

    /// Puts bytes into a session, past the door.
    pub(super) fn put(&mut self, side: Side, datagram: &[u8]) {
        let Some(session) = self.session(side) else { return };
        let was = session.state().clone();
        session.datagram(Instant::now(), datagram);
        if matches!(was, State::Closed(_)) {
            assert_eq!(*session.state(), was, "what is closed stays closed");
        }
        self.drain(side);
    }

    pub(super) fn timer(&mut self, side: Side) {
        let Some(session) = self.session(side) else { return };
        let due = session.next_timer().unwrap_or_else(Instant::now);
        session.timer(due);
        self.drain(side);
    }

    pub(super) fn close(&mut self, side: Side) {
        let Some(session) = self.session(side) else { return };
        session.close();
        assert!(matches!(session.state(), State::Closed(_)) && session.next_timer().is_none());
        self.drain(side);
    }

    /// Says something that was never said before.
    pub(super) fn say(&mut self, side: Side, bytes: usize) {
        let mut plaintext = self.words.to_be_bytes().to_vec();
        plaintext.resize(bytes.max(4), 0);
        self.words += 1;
        let Some(session) = self.session(side) else { return };
        let was_established = *session.state() == State::Established;
        let is_sent = session.send(&plaintext).is_ok();
        assert!(is_sent == was_established || bytes > limits::PLAINTEXT_BYTES_MAX);
        let mut datagrams = Vec::new();
        while let Some(datagram) = session.next_datagram() {
            datagrams.push(datagram);
        }
        self.queue(other(side)).extend(datagrams);
        if is_sent {
            self.said[place(other(side))].insert(plaintext);
        }
    }

    /// Words of a side that have not arrived.
    pub(super) fn unheard(&self, from: Side) -> usize {
        self.said[place(other(from))].len()
    }

    /// Takes out all that a session has, and judges it.
    fn drain(&mut self, side: Side) {
        let path_bytes = usize::from(self.path_mtu_bytes - limits::IP_UDP_BYTES);
        let (mut caused, mut datagrams, mut plaintexts) = (0, Vec::new(), Vec::new());
        let Some(session) = self.session(side) else { return };
        while let Some(datagram) = session.next_datagram() {
            assert!(datagram.len() <= path_bytes, "{} bytes in a datagram", datagram.len());
            caused += datagram.len();
            datagrams.push(datagram);
        }
        assert!(caused <= CAUSED_BYTES_MAX, "one datagram causes {caused} bytes");
        while let Some(plaintext) = session.next_plaintext() {
            plaintexts.push(plaintext);
        }
        assert!(session.facts().is_some() || *session.state() != State::Established);
        let is_closed = matches!(session.state(), State::Closed(_));
        assert!(!is_closed || session.next_timer().is_none(), "a timer of what is over");
        self.queue(other(side)).extend(datagrams);
        for plaintext in plaintexts {
            let is_known = self.said[place(side)].remove(&plaintext);
            assert!(is_known, "nobody said this, or said it twice: {plaintext:?}");
        }
    }
}

pub(super) fn other(side: Side) -> Side {
    if side == Side::Client { Side::Server } else { Side::Client }
}

fn place(listener: Side) -> usize {
    usize::from(listener == Side::Server)
}
