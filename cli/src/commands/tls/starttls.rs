//! STARTTLS: the conversation in plaintext before TLS, with a server of a protocol that has it.

use std::{
    io::{Error, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use conclave_preface::{
    limits::SAID_BYTES_MAX,
    starttls::{ListenerProtocol, Reason, Sides, Step, Who, with_server},
};

/// Longest wait for the greeting of a server that speaks first.
const GREETING_TIME: Duration = Duration::from_secs(2);

/// Guesses the protocol of a server that made no handshake: by its port if its clients speak first,
/// otherwise by its greeting.
pub(super) fn guess(address: SocketAddr) -> Option<ListenerProtocol> {
    match address.port() {
        389 => return Some(ListenerProtocol::Ldap),
        5222 => return Some(ListenerProtocol::XmppClient),
        5269 => return Some(ListenerProtocol::XmppServer),
        5432 => return Some(ListenerProtocol::Postgres),
        _ => {}
    }
    let mut tcp = TcpStream::connect_timeout(&address, GREETING_TIME).ok()?;
    let mut said = Vec::new();
    hear(&mut tcp, &mut said, Instant::now() + GREETING_TIME).ok()?;
    greeted(&String::from_utf8_lossy(&said).to_ascii_uppercase(), address.port())
}

/// Returns the protocol whose servers greet so.
fn greeted(greeting: &str, port: u16) -> Option<ListenerProtocol> {
    let is_ftp = greeting.contains("FTP") || port == 21;
    let known = [
        ("* OK", ListenerProtocol::Imap),
        ("* PREAUTH", ListenerProtocol::Imap),
        ("+OK", ListenerProtocol::Pop3),
        ("\"IMPLEMENTATION\"", ListenerProtocol::Sieve),
        ("220", if is_ftp { ListenerProtocol::Ftp } else { ListenerProtocol::Smtp }),
    ];
    let found = known.into_iter().find(|(begin, _)| greeting.starts_with(begin));
    found.map(|(_, protocol)| protocol)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_known_by_its_greeting() {
        for (greeting, port, expected) in [
            ("220 mail.example ESMTP Postfix\r\n", 25, Some(ListenerProtocol::Smtp)),
            ("220 (vsFTPd 3.0.3)\r\n", 2121, Some(ListenerProtocol::Ftp)),
            ("220 welcome\r\n", 21, Some(ListenerProtocol::Ftp)),
            ("* OK [CAPABILITY IMAP4rev1] ready\r\n", 143, Some(ListenerProtocol::Imap)),
            ("+OK POP3 ready\r\n", 110, Some(ListenerProtocol::Pop3)),
            ("\"IMPLEMENTATION\" \"Dovecot\"\r\n", 4190, Some(ListenerProtocol::Sieve)),
            ("SSH-2.0-OpenSSH_9.2\r\n", 22, None),
            ("", 25, None),
        ] {
            assert_eq!(greeted(&greeting.to_ascii_uppercase(), port), expected, "{greeting}");
        }
    }
}
