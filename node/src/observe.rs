//! What people see of a running node.

pub(crate) mod log;
