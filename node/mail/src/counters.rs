//! What became of messages, in numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored encrypted.
    Encrypted,
    /// Stored as it came.
    Passed,
    /// Refused for now: a reply 4xx.
    Deferred,
    /// Refused for good: a reply 5xx.
    Rejected,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 4] =
        [Outcome::Encrypted, Outcome::Passed, Outcome::Deferred, Outcome::Rejected];

    /// Returns the word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Encrypted => "encrypted",
            Outcome::Passed => "passed",
            Outcome::Deferred => "deferred",
            Outcome::Rejected => "rejected",
        }
    }
}

/// Numbers of outcomes since the start, one for each recipient of each message.
#[derive(Debug, Default)]
pub struct Counters {
    encrypted: AtomicU64,
    passed: AtomicU64,
    deferred: AtomicU64,
    rejected: AtomicU64,
}

impl Counters {
    /// Returns the number of an outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.of(outcome).load(Relaxed)
    }

    pub(crate) fn add(&self, outcome: Outcome) {
        self.of(outcome).fetch_add(1, Relaxed);
    }

    fn of(&self, outcome: Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Encrypted => &self.encrypted,
            Outcome::Passed => &self.passed,
            Outcome::Deferred => &self.deferred,
            Outcome::Rejected => &self.rejected,
        }
    }
}
