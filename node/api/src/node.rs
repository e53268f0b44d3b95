//! Requests and answers about nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member of the cluster as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Number.
    pub id: u64,
    /// `leader`, `follower`, `learner` or `candidate`; `voter` if it does not answer, or no leader
    /// does.
    pub role: String,
    /// `ready`, `lagging`, `draining`, `sealed` or `unreachable`.
    pub state: String,
    /// `HOST:PORT` for other nodes.
    pub address: String,
    /// Failure zone; empty if not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Lag behind the leader in log entries, if known.
    pub lag_entries: Option<u64>,
    /// Served index, if known.
    pub served_index: Option<u64>,
    /// Digest of its State at that index, hex, if known.
    pub digest: Option<String>,
    /// Number of rows in its State, if known.
    pub rows: Option<u64>,
    /// Open TLS connections, if known.
    pub connections: Option<u64>,
    /// Completed handshakes since its start, if known.
    pub handshakes: Option<u64>,
    /// Start time of its process, if known.
    pub started: Option<String>,
    /// Version of its program, if known.
    pub version: Option<String>,
    /// How far its clock is ahead of the leader's, in milliseconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
}

/// Request to drain a node, which then accepts no new connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Deadline in seconds, when the remaining connections are closed; 600 if not given.
    pub deadline_s: Option<u64>,
}

/// Progress of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drained {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Drain`.
    pub kind: String,
    /// The node.
    pub node: String,
    /// `serving`, `draining` or `drained`.
    pub state: String,
    /// Open connections.
    pub remaining: u64,
    /// Connections ended on their own.
    pub finished: u64,
    /// Connections closed at the deadline.
    pub closed: u64,
}

/// Changes of a member; none keeps a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "NodeSet")]
pub struct Set {
    /// `voter` or `learner`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Failure zone, at most 63 bytes; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A private key that a member could open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExposedKey")]
pub struct Exposed {
    /// The domain.
    pub domain: String,
    /// Algorithm and size of the key.
    pub algorithm: String,
    /// SHA-256 of its public key.
    pub sha256: String,
    /// Time from which on the domain has had it.
    pub assigned: String,
}

/// Request of a process to take over the running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TakeOver {
    /// Its data directory, which must be the same.
    pub data_dir: String,
    /// Deadline in seconds, when the remaining connections of the running process are closed.
    pub deadline_s: u64,
}
