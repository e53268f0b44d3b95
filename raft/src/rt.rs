//! Async runtime of Raft: source of time, tasks and randomness for all code that the simulation
//! also runs.
//!
//! In production it is tokio, on threads dedicated to Raft. Under `--cfg conclave_sim` it is a
//! deterministic executor driven by a seed, see `tests/sim`.

#[cfg(not(conclave_sim))]
mod native;
#[cfg(conclave_sim)]
#[path = "../../tests/sim/executor/executor.rs"]
pub mod sim;
#[cfg(conclave_sim)]
mod simulated;

use openraft::async_runtime::AsyncRuntime;

#[cfg(not(conclave_sim))]
pub(crate) use native::{Handle, Rt, Threads, blocking};
#[cfg(conclave_sim)]
pub(crate) use simulated::{Handle, Rt, Threads, blocking};

/// A point in time on the runtime's clock.
pub(crate) type Instant = <Rt as AsyncRuntime>::Instant;

/// Returns the current time on the runtime's clock.
pub(crate) fn now() -> Instant {
    <Instant as openraft::async_runtime::Instant>::now()
}
