//! What a handshake is told and what it leaves behind: the words that context, engine and callbacks
//! share.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Instant,
};

use crate::ticket::TicketKeys;

/// Decides about the chain that a client presents, its certificate first, DER; `Err` says why
/// not. It runs within the handshake: no lock, no disk, no network. A panic refuses.
pub type Decision = Arc<dyn Fn(&[Vec<u8>]) -> Result<(), Refused> + Send + Sync>;

/// Why a client's certificate does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One word, for counters.
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

/// What becomes of a handshake with a wrong client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It fails.
    Aborts,
    /// It goes on as if there were none.
    IsIgnored,
}

/// What is new for each session.
pub struct Opening {
    /// Time of the arrival of the ClientHello.
    pub now: Instant,
    /// The same in seconds since 1970, for the dates of client certificates.
    pub unix_seconds: i64,
    /// Keys of tickets; `None`: nothing is resumed and nothing can be later.
    pub tickets: Option<Arc<TicketKeys>>,
    /// Largest IP packet that the path carries, clamped to 576 to 1500. The engine tries smaller
    /// ones by itself when a flight gets lost.
    pub path_mtu_bytes: u16,
}

/// What the callbacks of a handshake must know of its context.
pub(crate) struct Policy {
    pub(crate) decision: Option<Decision>,
    pub(crate) wrong: Wrong,
    pub(crate) binding: [u8; 32],
    pub(crate) ticket_seconds: u32,
}

/// What the callbacks of one handshake see and leave behind.
pub(crate) struct Terms {
    pub(crate) policy: Arc<Policy>,
    pub(crate) tickets: Option<Arc<TicketKeys>>,
    pub(crate) unix_seconds: i64,
    /// Why the client's certificate was refused or ignored.
    pub(crate) refusal: OnceLock<Refused>,
    /// A certificate that the decision accepted although its time is over: no ticket.
    pub(crate) is_expired: AtomicBool,
}
