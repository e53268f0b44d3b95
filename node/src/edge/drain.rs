//! A node that lets its connections come to their end.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::Edge;

/// How often is looked whether connections have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DrainProgress {
    /// Connections that still stand.
    pub(crate) remaining: usize,
    /// Connections that have come to their own end.
    pub(crate) finished: usize,
    /// Connections that were closed at the deadline.
    pub(crate) closed: usize,
    /// Nothing stands any more.
    pub(crate) is_done: bool,
}

/// A drain since its beginning.
pub(super) struct Draining {
    begun: usize,
    closed: usize,
    is_done: bool,
    waiting: AbortHandle,
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

impl Edge {
    fn draining(&self) -> MutexGuard<'_, Option<Draining>> {
        self.shared.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining().is_some()
    }

    fn taken(&self) -> usize {
        let free = self.shared.connections.available_permits();
        self.shared.options.connections_max.saturating_sub(free)
    }

    /// Closes the sockets, so that new connections go elsewhere, and gives those that stand until
    /// `deadline`. Asked again, the new deadline counts.
    pub(crate) fn drain(&self, deadline: Duration) {
        let edge = self.clone();
        let mut draining = self.draining();
        let begun = draining.take().map_or_else(|| self.taken(), |known| known.begun);
        let waiting = tokio::spawn(async move {
            // Waiting for all places at once would take those that are free meanwhile.
            let ending = async {
                while edge.taken() > 0 {
                    sleep(LOOK_EVERY).await;
                }
            };
            let ended = timeout(deadline, ending).await;
            let closed = if ended.is_ok() { 0 } else { edge.taken() };
            edge.shared.closing.send_modify(|count| *count += 1);
            if let Some(draining) = edge.draining().as_mut() {
                draining.closed = closed;
                draining.is_done = true;
            }
        });
        *draining =
            Some(Draining { begun, closed: 0, is_done: false, waiting: waiting.abort_handle() });
        drop(draining);
        self.close_sockets();
    }

    /// Opens the sockets again; false if one cannot be opened.
    pub(crate) fn resume(&self) -> bool {
        drop(self.draining().take());
        self.open_all()
    }

    /// How far the drain is; nothing if the node serves.
    pub(crate) fn drain_progress(&self) -> Option<DrainProgress> {
        let draining = self.draining();
        let draining = draining.as_ref()?;
        let remaining = if draining.is_done { 0 } else { self.taken() };
        Some(DrainProgress {
            remaining,
            finished: draining.begun.saturating_sub(remaining).saturating_sub(draining.closed),
            closed: draining.closed,
            is_done: draining.is_done,
        })
    }
}
