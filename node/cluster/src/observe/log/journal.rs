//! Log lines for journald, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one
//! datagram for each line, with every field of the line as a field of its own.

use std::{
    fmt::{Debug, Write as _},
    fs::File,
    io::{self, Write as _},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustix::{
    cmsg_space,
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr, sockopt,
    },
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// The socket of journald.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// Send buffer to ask for, as sd_journal_send(3) does: it takes bursts. The system may grant less.
const BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Lines that this process has lost.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines journald did not take since the start of the process.
pub(super) fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// A layer that sends lines to journald. Lines never wait for it: what it does not take at once is
/// lost and counted, and handshakes go on.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Lost lines that no line has told yet.
    untold: AtomicU64,
}

impl Journal {
    /// Opens the way to journald. Fails if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        sockopt::set_socket_send_buffer_size(&socket, BUFFER_BYTES)?;
        let journal = Journal { socket, path: path.to_owned(), untold: AtomicU64::new(0) };
        // journald ignores an empty datagram.
        journal.send(&[])?;
        Ok(journal)
    }

    /// Sends a line. The socket is found by its path each time, so that a new one of a journald
    /// that was restarted is used at once.
    fn send(&self, line: &[u8]) -> io::Result<()> {
        match self.socket.send_to(line, &self.path) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                self.send_large(line)
            }
            sent => sent.map(drop),
        }
    }

    /// Sends a line that no datagram can hold, in a sealed file in memory.
    fn send_large(&self, line: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("conclave-log", flags)?);
        file.write_all(line)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&file, seals)?;
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        let path = SocketAddrUnix::new(&self.path)?;
        sendmsg_addr(&self.socket, &path, &[], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Says how many lines were lost, as soon as journald takes lines again.
    fn tell_lost(&self) {
        let lost = self.untold.swap(0, Relaxed);
        if lost == 0 {
            return;
        }
        let line = Line {
            event: "log.lines_lost".to_owned(),
            message: "journald did not take them".to_owned(),
            others: vec![("lines", lost.to_string())],
        };
        if self.send(&line.datagram(Level::WARN, module_path!())).is_err() {
            self.untold.fetch_add(lost, Relaxed);
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let meta = event.metadata();
        self.tell_lost();
        if self.send(&line.datagram(*meta.level(), meta.target())).is_err() {
            LOST.fetch_add(1, Relaxed);
            self.untold.fetch_add(1, Relaxed);
        }
    }
}

/// The fields of a line.
#[derive(Default)]
struct Line {
    event: String,
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Line {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "event" => self.event = value,
            "message" => self.message = value,
            other => self.others.push((other, value)),
        }
    }

    fn datagram(&self, level: Level, target: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        put(&mut out, "MESSAGE", &self.text());
        put(&mut out, "PRIORITY", priority(level));
        put(&mut out, "SYSLOG_IDENTIFIER", "conclave");
        put(&mut out, "TARGET", target);
        if !self.event.is_empty() {
            put(&mut out, "CONCLAVE_EVENT", &self.event);
        }
        for (name, value) in &self.others {
            put(&mut out, &format!("CONCLAVE_{}", name.to_uppercase().replace('.', "_")), value);
        }
        out
    }

    /// Returns the line as journalctl shows it, which shows nothing but this field.
    fn text(&self) -> String {
        let mut text = self.event.clone();
        for (name, value) in &self.others {
            let gap = if text.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{gap}{name}={value}");
        }
        match (text.is_empty(), self.message.is_empty()) {
            (_, true) => text,
            (true, false) => self.message.clone(),
            (false, false) => format!("{text}: {}", self.message),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// Appends a field. A value of several lines has its length in front of it.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// Returns the priority of a level (syslog(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_line_has_its_event_its_fields_and_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::open(&path).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(event = "test.done", domain = %"a.example", took_ms = 21_u64, "two\nlines");
        });
        let said = next(&journald);
        let message = "test.done domain=a.example took_ms=21: two\nlines";
        let length =
            String::from_utf8(u64::try_from(message.len()).unwrap().to_le_bytes().to_vec());
        let expected = format!("MESSAGE\n{}{message}\nPRIORITY=4\n", length.unwrap());
        assert!(said.starts_with(&expected), "{said}");
        for line in [
            "SYSLOG_IDENTIFIER=conclave",
            "CONCLAVE_EVENT=test.done",
            "CONCLAVE_DOMAIN=a.example",
            "CONCLAVE_TOOK_MS=21",
        ] {
            assert!(said.lines().any(|one| one == line), "{line}: {said}");
        }
    }

    /// The next line that is not empty.
    fn next(journald: &UnixDatagram) -> String {
        let mut datagram = [0; 4096];
        loop {
            let length = journald.recv(&mut datagram).unwrap();
            if length > 0 {
                return String::from_utf8_lossy(&datagram[..length]).into_owned();
            }
        }
    }

    #[test]
    fn a_line_that_no_datagram_can_hold_comes_as_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::open(&path).unwrap());
        let value = "x".repeat(3 * BUFFER_BYTES);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(event = "test.large", value, "done");
        });
        assert_eq!(journald.recv(&mut [0]).unwrap(), 0, "whether journald is there");
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        recvmsg(&journald, &mut [], &mut control, RecvFlags::empty()).unwrap();
        let mut messages = control.drain();
        let Some(RecvAncillaryMessage::ScmRights(mut files)) = messages.next() else {
            panic!("no file")
        };
        let mut file = File::from(files.next().unwrap());
        let mut said = String::new();
        io::Seek::rewind(&mut file).unwrap();
        io::Read::read_to_string(&mut file, &mut said).unwrap();
        assert!(said.lines().any(|line| line == format!("CONCLAVE_VALUE={value}")));
        assert!(file.write_all(b"x").is_err(), "nobody can change it any more");
    }

    #[test]
    fn a_journald_that_reads_nothing_keeps_nobody_waiting_and_hears_later_what_it_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::open(&path).unwrap());
        let before = lost();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                tracing::info!(event = "test.many", number);
            }
            journald.set_nonblocking(true).unwrap();
            let mut taken = 0_u64;
            while let Ok(length) = journald.recv(&mut [0; 4096]) {
                taken += u64::from(length > 0);
            }
            tracing::info!(event = "test.last");
            let told = next(&journald);
            let lines = format!("CONCLAVE_LINES={}", 10_000 - taken);
            assert!(told.lines().any(|line| line == lines), "{lines}: {told}");
            assert!(told.lines().any(|line| line == "CONCLAVE_EVENT=log.lines_lost"), "{told}");
            assert!(next(&journald).contains("CONCLAVE_EVENT=test.last"));
            assert!(lost() - before >= 10_000 - taken);
            // A journald that comes anew has another socket.
            std::fs::remove_file(&path).unwrap();
            tracing::info!(event = "test.between");
            let another = UnixDatagram::bind(&path).unwrap();
            tracing::info!(event = "test.again");
            assert!(next(&another).contains("CONCLAVE_LINES=1"));
            assert!(next(&another).contains("CONCLAVE_EVENT=test.again"));
        });
    }
}
