//! Requests and answers about the keyring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The keyring of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// How the answering node unlocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlocking: Option<Unlocking>,
}

/// How a node opens its own secrets, and with them the keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unlocking {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Unlocking`.
    pub kind: String,
    /// Name of the node.
    pub node: String,
    /// Whether the node is sealed.
    pub sealed: bool,
    /// Why the node is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `file`, `credential`, `passphrase` or `shares`; `none`: with a stored key, and the
    /// configuration names none.
    pub how: String,
    /// Path of the file, or name of the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Whether the passphrase of a new node is still to be set.
    pub unset: bool,
    /// The shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Shares>,
    /// What is wrong with the rights on the unlock key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether the request changed anything.
    pub changed: bool,
}

/// The shares that open a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shares {
    /// Id of the set. Shares of another set are refused.
    pub set: String,
    /// Number of shares that open.
    pub needed: u8,
    /// Number of shares that were made.
    pub count: u8,
    /// Numbers of the shares that are given already.
    pub given: Vec<u8>,
}

/// Request to unseal a node. Without a field the stored unlock key is read again.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unseal {
    /// The passphrase; for a new node the one to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// One share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
}

/// Request to seal a node's secrets under something else. Without a field they are sealed under the
/// stored unlock key that the configuration names.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rekey {
    /// The new passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Number of shares that open, and number of shares to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<(u8, u8)>,
}

/// Answer to [`Rekey`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rekeyed {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Rekeyed`.
    pub kind: String,
    /// How the node unlocks from now on.
    pub unlocking: Unlocking,
    /// The new shares. They are stored nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<String>,
    /// Path of a stored unlock key that opens nothing any more but copies of the data directory
    /// from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_key: Option<String>,
}
