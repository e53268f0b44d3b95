//! Which State something belongs to.

/// A State: the cluster's, or a node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The cluster's.
    Shared,
    /// This node's own.
    Local,
}
