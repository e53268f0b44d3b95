//! Bounds of start, take-over and stop.

use std::time::Duration;

/// Longest line between two processes of a take-over.
pub(super) const LINE_BYTES_MAX: usize = 64;
/// Longest answer of the running node to the request.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Most listening sockets that pass from one process to the next.
pub(super) const SOCKETS_MAX: usize = 65_536;
/// Longest time for a step of the other process that needs no work.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the running node to stop everything but TLS.
pub(super) const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks whether the data directory is free.
pub(super) const RELEASE_LOOK: Duration = Duration::from_millis(5);
/// Longest wait for the tasks of a node to end.
pub(super) const TASKS_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the listeners to open at a start with sockets of an earlier process.
pub(super) const LISTENERS_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before a node that serves from memory tries to start its member again.
pub(super) const RESTART_PAUSE: Duration = Duration::from_secs(2);
