//! A DTLS client on a socket of its own, and an upstream of datagrams.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use conclave_dtls::{Connector, Facts, Session, State};

/// How long a word waits for its echo before it is said again: datagrams get lost.
const SAY_AGAIN: Duration = Duration::from_millis(250);

/// One client.
pub struct DtlsClient {
    socket: UdpSocket,
    session: Box<dyn Session>,
}

impl DtlsClient {
    /// Sends the first datagram to `server`; `name` is the server name that it asks for.
    pub fn begin(
        connector: &Connector,
        server: SocketAddr,
        name: Option<&str>,
        path_mtu_bytes: u16,
    ) -> DtlsClient {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(server).unwrap();
        DtlsClient::begin_on(socket, connector, name, path_mtu_bytes)
    }

    /// The same on a socket that is connected already.
    pub fn begin_on(
        socket: UdpSocket,
        connector: &Connector,
        name: Option<&str>,
        path_mtu_bytes: u16,
    ) -> DtlsClient {
        let session = connector.connect(name, Instant::now(), path_mtu_bytes).unwrap();
        let mut client = DtlsClient { socket, session };
        client.flush();
        client
    }

    /// Waits for the handshake; gives what it settled, or why there was none.
    pub fn handshake(&mut self, within: Duration) -> Result<Facts, String> {
        let end = Instant::now() + within;
        while *self.session.state() == State::Handshaking && Instant::now() < end {
            self.turn(end);
        }
        match self.session.state() {
            State::Established => Ok(self.session.facts().unwrap().clone()),
            State::Closed(reason) => Err(reason.to_string()),
            State::Handshaking => Err(format!("no handshake within {within:?}")),
        }
    }

    /// Says `words` again and again until they come back; whether they do.
    pub fn is_echoed(&mut self, words: &[u8], within: Duration) -> bool {
        let end = Instant::now() + within;
        while Instant::now() < end && self.session.send(words).is_ok() {
            self.flush();
            let again = end.min(Instant::now() + SAY_AGAIN);
            while Instant::now() < again {
                self.turn(again);
                while let Some(plaintext) = self.session.next_plaintext() {
                    if plaintext == words {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Says `words` once.
    pub fn say(&mut self, words: &[u8]) {
        self.session.send(words).unwrap();
        self.flush();
    }

    /// What it is told next, unless nothing comes in time or the session ends.
    pub fn hears(&mut self, within: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + within;
        loop {
            if let Some(words) = self.session.next_plaintext() {
                return Some(words);
            }
            if Instant::now() >= end || matches!(self.session.state(), State::Closed(_)) {
                return None;
            }
            self.turn(end);
        }
    }

    /// Says close_notify.
    pub fn close(mut self) {
        self.session.close();
        self.flush();
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        self.session.state()
    }

    /// Waits for a datagram, a timer, or `end`.
    fn turn(&mut self, end: Instant) {
        let due = self.session.next_timer().map_or(end, |due| due.min(end));
        let wait = due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 65_536];
        // An error is nobody at the other end (ICMP), which may change.
        if let Ok(count) = self.socket.recv(&mut buffer) {
            self.session.datagram(Instant::now(), &buffer[..count]);
        }
        self.session.timer(Instant::now());
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.session.next_datagram() {
            let _ = self.socket.send(&datagram);
        }
    }
}

/// An upstream that sends each datagram back to where it came from, for as long as this process.
pub fn echo_datagrams() -> SocketAddr {
    echo_datagrams_at((Ipv4Addr::LOCALHOST, 0).into())
}

/// The same at an address.
pub fn echo_datagrams_at(address: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        loop {
            // Errors tell of a client that has gone.
            if let Ok((count, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..count], client);
            }
        }
    });
    address
}
