//! Observability of a running node.

pub(crate) mod log;
