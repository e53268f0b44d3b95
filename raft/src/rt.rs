//! The runtime below all of Raft: time, tasks and chance come from here and from nowhere else.
//!
//! In production it is tokio's, on threads of Raft's own. Under `--cfg conclave_sim` it is one in
//! which a seed decides everything, see `tests/sim`.

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

/// A moment of the runtime's clock.
pub(crate) type Instant = <Rt as AsyncRuntime>::Instant;

/// Now, by the runtime's clock.
pub(crate) fn now() -> Instant {
    <Instant as openraft::async_runtime::Instant>::now()
}
