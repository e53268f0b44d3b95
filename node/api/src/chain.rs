//! CA chains.

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;

/// Sets the chain.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// PEM, issuer of the domain certificate first.
    pub chain: String,
    /// Take it though it is broken.
    #[serde(default)]
    pub allow_broken_chain: bool,
    /// Put it in order.
    #[serde(default)]
    pub sort: bool,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Certificates in sending order.
    pub certificates: Vec<Certificate>,
}
