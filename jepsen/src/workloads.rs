//! Workloads: writes and reads of the clients.

pub(crate) mod set;
