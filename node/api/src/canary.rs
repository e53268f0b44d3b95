//! Requests and answers about canaries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A new certificate that one node serves before all others do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canary {
    /// Name of the domain.
    pub domain: String,
    /// Name of the node.
    pub node: String,
    /// Time of the import.
    pub since: String,
    /// Time from which on every node serves it, if all is well.
    pub until: String,
    /// SHA-256 of each certificate that the node serves.
    pub certificates: Vec<String>,
}

/// Request to end a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CanaryEnd")]
pub struct End {
    /// Whether every node serves the certificate from now on; otherwise none does.
    pub promote: bool,
}
