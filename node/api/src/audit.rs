//! Answers about the audit trail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A value before and after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditDifference")]
pub struct Difference {
    /// Name of the value.
    pub what: String,
    /// The value before; none: there was none.
    #[serde(default)]
    pub before: Option<String>,
    /// The value after; none: there is none any longer.
    #[serde(default)]
    pub after: Option<String>,
}

/// An entry of the audit trail. Its hash is the SHA-256 of the entry as one line of JSON with the
/// members in this order and without the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct Entry {
    /// Number, counted from 1.
    pub sequence: u64,
    /// Time, by the clock of the node that was asked.
    pub time: String,
    /// Who.
    pub who: String,
    /// Number of the node that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// From where: an address, or `socket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Stable id of what was asked for.
    pub event: String,
    /// `done`, `denied` or `failed`.
    pub result: String,
    /// The object; empty: the cluster.
    pub object: String,
    /// Error code, of what was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// The caller's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Id of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Hash of the entry before.
    pub previous: String,
    /// Hash of this entry.
    pub hash: String,
}

/// What a check of the audit trail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditVerification")]
pub struct Verified {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `AuditVerification`.
    pub kind: String,
    /// Whether nothing is wrong.
    pub valid: bool,
    /// Number of the first entry that is kept.
    pub first: u64,
    /// Number of the last entry; 0: none.
    pub last: u64,
    /// Hash of the last entry.
    pub hash: String,
    /// What is wrong, in sentences; at most 100.
    pub faults: Vec<String>,
    /// Names of the members whose trail was compared with this one.
    pub compared: Vec<String>,
    /// Names of the members that did not answer.
    pub silent: Vec<String>,
}

/// Request to keep another number of entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AuditKeep")]
pub struct Keep {
    /// Number of entries to keep: 1,000 to 1,000,000.
    pub entries: u32,
}
