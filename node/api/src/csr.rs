//! Signing requests. They are made, not stored.

use serde::{Deserialize, Serialize};

/// Which names a domain can have as common name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// The domain's name, its aliases, and the wildcard.
    pub common_names: Vec<String>,
}

/// A signing request; asked for with [`crate::certificate::SelfSign`], whose `days` do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Csr {
    /// Common name in it.
    pub common_name: String,
    /// Subject alternative names in it.
    pub names: Vec<String>,
    /// Algorithm and size of the key.
    pub algorithm: String,
    /// The request, PKCS#10, PEM.
    pub pem: String,
}
