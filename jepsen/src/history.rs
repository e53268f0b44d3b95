//! History of requests and their outcomes, as JSON lines that other checkers can read.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde::Serialize;

/// One line of the history.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    /// Origin: a writer's number, the reader, or the nemesis.
    pub(crate) process: String,
    /// `invoke`, `ok`, `fail`, or `info` for an unknown outcome.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Operation: `add`, `sign`, `read`, or a fault.
    pub(crate) f: String,
    /// Key of the operation.
    pub(crate) key: String,
    /// Value or detail of the operation.
    pub(crate) value: String,
    /// Nanoseconds since the start.
    pub(crate) time: u128,
}

/// A history, written to its file as it happens.
pub(crate) struct History {
    started: Instant,
    inner: Mutex<(File, Vec<Event>)>,
}

impl History {
    pub(crate) fn create(path: &Path) -> anyhow::Result<History> {
        let inner = Mutex::new((File::create(path)?, Vec::new()));
        Ok(History { started: Instant::now(), inner })
    }

    pub(crate) fn add(&self, process: &str, kind: &'static str, f: &str, key: &str, value: &str) {
        let event = Event {
            process: process.to_owned(),
            kind,
            f: f.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            time: self.started.elapsed().as_nanos(),
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let line = serde_json::to_string(&event).unwrap_or_default();
        // A full disk loses the file, but not the verdict, because the events are also in memory.
        let _ = writeln!(inner.0, "{line}");
        inner.1.push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Returns the number of additions with this outcome.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.count_of("add", kind)
    }

    /// Returns the number of operations of one sort with this outcome.
    pub(crate) fn count_of(&self, f: &str, kind: &str) -> usize {
        self.events().iter().filter(|event| event.f == f && event.kind == kind).count()
    }
}
