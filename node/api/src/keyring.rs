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
    /// Names of the members for which the current generation is wrapped.
    pub members: Vec<String>,
    /// Whether the answering node is sealed and cannot open the keyring.
    pub sealed: bool,
}
