//! Answer to every change.

use serde::{Deserialize, Serialize};

/// A change is made, or, with `dry_run`, would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Change`.
    pub kind: String,
    /// What was changed: a domain, a listener, a token.
    pub object: String,
    /// Version of the domain after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Place in the order of its scope; 0 if nothing was changed.
    pub index: u64,
    /// Id of the operation: repeating the request under it does nothing twice.
    pub operation: String,
    /// Who serves it.
    pub served: Served,
    /// Milliseconds from request to answer.
    pub took_ms: u64,
    /// What the caller should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What would change; nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
}

impl Change {
    /// The same; of a dry run it says that the thing itself will be another one.
    #[must_use]
    pub fn made_afresh(mut self, what: &str) -> Change {
        if self.dry_run.is_some() {
            self.warnings.push(format!("the {what} will be another one: each is made afresh"));
        }
        self
    }
}

/// What a change would come to, if it were made now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRun {
    /// Version of the domain now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What is now, and what would be.
    pub differences: Vec<Difference>,
    /// What was checked and is right.
    pub checks: Vec<String>,
    /// What would be wrong, in sentences.
    pub problems: Vec<String>,
}

/// One thing before and after a change; equal if it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is: `certificate`, `names`, a trusted certificate, a listener.
    pub what: String,
    /// What it is now; none if it would be new.
    pub before: Option<String>,
    /// What it would be; none if it would go.
    pub after: Option<String>,
}

/// Which nodes serve a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Nodes that serve it, also after their restart, by name.
    pub nodes: Vec<String>,
    /// Nodes that do not, by name. They follow when they can.
    pub missing: Vec<String>,
}

/// A list of anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `List`.
    pub kind: String,
    /// The things.
    pub items: Vec<T>,
    /// There are more: what [`crate::path::AFTER_PARAMETER`] must be for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A list of `items`, with nothing after them.
    pub fn new(items: Vec<T>) -> List<T> {
        let (api_version, kind) = (crate::API_VERSION.to_owned(), "List".to_owned());
        List { api_version, kind, items, next: None }
    }
}
