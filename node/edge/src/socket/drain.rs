//! Draining: lets connections finish before their listeners and sessions close.

use std::time::Duration;

use tokio::{sync::watch, task::AbortHandle, time::timeout};

use super::{Edge, Shared, workers::Worker};

/// Progress of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainProgress {
    /// Connections still open.
    pub remaining: usize,
    /// Connections ended by themselves.
    pub finished: usize,
    /// Connections closed at the deadline.
    pub closed: usize,
    /// Whether the drain is complete.
    pub is_done: bool,
}

/// A drain in progress.
#[derive(Debug)]
pub(super) struct Draining {
    begun: usize,
    closed: usize,
    is_done: bool,
    waiting: Option<AbortHandle>,
}

impl Draining {
    /// Begins a drain of this many connections, for which nothing waits yet.
    pub(super) fn begin(begun: usize) -> Draining {
        Draining { begun, closed: 0, is_done: false, waiting: None }
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.abort();
        }
    }
}

impl Edge {
    /// Closes the sockets, so that new connections go to other nodes, and closes the remaining
    /// connections at `deadline` from now. A second call replaces the deadline.
    pub fn drain(&self, deadline: Duration) {
        let mut draining = self.draining();
        let begun = draining.take().map_or_else(|| self.places().taken(), |known| known.begun);
        *draining = Some(Draining::begin(begun));
        self.shared.drains.send_replace(true);
        let edge = self.clone();
        let waiting = tokio::spawn(async move {
            edge.close_sockets(|protocol| !protocol.is_datagram()).await;
            let closed = edge.wait_until_empty(deadline).await;
            // DTLS sessions use their listener's socket, so it stays open until they have ended.
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

    /// Opens the sockets again. Returns false if one cannot be opened; [`Edge::retry`] tries it
    /// again.
    pub fn resume(&self) -> bool {
        drop(self.draining().take());
        self.shared.drains.send_replace(false);
        self.open_all()
    }

    /// Watches whether the node drains, as far as it was asked to; its end is another matter.
    pub fn drains(&self) -> watch::Receiver<bool> {
        self.shared.drains.subscribe()
    }

    /// Returns whether new clients must go to other nodes.
    pub(super) fn is_draining(&self) -> bool {
        self.draining().is_some()
    }

    /// Returns the progress of the drain; none if the node serves.
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

    /// Drains the node at the end of the process, and waits until the drain is over.
    pub async fn shutdown(&self, deadline: Duration) {
        let begun = self.places().taken();
        *self.draining() = Some(Draining::begin(begun));
        self.close_sockets(|protocol| !protocol.is_datagram()).await;
        self.wait_until_empty(deadline).await;
    }

    /// Waits for the connections to end. Returns how many had to be closed at the deadline.
    pub(super) async fn wait_until_empty(&self, deadline: Duration) -> usize {
        let Shared { places, workers, .. } = &*self.shared;
        if timeout(deadline, places.empty()).await.is_ok() {
            return 0;
        }
        let end_all = |worker: &Worker| worker.connections.end_all() + worker.sessions.end_all();
        let closed = workers.iter().map(end_all).sum();
        // The aborted tasks are dropped by their threads; this takes only a moment.
        let _ = timeout(super::limits::STOP_TIMEOUT, places.empty()).await;
        closed
    }
}
