//! A node that lets its connections come to their end.

use std::time::Duration;

use tokio::{task::AbortHandle, time::timeout};

use super::{Edge, Shared, workers::Worker};

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainProgress {
    /// Connections that still stand.
    pub remaining: usize,
    /// Connections that have come to their own end.
    pub finished: usize,
    /// Connections that were closed at the deadline.
    pub closed: usize,
    /// Nothing stands any more.
    pub is_done: bool,
}

/// A drain since its beginning.
#[derive(Debug)]
pub(super) struct Draining {
    begun: usize,
    closed: usize,
    is_done: bool,
    waiting: Option<AbortHandle>,
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.abort();
        }
    }
}

impl Edge {
    /// Closes the sockets, so that new connections go elsewhere, and gives those that stand until
    /// `deadline` from now; then closes them. Asked again, the new deadline counts.
    pub fn drain(&self, deadline: Duration) {
        let mut draining = self.draining();
        let begun = draining.take().map_or_else(|| self.places().taken(), |known| known.begun);
        *draining = Some(Draining { begun, closed: 0, is_done: false, waiting: None });
        let edge = self.clone();
        let waiting = tokio::spawn(async move {
            edge.close_sockets(|protocol| !protocol.is_datagram()).await;
            let closed = edge.wait_until_empty(deadline).await;
            // Sessions of DTLS have lived by their listener's socket.
            edge.close_sockets(|_| true).await;
            if let Some(draining) = edge.draining().as_mut() {
                draining.closed = closed;
                draining.is_done = true;
            }
        });
        if let Some(draining) = draining.as_mut() {
            draining.waiting = Some(waiting.abort_handle());
        }
    }

    /// Opens the sockets again. False if one of them cannot be opened; it is tried again.
    pub fn resume(&self) -> bool {
        drop(self.draining().take());
        self.open_all()
    }

    /// Whether new clients are to go elsewhere.
    pub(super) fn is_draining(&self) -> bool {
        self.draining().is_some()
    }

    /// How far the drain is; nothing if the node serves.
    pub fn drain_progress(&self) -> Option<DrainProgress> {
        let draining = self.draining();
        let draining = draining.as_ref()?;
        let remaining = if draining.is_done { 0 } else { self.places().taken() };
        Some(DrainProgress {
            remaining,
            finished: draining.begun.saturating_sub(remaining).saturating_sub(draining.closed),
            closed: draining.closed,
            is_done: draining.is_done,
        })
    }

    /// The end of the process: as a drain, and waits for it.
    pub async fn shutdown(&self, deadline: Duration) {
        let begun = self.places().taken();
        *self.draining() = Some(Draining { begun, closed: 0, is_done: false, waiting: None });
        self.close_sockets(|protocol| !protocol.is_datagram()).await;
        self.wait_until_empty(deadline).await;
    }

    /// Gives the number of connections that had to be closed.
    async fn wait_until_empty(&self, deadline: Duration) -> usize {
        let Shared { places, workers, .. } = &*self.shared;
        if timeout(deadline, places.empty()).await.is_ok() {
            return 0;
        }
        let end_all = |worker: &Worker| worker.connections.end_all() + worker.sessions.end_all();
        let closed = workers.iter().map(end_all).sum();
        // Their threads have only to drop them.
        let _ = timeout(super::limits::STOP_TIMEOUT, places.empty()).await;
        closed
    }
}
