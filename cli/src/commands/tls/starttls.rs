//! STARTTLS: the conversation in plaintext before TLS, with a server of a protocol that has it.

use std::{
    io::{Error, ErrorKind, Read, Write},
    net::{IpAddr, TcpStream},
    time::{Duration, Instant},
};

use conclave_preface::{
    limits::SAID_BYTES_MAX,
    starttls::{ListenerProtocol, Reason, Sides, Step, Who, with_server},
};

/// Speaks with a server until TLS starts on the stream. An XMPP stream is opened to `name`. Sends
/// only what leads to TLS; any other course of the conversation is an error.
pub(super) fn start(
    protocol: ListenerProtocol,
    tcp: &mut TcpStream,
    name: &str,
    time: Duration,
) -> Result<(), Error> {
    let own = match tcp.local_addr()?.ip().to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        // Address literal (RFC 5321 §4.1.3).
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    };
    let unknown = || Error::new(ErrorKind::InvalidInput, "no command of it starts TLS");
    let mut conversation = with_server(protocol, &own).ok_or_else(unknown)?;
    let mut sides = Sides::default();
    // The first words of a client. Only XMPP passes them on to the server.
    sides.client.said = format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:{}' \
         xmlns:stream='http://etherx.jabber.org/streams' to='{name}' version='1.0'>",
        if protocol == ListenerProtocol::XmppServer { "server" } else { "client" },
    )
    .into_bytes();
    let until = Instant::now() + time;
    loop {
        let step = conversation.step(&mut sides);
        tcp.write_all(&std::mem::take(&mut sides.upstream.tell))?;
        let said = &mut sides.upstream.said;
        match step {
            // Bytes behind the command that starts TLS are an attack. The conversation checks this
            // as well.
            Step::StartTls if said.is_empty() => return Ok(()),
            Step::StartTls => return Err(Error::other(Reason::Injected)),
            Step::Close(reason) => return Err(Error::other(reason)),
            Step::Read(Who::Upstream) if said.len() < SAID_BYTES_MAX => hear(tcp, said, until)?,
            Step::Read(_) | Step::ReadAny | Step::Pass => {
                return Err(Error::other(Reason::TooMuch));
            }
        }
    }
}

fn hear(tcp: &mut TcpStream, said: &mut Vec<u8>, until: Instant) -> Result<(), Error> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::new(ErrorKind::TimedOut, "the server is too slow"));
    }
    tcp.set_read_timeout(Some(left))?;
    let mut buffer = [0; 4096];
    match tcp.read(&mut buffer) {
        Ok(0) => Err(Error::new(ErrorKind::UnexpectedEof, "the server has ended the connection")),
        Ok(count) => {
            said.extend_from_slice(buffer.get(..count).unwrap_or_default());
            Ok(())
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(Error::new(ErrorKind::TimedOut, "the server is too slow"))
        }
        Err(error) => Err(error),
    }
}
