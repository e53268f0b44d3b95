//! Waiting for a fact.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// No fact takes longer than this, on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Sets a flag when it goes, also by a panic: a scope waits for threads that wait for the flag, and a
/// test that failed would never end.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

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
