//! Many at a time, and how long each took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long single operations took, and all together.
pub(crate) struct Figures {
    times: Vec<Duration>,
    elapsed: Duration,
}

impl Figures {
    /// Of operations one after the other.
    pub(crate) fn of(times: Vec<Duration>) -> Figures {
        let elapsed = times.iter().sum();
        Figures { times, elapsed }.sorted()
    }

    /// Of operations that were done within `elapsed`.
    pub(crate) fn within(times: Vec<Duration>, elapsed: Duration) -> Figures {
        Figures { times, elapsed }.sorted()
    }

    fn sorted(mut self) -> Figures {
        self.times.sort_unstable();
        self
    }

    /// Operations.
    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }

    /// Operations per second.
    pub(crate) fn rate(&self) -> u64 {
        let count = u64::try_from(self.times.len()).unwrap();
        count * 1_000_000 / u64::try_from(self.elapsed.as_micros().max(1)).unwrap()
    }

    /// The time that `percent` of the operations did not exceed, in milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        let slowest = self.percentile(100);
        write!(
            out,
            "{:>7}/s  p50 {p50:>7.2} ms  p99 {p99:>7.2} ms  max {slowest:>7.2} ms",
            self.rate()
        )
    }
}

/// Does `operation` with `in_flight` tasks for `time`; each call gets a number of its own.
pub(crate) async fn many<F, R>(
    in_flight: usize,
    time: Duration,
    operation: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Figures
where
    F: Future<Output = R> + Send,
{
    let number = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (operation, number) = (operation.clone(), Arc::clone(&number));
        tasks.spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < time {
                let begun = Instant::now();
                operation(number.fetch_add(1, Ordering::Relaxed)).await;
                times.push(begun.elapsed());
            }
            times
        });
    }
    let times = tasks.join_all().await.concat();
    Figures { times, elapsed: started.elapsed() }.sorted()
}
