//! Time: the world's clock, and a clock of each node that drifts from it.

use std::{
    future::Future,
    ops::{Add, AddAssign, Sub, SubAssign},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::{EPOCH, EXEC, NODE, exec};

/// A node's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimInstant(u64);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

impl Add<Duration> for SimInstant {
    type Output = SimInstant;
    fn add(self, other: Duration) -> SimInstant {
        SimInstant(self.0.saturating_add(nanos(other)))
    }
}
impl Sub<Duration> for SimInstant {
    type Output = SimInstant;
    fn sub(self, other: Duration) -> SimInstant {
        SimInstant(self.0.checked_sub(nanos(other)).expect("before the clock began"))
    }
}
impl Sub for SimInstant {
    type Output = Duration;
    fn sub(self, other: SimInstant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(other.0))
    }
}
impl AddAssign<Duration> for SimInstant {
    fn add_assign(&mut self, other: Duration) {
        *self = *self + other;
    }
}
impl SubAssign<Duration> for SimInstant {
    fn sub_assign(&mut self, other: Duration) {
        *self = *self - other;
    }
}

impl openraft::async_runtime::Instant for SimInstant {
    fn now() -> SimInstant {
        let node = NODE.get();
        exec(|exec| SimInstant(local(exec.now, exec.drift_ppm[node])))
    }
}

fn local(global: u64, ppm: i64) -> u64 {
    let since = i128::from(global - EPOCH);
    EPOCH + (since + since * i128::from(ppm) / 1_000_000) as u64
}

fn global(local: u64, ppm: i64) -> u64 {
    let since = i128::from(local.saturating_sub(EPOCH));
    if ppm == 0 {
        return local;
    }
    EPOCH + (since * 1_000_000 / (1_000_000 + i128::from(ppm))) as u64 + 1
}

/// Waits for the world's clock.
pub struct SimSleep {
    at: u64,
    timer: Option<(u64, u64)>,
}

impl SimSleep {
    /// After `duration` by the clock of the node that runs.
    pub(super) fn after(duration: Duration) -> SimSleep {
        let node = NODE.get();
        exec(|exec| {
            let at = local(exec.now, exec.drift_ppm[node]).saturating_add(nanos(duration));
            SimSleep { at: global(at, exec.drift_ppm[node]), timer: None }
        })
    }

    /// At a moment of the world's clock.
    pub(super) fn at_world(at: u64) -> SimSleep {
        SimSleep { at, timer: None }
    }

    /// At a moment of the clock of the node that runs.
    pub(super) fn until(deadline: SimInstant) -> SimSleep {
        let node = NODE.get();
        exec(|exec| SimSleep { at: global(deadline.0, exec.drift_ppm[node]), timer: None })
    }
}

impl Future for SimSleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        exec(|exec| {
            if exec.now >= self.at {
                return Poll::Ready(());
            }
            let key = self.timer.unwrap_or_else(|| {
                exec.next += 1;
                (self.at, exec.next)
            });
            match exec.timers.get_mut(&key) {
                Some(waker) => waker.clone_from(context.waker()),
                None => {
                    exec.timers.insert(key, context.waker().clone());
                }
            }
            self.timer = Some(key);
            Poll::Pending
        })
    }
}

impl Drop for SimSleep {
    fn drop(&mut self) {
        let Some(key) = self.timer else { return };
        EXEC.with_borrow_mut(|exec| exec.as_mut().map(|exec| exec.timers.remove(&key)));
    }
}

/// A future with a deadline.
pub struct SimTimeout<F> {
    pub(super) future: Pin<Box<F>>,
    pub(super) sleep: SimSleep,
}

#[derive(Debug)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the deadline has passed")
    }
}

impl<F: Future> Future for SimTimeout<F> {
    type Output = Result<F::Output, Elapsed>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(context).map(|()| Err(Elapsed))
    }
}
