//! Histograms of durations, filled by many threads without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets in microseconds, for whatever takes from half a millisecond to ten
/// seconds. Slower ones count in a last bucket.
const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// A histogram. Each observation costs two relaxed additions, so a handshake can afford it.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Upper bound of each bucket in seconds, and the observations in it alone. The last bound is
    /// [`f64::INFINITY`].
    pub buckets: Vec<(f64, u64)>,
    /// Sum of all observations, in seconds.
    pub sum_s: f64,
    /// Number of observations.
    pub count: u64,
}

impl Histogram {
    /// Adds a duration.
    pub fn observe(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(took_us, Relaxed);
    }

    /// Returns what was observed so far. Observations of the same moment may be missing in parts.
    pub fn read(&self) -> Observed {
        let bounds = BOUNDS_US.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64());
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        Observed {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum_s: Duration::from_micros(self.sum_us.load(Relaxed)).as_secs_f64(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_counts_in_the_bucket_of_the_next_bound() {
        let histogram = Histogram::default();
        for took_us in [0, 500, 501, 10_000_000, 11_000_000] {
            histogram.observe(Duration::from_micros(took_us));
        }
        let Observed { buckets, sum_s, count } = histogram.read();
        let filled: Vec<(f64, u64)> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0005, 2), (0.001, 1), (10.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((sum_s, count), (21.001_001, 5));
    }
}
