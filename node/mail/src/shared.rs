//! What all connections of the proxy share.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use crate::{Certificates, Counters, Settings, limits::UPSTREAMS_MAX};

/// What the proxy does with senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes transactions.
    Serving,
    /// It takes no further ones, for a while.
    Draining,
    /// It takes no further ones, and its listener is closed.
    Closed,
}

impl Phase {
    /// Waits for a phase.
    pub(crate) async fn wait(phase: &mut watch::Receiver<Phase>, is_reached: fn(Phase) -> bool) {
        // The sender goes with the proxy.
        let _ = phase.wait_for(|phase| is_reached(*phase)).await;
    }
}

/// What all connections share.
pub(crate) struct Shared {
    /// Name of this host in greetings.
    pub(crate) host: String,
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<Counters>,
    /// Places for connections to the mailbox server.
    upstreams: Arc<Semaphore>,
    /// Gone when the proxy closes: what is behind it may have to end before the connections do.
    certificates: Mutex<Option<Arc<dyn Certificates>>>,
}

impl Shared {
    pub(crate) fn new(
        host: &str,
        settings: Settings,
        counters: Arc<Counters>,
        certificates: Arc<dyn Certificates>,
    ) -> Shared {
        Shared {
            host: host.to_owned(),
            settings,
            counters,
            upstreams: Arc::new(Semaphore::new(UPSTREAMS_MAX)),
            certificates: Mutex::new(Some(certificates)),
        }
    }

    /// Returns the source of certificates; none once the proxy closes.
    pub(crate) fn certificates(&self) -> Option<Arc<dyn Certificates>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a place among the connections to the mailbox server; none within `patience`: all are in
    /// use.
    pub(crate) async fn place(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.upstreams).acquire_owned();
        timeout(patience, place).await.ok()?.ok()
    }

    pub(crate) fn forget_certificates(&self) {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
