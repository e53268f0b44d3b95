//! Session keys: short-lived keys, shared by all nodes, for session tickets and DTLS cookies.

use serde::{Deserialize, Serialize};

use super::Sealed;
use crate::time::UnixMillis;

/// Purpose of a session key. One key of each use is active at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SessionKeyUse {
    /// Seals session tickets.
    Ticket,
    /// Authenticates DTLS cookies.
    Cookie,
}

impl SessionKeyUse {
    /// Every use.
    pub const ALL: [SessionKeyUse; 2] = [SessionKeyUse::Ticket, SessionKeyUse::Cookie];
}

/// A key of 32 bytes. It is published to all nodes before one of them seals with it, so that every
/// node can open what it seals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey {
    /// The key, sealed.
    pub sealed: Sealed,
    /// Time of publication.
    pub made: UnixMillis,
    /// Start of sealing with it; `None`: nodes only open with it.
    pub active: Option<UnixMillis>,
    /// No node seals with it after this time, even if there is no successor.
    pub not_after: UnixMillis,
    /// No node opens with it after this time. It is then removed from State.
    pub expires: UnixMillis,
}
