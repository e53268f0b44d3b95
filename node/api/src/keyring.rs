//! Answers about the keyring.

use serde::{Deserialize, Serialize};

/// The keyring of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Keyring`.
    pub kind: String,
    /// Current generation.
    pub generation: u64,
    /// Number of generations kept.
    pub generations: u64,
    /// Number of rows with secrets that are still sealed under an earlier generation, and of proofs
    /// that are still to be made under the current one.
    #[serde(default)]
    pub unfinished: u64,
    /// Names of the members for which the current generation is wrapped.
    pub members: Vec<String>,
    /// Whether the answering node is sealed and cannot open the keyring.
    pub sealed: bool,
    /// Names of the members that are sealed: the generation is wrapped for them, but they cannot
    /// open it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed_nodes: Vec<String>,
    /// Names of the members that do not answer, so that it is unknown whether they are sealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent_nodes: Vec<String>,
}
