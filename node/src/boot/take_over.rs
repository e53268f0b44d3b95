//! Take-over of a running node by a new process on the same machine.
//!
//! The running node sends its listening sockets, stops everything but TLS, and serves from memory
//! until the new process serves. If that never happens it starts its member again: some process
//! accepts at every moment.

mod line;
mod predecessor;
mod release;
mod successor;

pub(super) use predecessor::Predecessor;
pub(super) use release::wait_released;
pub(super) use successor::Successor;
