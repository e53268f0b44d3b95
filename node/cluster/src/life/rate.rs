//! Bound on how often something happens.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Counter that allows something a few times in each interval.
pub struct Rate {
    most: u32,
    every: Duration,
    count: Mutex<Count>,
}

#[derive(Default)]
struct Count {
    since: Option<Instant>,
    allowed: u32,
    /// Refused since it was last allowed.
    refused: u64,
}

impl Rate {
    /// Makes a bound of so many in each interval.
    pub fn new(most: u32, every: Duration) -> Rate {
        Rate { most, every, count: Mutex::default() }
    }

    /// Returns how often it was refused before, or `None` if it is refused now.
    pub fn allow(&self, now: Instant) -> Option<u64> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.since.is_none_or(|since| now - since >= self.every) {
            (count.since, count.allowed) = (Some(now), 0);
        }
        if count.allowed >= self.most {
            count.refused += 1;
            return None;
        }
        count.allowed += 1;
        Some(std::mem::take(&mut count.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_allows_a_few_in_each_interval_and_counts_the_others() {
        let (rate, now) = (Rate::new(2, Duration::from_secs(1)), Instant::now());
        let allowed: Vec<Option<u64>> = (0..5).map(|_| rate.allow(now)).collect();
        assert_eq!(allowed, [Some(0), Some(0), None, None, None]);
        assert_eq!(rate.allow(now + Duration::from_secs(1)), Some(3));
    }
}
