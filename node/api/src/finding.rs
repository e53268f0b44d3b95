//! Findings: what is wrong or worth knowing about an object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::{Code, known_code};

/// Weight of a finding.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something should be done, or some clients may be refused.
    Warning,
    /// Something does not work.
    Error,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Error code.
    #[serde(deserialize_with = "known_code")]
    pub code: Code,
    /// Weight.
    pub severity: Severity,
    /// The finding in words.
    pub text: String,
    /// Next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
