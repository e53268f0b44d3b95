//! What a running node shows about itself: its log, and what its metrics need that nobody else
//! keeps.

mod domains;
pub mod log;
mod requests;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

pub use domains::{CertificateFacts, DomainFacts};
pub(crate) use requests::Requests;

/// Facts about a node for its metrics and its health.
#[derive(Default)]
pub struct Observed {
    requests: Requests,
    domains: RwLock<Arc<DomainFacts>>,
    is_started: AtomicBool,
    is_stopping: AtomicBool,
    /// Failed attempts to copy the audit trail, and entries that a copy will never have.
    pub audit_failures: AtomicU64,
    /// What became of the messages that the LMTP proxy took.
    pub lmtp: Arc<conclave_mail::Counters>,
}

impl Observed {
    /// Returns the counters of API requests.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Returns what was last found about domains.
    pub fn domains(&self) -> Arc<DomainFacts> {
        Arc::clone(&self.domains.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what was found about domains.
    pub fn note_domains(&self, facts: DomainFacts) {
        *self.domains.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(facts);
    }

    /// Notes that the start of the node is complete.
    pub fn note_started(&self) {
        self.is_started.store(true, Relaxed);
    }

    /// Returns whether the start is complete.
    pub fn is_started(&self) -> bool {
        self.is_started.load(Relaxed)
    }

    /// Notes that the node ends.
    pub fn note_stopping(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    /// Returns whether the process is ending.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }
}
