//! Log lines for journald, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one
//! datagram for each line, with every field of the line as a field of its own.

use std::{
    fmt::{Debug, Write},
    io,
    os::unix::net::UnixDatagram,
    path::Path,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// The socket of journald.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// Most bytes of one value. journald takes a datagram of some hundred kilobytes.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// A layer that sends lines to journald.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// Connects to journald. Lines never wait for it: if it is stuck they are lost, and handshakes
    /// go on.
    pub(super) fn open(socket: &Path) -> io::Result<Journal> {
        let journal = UnixDatagram::unbound()?;
        journal.connect(socket)?;
        journal.set_nonblocking(true)?;
        Ok(Journal(journal))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        // Whatever is wrong with the log, the node goes on.
        let _ = self.0.send(&line.datagram(event));
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
    fn add(&mut self, field: &Field, mut value: String) {
        while value.len() > VALUE_BYTES_MAX {
            value.pop();
        }
        match field.name() {
            "event" => self.event = value,
            "message" => self.message = value,
            other => self.others.push((other, value)),
        }
    }

    fn datagram(&self, event: &Event<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let meta = event.metadata();
        put(&mut out, "MESSAGE", &self.text());
        put(&mut out, "PRIORITY", priority(*meta.level()));
        put(&mut out, "SYSLOG_IDENTIFIER", "conclave");
        put(&mut out, "TARGET", meta.target());
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
        let mut datagram = [0; 4096];
        let length = journald.recv(&mut datagram).unwrap();
        let said = String::from_utf8_lossy(&datagram[..length]).into_owned();
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

    #[test]
    fn a_journald_that_reads_nothing_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _journald = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::open(&path).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                tracing::info!(event = "test.many", number);
            }
        });
    }
}
