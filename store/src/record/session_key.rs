//! Keys that all nodes share for a while: session tickets and DTLS cookies.

use serde::{Deserialize, Serialize};

use super::Sealed;
use crate::time::UnixMillis;

/// What a session key is for; one key of each use is active at a time.
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

/// A key of 32 bytes, published to all nodes before any of them uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey {
    /// The key, sealed.
    pub sealed: Sealed,
    /// When it was published.
    pub made: UnixMillis,
    /// Since when nodes seal with it; none: they only open with it.
    pub active: Option<UnixMillis>,
    /// No node seals with it after this, with or without a successor.
    pub not_after: UnixMillis,
    /// No node opens with it after this; then it leaves State.
    pub expires: UnixMillis,
}
