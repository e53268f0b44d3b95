//! What was asked and what was answered, as JSON lines that other checkers can read.

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
    /// Who: a writer's number, or the nemesis.
    pub(crate) process: String,
    /// `invoke`, `ok`, `fail`, or `info` for an unknown outcome.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// What: `add`, `read`, or a fault.
    pub(crate) f: String,
    /// On what.
    pub(crate) key: String,
    /// With what.
    pub(crate) value: String,
    /// Nanoseconds since the start.
    pub(crate) time: u128,
}

/// A history that is written as it happens.
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
        // A full disk loses the file, not the verdict: the events are in memory too.
        let _ = writeln!(inner.0, "{line}");
        inner.1.push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Number of writes that ended so.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| event.f == "add" && event.kind == kind).count()
    }
}
