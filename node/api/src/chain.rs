//! CA chains.

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;

/// Sets the chain.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// PEM, issuer of the domain certificate first.
    pub chain: String,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Certificates in sending order.
    pub certificates: Vec<Certificate>,
}
