//! Scopes of State.

/// One of the two States: the cluster's, or a node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Replicated to every node of the cluster.
    Shared,
    /// Kept by this node alone.
    Local,
}
