//! The keyring.

use serde::{Deserialize, Serialize};

/// Generations of the keyring.
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
    /// Members that the current generation is wrapped for, by name.
    pub members: Vec<String>,
    /// The answering node cannot open the keyring.
    pub sealed: bool,
}
