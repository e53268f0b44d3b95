//! Events: what changed, as a stream.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{audit::Difference, grant::named};

named!(
    /// What an event is about.
    EventKind,
    "kind of event",
    /// A domain: its names, its mode, what it asks of clients.
    Domain = "domain",
    /// Keys, certificate and chain of a domain.
    Certificate = "certificate",
    /// A set of trusted certificates.
    Trust = "trust",
    /// What certifies the accounts of a domain.
    Smime = "smime",
    /// An account: its key, its certificates, its owner's invitation.
    Account = "account",
    /// A listener.
    Listener = "listener",
    /// The TLS settings of the cluster.
    Tls = "tls",
    /// A member: it joined or left, or its state changed.
    Node = "node",
    /// The cluster: its level, its keyring, its authority, its backups.
    Cluster = "cluster",
    /// Who leads.
    Leader = "leader",
);

impl EventKind {
    /// Returns the kind of a change by its id in the audit trail; `None` for what is told there
    /// alone: tokens, users, and the trail itself.
    pub fn of(event: &str) -> Option<EventKind> {
        let noun = event.split('.').next().unwrap_or_default();
        Some(match noun {
            "domain" | "client_auth" => EventKind::Domain,
            "key" | "certificate" | "chain" | "canary" => EventKind::Certificate,
            "trust" => EventKind::Trust,
            "smime" => EventKind::Smime,
            "account" | "account_key" | "account_certificate" => EventKind::Account,
            "listener" => EventKind::Listener,
            "tls" => EventKind::Tls,
            "node" => EventKind::Node,
            "cluster" | "keyring" | "backup" => EventKind::Cluster,
            _ => return None,
        })
    }
}

/// Name of the last message of a stream that the node ends: its `data` is a
/// [`crate::problem::Problem`].
pub const PROBLEM: &str = "problem";

/// One message of the stream of events: its `data`. The message's name is the kind, or `problem`
/// for the last message of a stream that the node ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// Stable id of what happened: `certificate.set`. `leader.now` and `node.now` tell what the
    /// answering node observes; a stream begins with them.
    pub event: String,
    /// The domain, account, set, listener or node; empty: the cluster.
    pub object: String,
    /// Time, by the clock of the node that was asked for the change, or that observes.
    pub time: String,
    /// Position behind this event, from which any node goes on: also the `id` of the message. An
    /// observation has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Who changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// The caller's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Id of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

/// A position in the order of changes: `INDEX` behind everything that the cluster did up to this
/// index, as the header `Conclave-Index` tells it, or `INDEX.SEQUENCE` behind one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Index in the order of the scope.
    pub index: u64,
    /// Number of the event in the audit trail.
    pub sequence: Option<u64>,
}

impl Position {
    /// Reads a position; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Position> {
        let (index, sequence) = match text.split_once('.') {
            Some((index, sequence)) => (index, Some(sequence)),
            None => (text, None),
        };
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_plain)
        };
        let sequence = match sequence {
            Some(text) => Some(number(text)?),
            None => None,
        };
        Some(Position { index: number(index)?, sequence })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence {
            Some(sequence) => write!(out, "{}.{sequence}", self.index),
            None => write!(out, "{}", self.index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_as_it_is_written() {
        for text in ["0", "4711", "4711.93", "18446744073709551615.1"] {
            assert_eq!(Position::parse(text).unwrap().to_string(), text);
        }
        for text in ["", ".", "1.", ".1", "+1", "-1", "1.2.3", "x", "1 ", "18446744073709551616"] {
            assert_eq!(Position::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_change_has_a_kind_and_a_login_has_none() {
        assert_eq!(EventKind::of("certificate.set"), Some(EventKind::Certificate));
        assert_eq!(EventKind::of("user.create"), None);
    }
}
