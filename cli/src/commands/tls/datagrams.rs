//! DTLS handshake, for `tls probe --dtls`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use conclave_dtls::{Connector, Facts, State, limits};

/// Shortest read timeout, because zero is an error.
const LEAST: Duration = Duration::from_millis(1);

/// Result of a handshake.
pub(in crate::commands) struct Shaken {
    pub(in crate::commands) facts: Facts,
    /// Milliseconds until the first answer.
    pub(in crate::commands) answer_ms: u128,
    /// Milliseconds from the first answer to the end of the handshake.
    pub(in crate::commands) handshake_ms: u128,
}

/// Makes a handshake with `server` for `name`, and closes the session.
pub(in crate::commands) fn shake(
    server: SocketAddr,
    name: Option<&str>,
    within: Duration,
) -> io::Result<Shaken> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let connector = Connector::new(&[]).map_err(io::Error::other)?;
    let begun = Instant::now();
    let session = connector.connect(name, begun, limits::PATH_MTU_BYTES_MAX);
    let mut session = session.map_err(io::Error::other)?;
    let (end, mut answered) = (begun + within, None);
    let mut buffer = vec![0; limits::PLAINTEXT_BYTES_MAX * 4];
    loop {
        while let Some(datagram) = session.next_datagram() {
            socket.send(&datagram)?;
        }
        match session.state() {
            State::Handshaking => {}
            State::Established => break,
            State::Closed(reason) => return Err(io::Error::other(reason.to_string())),
        }
        let now = Instant::now();
        if now >= end {
            let said = if answered.is_some() { "it breaks off" } else { "nobody answers" };
            return Err(io::Error::new(io::ErrorKind::TimedOut, said));
        }
        let due = session.next_timer().map_or(end, |due| due.min(end));
        socket.set_read_timeout(Some(due.saturating_duration_since(now).max(LEAST)))?;
        match socket.recv(&mut buffer) {
            Ok(count) => {
                answered.get_or_insert_with(Instant::now);
                session.datagram(Instant::now(), buffer.get(..count).unwrap_or_default());
            }
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
        session.timer(Instant::now());
    }
    let answered = answered.unwrap_or(begun);
    let facts = session.facts().cloned();
    let facts = facts.ok_or_else(|| io::Error::other("the handshake settled nothing"))?;
    let handshake_ms = answered.elapsed().as_millis();
    session.close();
    while let Some(datagram) = session.next_datagram() {
        // Best effort: the server's session would also time out.
        let _ = socket.send(&datagram);
    }
    Ok(Shaken { facts, answer_ms: (answered - begun).as_millis(), handshake_ms })
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
