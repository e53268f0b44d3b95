//! A copy of the audit trail at a syslog server (RFC 5424): one message for each entry, whose text
//! is the line that the hash is about, so that a receiver can verify the trail.
//!
//! The last entry that was sent is kept in the data directory. It is written after the entry was
//! sent, so a crash in between sends entries twice and leaves out none.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use conclave_store::{
    record::{AuditEntry, AuditResult},
    state::State,
};
use conclave_system::files;
use rustix::io::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket, UnixDatagram, lookup_host},
    time::{sleep, timeout},
};

use super::{Copied, Had, Lacking, batch, lacking};
use crate::{
    config::SyslogServer,
    life::limits::{AUDIT_DATAGRAMS_MAX, AUDIT_REFUSAL_WAIT, AUDIT_SEND_EVERY, AUDIT_SEND_TIMEOUT},
};

/// File of the last entry that was sent: its line.
pub(in crate::life) const SENT: &str = "audit.sent";
/// Facility of all messages: log audit (RFC 5424 §6.2.1).
const FACILITY: u8 = 13;
/// Longest MSGID (RFC 5424 §6).
const MSGID_BYTES_MAX: usize = 32;

/// The server, and what this node is to it.
pub(super) struct SyslogCopy {
    pub(super) server: SyslogServer,
    sent: PathBuf,
    host: String,
}

impl SyslogCopy {
    pub(super) fn new(server: SyslogServer, data_dir: &Path) -> SyslogCopy {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        SyslogCopy { server, sent: data_dir.join(SENT), host }
    }

    /// Sends the entries that the server does not have yet, up to a bound.
    pub(super) async fn copy(&self, state: &State) -> io::Result<Copied> {
        let had = match tokio::fs::read(&self.sent).await {
            // A damaged file means that all is sent again.
            Ok(line) => Had::parse(String::from_utf8_lossy(&line).trim_end()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let lacking = lacking(state, had.as_slice());
        let (number, gone) = match lacking {
            Lacking::Nothing => return Ok(Copied { is_all: true, left_out: 0 }),
            Lacking::From { number, gone } => (number, gone),
            Lacking::All => (state.audit_cut().first, 0),
        };
        let mut entries = batch(state, number);
        if !matches!(self.server, SyslogServer::Tcp(_)) {
            entries.truncate(AUDIT_DATAGRAMS_MAX);
        }
        let Some((last, _, line)) = entries.last() else {
            return Ok(Copied { is_all: true, left_out: gone });
        };
        let is_all = state.audit_last().is_none_or(|(end, _)| end == *last);
        let messages = entries.iter().map(|(_, entry, line)| self.message(entry, line));
        let messages: Vec<String> = messages.collect();
        let too_large = match &self.server {
            SyslogServer::Tcp(address) => send_stream(address, &messages).await.map(|()| 0),
            SyslogServer::Udp(address) => send_udp(address, &messages).await,
            SyslogServer::Unix(path) => send_unix(path, &messages).await,
        }?;
        let (path, line) = (self.sent.clone(), line.clone());
        let written = move || files::write_private(&path, line.as_bytes());
        tokio::task::spawn_blocking(written).await.map_err(io::Error::other)??;
        if lacking == Lacking::All {
            tracing::warn!(event = "audit.copy_other_trail", to = %self.server);
        }
        // What comes meanwhile has one round, and a server one connection for it.
        sleep(AUDIT_SEND_EVERY).await;
        Ok(Copied { is_all, left_out: gone + too_large })
    }

    /// Formats a message (RFC 5424 §6). Its text has no byte order mark: receivers would take it
    /// for a part of the line.
    fn message(&self, entry: &AuditEntry, line: &str) -> String {
        let severity = match entry.event.result {
            AuditResult::Done => 6,
            AuditResult::Failed => 5,
            AuditResult::Denied => 4,
        };
        let (priority, host, process) = (FACILITY * 8 + severity, &self.host, std::process::id());
        let time = entry.event.time_text();
        let event = &entry.event.event;
        let id: String =
            event.chars().filter(char::is_ascii_graphic).take(MSGID_BYTES_MAX).collect();
        let id = if id.is_empty() { "-" } else { &id };
        format!("<{priority}>1 {time} {host} conclave {process} {id} - {line}")
    }
}

/// Sends messages over TCP with their lengths in front (RFC 6587 §3.4.1), on a connection of their
/// own. Syslog has no acknowledgement: a server that was stopped may have taken messages that it
/// never read. One that ends the connection after our end has read all of them.
async fn send_stream(address: &str, messages: &[String]) -> io::Result<()> {
    let send = async {
        let mut stream = TcpStream::connect(address).await?;
        let frames = messages.iter().map(|message| format!("{} {message}", message.len()));
        stream.write_all(frames.collect::<String>().as_bytes()).await?;
        stream.shutdown().await?;
        while stream.read(&mut [0; 256]).await? > 0 {}
        // A server may end its half first, and then leave some unread: seen if its end has come.
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // A closed socket has no peer: our end was acknowledged before the end of the server came,
        // which therefore is no end from before it had all.
        match stream.peer_addr() {
            Err(_) => Ok(()),
            Ok(_) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
        }
    };
    timeout(AUDIT_SEND_TIMEOUT, send).await?
}

/// Sends messages over UDP (RFC 5426). Returns how many are too large for a datagram.
async fn send_udp(server: &str, messages: &[String]) -> io::Result<u64> {
    let send = async {
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        // A name may have an address of each family, and a server for one of them.
        for address in lookup_host(server).await? {
            match send_udp_to(address, messages).await {
                Ok(too_large) => return Ok(too_large),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    };
    timeout(AUDIT_SEND_TIMEOUT, send).await?
}

async fn send_udp_to(address: SocketAddr, messages: &[String]) -> io::Result<u64> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    let mut too_large = 0;
    for message in messages {
        too_large += is_too_large(socket.send(message.as_bytes()).await)?;
    }
    // A machine without a server says so a moment later.
    sleep(AUDIT_REFUSAL_WAIT).await;
    socket.take_error()?.map_or(Ok(too_large), Err)
}

/// Sends messages to a socket of the machine. Returns how many are too large for it.
async fn send_unix(path: &Path, messages: &[String]) -> io::Result<u64> {
    let send = async {
        let socket = UnixDatagram::unbound()?;
        let mut too_large = 0;
        for message in messages {
            too_large += is_too_large(socket.send_to(message.as_bytes(), path).await)?;
        }
        Ok::<_, io::Error>(too_large)
    };
    timeout(AUDIT_SEND_TIMEOUT, send).await?
}

/// Returns 1 for a message that was too large to be sent.
fn is_too_large(sent: io::Result<usize>) -> io::Result<u64> {
    match sent {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => Ok(1),
        sent => sent.map(|_| 0),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::{super::tests::trail, *};

    fn copy_to(server: SyslogServer, dir: &Path) -> SyslogCopy {
        SyslogCopy { host: "host".to_owned(), ..SyslogCopy::new(server, dir) }
    }

    #[test]
    fn a_message_is_the_line_of_an_entry_behind_a_header() {
        let state = trail(3, 60);
        let (number, entry) = state.audit_last().unwrap();
        let line = entry.line(number);
        let copy = copy_to(SyslogServer::Udp("h:514".to_owned()), Path::new("/"));
        let process = std::process::id();
        let time = "1970-01-01T00:00:00.004Z";
        let expected = format!("<110>1 {time} host conclave {process} tls.set - {line}");
        assert_eq!(copy.message(entry, &line), expected);
        let mut denied = entry.clone();
        denied.event.result = AuditResult::Denied;
        denied.event.event = format!("a b{}", "c".repeat(40));
        let message = copy.message(&denied, "");
        assert!(message.starts_with("<108>1 "), "{message}");
        assert!(message.ends_with(&format!(" ab{} - ", "c".repeat(30))), "{message}");
    }

    /// The messages of a connection, each behind its length.
    async fn read_messages(listener: &TcpListener) -> Vec<String> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (mut rest, mut messages) = (text.as_str(), Vec::new());
        while let Some((length, after)) = rest.split_once(' ') {
            let (message, after) = after.split_at(length.parse().unwrap());
            messages.push(message.to_owned());
            rest = after;
        }
        assert_eq!(rest, "");
        messages
    }

    #[tokio::test]
    async fn what_a_server_has_not_read_is_sent_again() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let copy = copy_to(SyslogServer::Tcp(address), dir.path());
        let state = trail(9, 60);
        // One that ends the connection and reads nothing, and one that ends it in the middle.
        for reads in [0, 100] {
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_exact(&mut vec![0; reads]).await.unwrap();
            };
            let (copied, ()) = tokio::join!(copy.copy(&state), server);
            copied.unwrap_err();
        }
        // A damaged file of what was sent says nothing.
        std::fs::write(dir.path().join(SENT), [0xff; 40]).unwrap();
        let all = Copied { is_all: true, left_out: 0 };
        let (copied, messages) = tokio::join!(copy.copy(&state), read_messages(&listener));
        assert_eq!((copied.unwrap(), messages.len()), (all, 9));
        // Nothing is sent twice, also after a restart.
        let copy = SyslogCopy::new(copy.server, dir.path());
        assert!(copy.copy(&state).await.unwrap().is_all);
        let longer = trail(11, 60);
        let (copied, messages) = tokio::join!(copy.copy(&longer), read_messages(&listener));
        copied.unwrap();
        let numbers = messages.iter().map(|message| message.contains("\"sequence\":1"));
        assert_eq!(numbers.collect::<Vec<_>>(), [true, true], "{messages:?}");
    }

    #[tokio::test]
    async fn a_port_without_a_server_has_taken_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // By a name with an address of each family, of which one has a server.
        let server = format!("localhost:{}", socket.local_addr().unwrap().port());
        let copy = copy_to(SyslogServer::Udp(server), dir.path());
        // The shortest trail: two entries.
        copy.copy(&trail(2, 60)).await.unwrap();
        let (mut datagram, expected) = ([0; 4096], "\"sequence\":1,");
        let length = socket.recv(&mut datagram).await.unwrap();
        assert!(String::from_utf8_lossy(&datagram[..length]).contains(expected));
        drop(socket);
        copy.copy(&trail(3, 60)).await.unwrap_err();
    }
}
