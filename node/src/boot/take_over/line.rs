//! The conversation of two processes after the HTTP upgrade: one word a line.
//!
//! ```text
//! running  sockets COUNT         then the sockets, with one byte for each message
//! new      stop                  everything but TLS
//! running  released              data directory and ports are free
//! new      serving               it accepts on the sockets
//! running  datagrams             it no longer reads datagrams, and finishes its connections
//! ```

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use conclave_edge::socket::PassedSocket;

use crate::{
    boot::limits::{LINE_BYTES_MAX, SOCKETS_MAX},
    process::descriptors::{self, DESCRIPTORS_MAX},
};

pub(super) const STOP: &str = "stop";
pub(super) const RELEASED: &str = "released";
pub(super) const SERVING: &str = "serving";
pub(super) const DATAGRAMS: &str = "datagrams";

pub(super) fn say(mut stream: &UnixStream, word: &str) -> io::Result<()> {
    stream.write_all(format!("{word}\n").as_bytes())
}

/// Waits for a word, at most this long for each byte; none: without end.
pub(super) fn expect(
    stream: &UnixStream,
    word: &str,
    patience: Option<Duration>,
) -> io::Result<()> {
    let heard = hear(stream, patience)?;
    match heard == word {
        true => Ok(()),
        false => Err(io::Error::other(format!("it says {heard:?} instead of {word:?}"))),
    }
}

/// Reads a line byte by byte, because descriptors may follow it.
fn hear(mut stream: &UnixStream, patience: Option<Duration>) -> io::Result<String> {
    stream.set_read_timeout(patience)?;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
            _ if line.len() >= LINE_BYTES_MAX => return Err(io::Error::other("a long line")),
            [other] => line.push(other),
        }
    }
}

pub(super) fn send_sockets(stream: &UnixStream, sockets: &[PassedSocket]) -> io::Result<()> {
    say(stream, &format!("sockets {}", sockets.len()))?;
    for some in sockets.chunks(DESCRIPTORS_MAX) {
        let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        descriptors::send(stream, b".", &some)?;
    }
    Ok(())
}

pub(super) fn receive_sockets(
    stream: &UnixStream,
    patience: Duration,
) -> io::Result<Vec<PassedSocket>> {
    let line = hear(stream, Some(patience))?;
    let count = line.strip_prefix("sockets ").and_then(|count| count.parse().ok());
    let count: usize = count
        .filter(|count| *count <= SOCKETS_MAX)
        .ok_or_else(|| io::Error::other(format!("it says {line:?} instead of its sockets")))?;
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let received = descriptors::receive(stream)?;
        if received.is_empty() {
            return Err(io::Error::other("a socket did not arrive: too many open files?"));
        }
        for socket in received {
            sockets.push(PassedSocket::of(socket)?);
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sockets_and_words_arrive_in_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sockets: Vec<PassedSocket> = (0..DESCRIPTORS_MAX + 3)
            .map(|_| PassedSocket::of(listener.try_clone().unwrap().into()).unwrap())
            .collect();
        sockets.push(PassedSocket::of(socket.into()).unwrap());
        send_sockets(&one, &sockets).unwrap();
        say(&one, STOP).unwrap();
        let received = receive_sockets(&other, SECOND).unwrap();
        expect(&other, STOP, Some(SECOND)).unwrap();
        let names = |all: &[PassedSocket]| all.iter().map(PassedSocket::name).collect::<Vec<_>>();
        assert_eq!(names(&received), names(&sockets));
    }

    #[test]
    fn what_was_not_expected_ends_the_conversation() {
        let told = |words: &str| {
            let (one, other) = UnixStream::pair().unwrap();
            say(&one, words).unwrap();
            drop(one);
            other
        };
        assert!(expect(&told("no"), STOP, Some(SECOND)).is_err());
        assert!(expect(&told(&"x".repeat(100)), STOP, Some(SECOND)).is_err());
        assert!(receive_sockets(&told("sockets 99999999"), SECOND).is_err());
        assert!(receive_sockets(&told("sockets 1"), SECOND).is_err(), "it ends before");
    }
}
