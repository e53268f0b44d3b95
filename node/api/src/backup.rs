//! Requests and answers about backups and restoring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request for a backup. The answer is the file, as a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BackupCreate")]
pub struct Create {
    /// Recipients, `age1…`.
    pub recipients: Vec<String>,
    /// Whether the domains of the answering node alone are in it.
    #[serde(default)]
    pub include_local: bool,
}

/// A complete backup, as its maker reports it or the cluster remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastBackup {
    /// Time at which it was made, in milliseconds since 1970.
    pub time_ms: u64,
    /// Index of the last change in it.
    pub index: u64,
    /// Name of the node that made it.
    pub node: String,
}

/// Request to found a cluster for a backup, or to go on after a failure.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Name of the new cluster.
    pub name: String,
    /// Keys that open the secrets of the backup.
    pub keys: Vec<Key>,
}

/// A key of a backup.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BackupKey")]
pub struct Key {
    /// Id of the cluster to which its secrets are bound.
    pub scope_id: String,
    /// Generation.
    pub generation: u64,
    /// The key, in hexadecimal.
    pub key: String,
}

/// Result of a part of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restored {
    /// Rows added.
    pub rows: u64,
}
