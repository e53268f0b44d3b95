//! Requests and answers about CA chains.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;

/// Request to set the chain.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChainSet")]
pub struct Set {
    /// PEM, issuer of the domain certificate first.
    pub chain: String,
    /// Accept a broken chain.
    #[serde(default)]
    pub allow_broken_chain: bool,
    /// Sort the chain.
    #[serde(default)]
    pub sort: bool,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chain {
    /// Certificates in sending order.
    pub certificates: Vec<Certificate>,
}
