//! The answer to every change, and lists.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result of a change, or of its dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Change`.
    pub kind: String,
    /// The changed object: a domain, a listener, a token.
    pub object: String,
    /// Whether anything changed, or would change in a dry run. If not, no version was made, and
    /// the history has no entry.
    #[serde(default = "is_changed")]
    pub changed: bool,
    /// Version of the domain after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Index in the order of its scope; 0 if nothing changed.
    pub index: u64,
    /// Id of the operation. Repeating the request with this id applies it at most once.
    pub operation: String,
    /// Which nodes serve the change.
    pub served: Served,
    /// Milliseconds from request to answer.
    pub took_ms: u64,
    /// Warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The differences, in a dry run. Then nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
}

/// Nodes before 0.2.1 do not say it, and make a version each time.
fn is_changed() -> bool {
    true
}

impl Change {
    /// Adds to a dry run the warning that the real change makes another `what`.
    #[must_use]
    pub fn made_afresh(mut self, what: &str) -> Change {
        if self.dry_run.is_some() && self.changed {
            self.warnings.push(format!("the {what} will be another one: each is made afresh"));
        }
        self
    }
}

/// The effect of a change, if it were made now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    /// Current version of the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Current and future values.
    pub differences: Vec<Difference>,
    /// Passed checks.
    pub checks: Vec<String>,
    /// Problems after the change, in sentences.
    pub problems: Vec<String>,
}

/// One value before and after a change. Both are equal if the value does not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Name of the value: `certificate`, `names`, a trusted certificate, a listener.
    pub what: String,
    /// Current value; none if it would be added.
    pub before: Option<String>,
    /// Future value; none if it would be removed.
    pub after: Option<String>,
}

/// The nodes of the cluster, by whether they serve a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Served {
    /// Names of the nodes that serve it, and would serve it after a restart.
    pub nodes: Vec<String>,
    /// Names of the other nodes. They serve it as soon as they can.
    pub missing: Vec<String>,
    /// Why each of them does not serve it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
}

/// A list of objects, or one page of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `List`.
    pub kind: String,
    /// The objects.
    pub items: Vec<T>,
    /// Value of the parameter `after` for the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> List<T> {
    /// Makes a list of `items` without a next page.
    pub fn new(items: Vec<T>) -> List<T> {
        let (api_version, kind) = (crate::API_VERSION.to_owned(), "List".to_owned());
        List { api_version, kind, items, next: None }
    }
}
