//! What a running node shows about itself: its log, and what its metrics need that nobody else
//! keeps.

mod domains;
pub(crate) mod log;
mod requests;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

pub(crate) use domains::{CertificateFacts, DomainFacts};
pub(crate) use requests::Requests;

/// Facts about a node for its metrics and its health.
#[derive(Default)]
pub(crate) struct Observed {
    requests: Requests,
    domains: RwLock<Arc<DomainFacts>>,
    is_started: AtomicBool,
    is_stopping: AtomicBool,
    /// Failed attempts to copy the audit trail, and entries that a copy will never have.
    pub(crate) audit_failures: AtomicU64,
}

impl Observed {
    /// Returns the counters of API requests.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Returns what was last found about domains.
    pub(crate) fn domains(&self) -> Arc<DomainFacts> {
        Arc::clone(&self.domains.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what was found about domains.
    pub(crate) fn note_domains(&self, facts: DomainFacts) {
        *self.domains.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(facts);
    }

    /// Notes that the start of the node is complete.
    pub(crate) fn note_started(&self) {
        self.is_started.store(true, Relaxed);
    }

    pub(crate) fn is_started(&self) -> bool {
        self.is_started.load(Relaxed)
    }

    /// Notes that the node ends.
    pub(crate) fn note_stopping(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }
}
