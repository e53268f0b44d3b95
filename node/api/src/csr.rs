//! Certificate signing requests. They are made on demand and not stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The possible common names of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CommonNames")]
pub struct Choices {
    /// The domain's name, its aliases and the wildcard.
    pub common_names: Vec<String>,
}

/// A certificate signing request. The request body is [`crate::certificate::SelfSign`], whose
/// `days` is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Csr {
    /// Common name; empty if it has none.
    pub common_name: String,
    /// Subject alternative names.
    pub names: Vec<String>,
    /// Algorithm and size of the key.
    pub algorithm: String,
    /// The signing request (PKCS#10), PEM.
    pub pem: String,
}
