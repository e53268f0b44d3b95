//! Inputs and results of a handshake, shared by context, engine and OpenSSL callbacks.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Instant,
};

use crate::ticket::TicketKeys;

/// Decision about a client's chain, end-entity certificate first, DER. `Err` explains a refusal. It
/// runs within the handshake: no lock, no disk, no network. A panic counts as a refusal. Before a
/// session resumes it runs again, because certificates and revocation lists expire.
pub type Decision = Arc<dyn Fn(&[Vec<u8>]) -> Result<(), Refused> + Send + Sync>;

/// Why a client's certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One word, for counters.
    pub reason: &'static str,
    /// Explanation for people.
    pub detail: String,
}

/// Consequence of a wrong client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The handshake fails.
    Aborts,
    /// The handshake continues as if the client had sent no certificate.
    IsIgnored,
}

/// Inputs of a new session.
pub struct Opening {
    /// Arrival time of the ClientHello.
    pub now: Instant,
    /// The same time in seconds since 1970, for the validity of client certificates.
    pub unix_seconds: i64,
    /// Ticket keys. `None` disables resumption: no ticket is accepted or issued.
    pub tickets: Option<Arc<TicketKeys>>,
    /// Largest IP packet on the path, clamped to 576 to 1500. The engine tries smaller ones by
    /// itself when a flight is lost.
    pub path_mtu_bytes: u16,
}

/// Parts of a context used by its callbacks.
pub(crate) struct Policy {
    pub(crate) decision: Option<Decision>,
    pub(crate) wrong: Wrong,
    pub(crate) binding: [u8; 32],
    pub(crate) ticket_seconds: u32,
}

/// Inputs and results of the callbacks of one handshake.
pub(crate) struct Terms {
    pub(crate) policy: Arc<Policy>,
    pub(crate) tickets: Option<Arc<TicketKeys>>,
    pub(crate) unix_seconds: i64,
    /// Why the client's certificate was refused or ignored.
    pub(crate) refusal: OnceLock<Refused>,
    /// The decision accepted a certificate whose validity is over: issue no ticket.
    pub(crate) is_expired: AtomicBool,
}

impl Terms {
    /// Returns whether a session may resume that was made at this time, in seconds since 1970, with
    /// this chain of its client. Its ticket is bound to domain and policy, but certificates and
    /// revocation lists expire, and the time for which sessions resume may be shorter now.
    pub(crate) fn resume(&self, made: i64, chain: &[Vec<u8>]) -> bool {
        let age = self.unix_seconds.saturating_sub(made);
        let is_asked = self.policy.decision.as_ref().filter(|_| !chain.is_empty());
        age <= i64::from(self.policy.ticket_seconds)
            && is_asked.is_none_or(|decision| decision(chain).is_ok())
    }
}
