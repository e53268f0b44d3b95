//! Waiting for a fact.

use std::time::{Duration, Instant};

/// No fact takes longer than this, on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until the answer is there, and panics with `what` if it never is.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(fact) = ask() {
            return fact;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::yield_now();
    }
}
