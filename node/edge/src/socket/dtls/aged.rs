//! A bounded map with expiring entries.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::socket::Pair;

/// A map with one value per address pair. All entries live equally long; the oldest are evicted.
pub(super) struct Aged<V> {
    values: HashMap<Pair, (u64, V)>,
    /// Entries in order of expiry. A removed or replaced value leaves its mark here until it
    /// expires.
    ends: VecDeque<(Instant, Pair, u64)>,
    next: u64,
    max: usize,
    valid: Duration,
}

impl<V> Aged<V> {
    pub(super) fn new(max: usize, valid: Duration) -> Aged<V> {
        Aged { values: HashMap::new(), ends: VecDeque::new(), next: 0, max, valid }
    }

    /// Inserts a value. It expires `valid` after `now`.
    pub(super) fn put(&mut self, pair: Pair, value: V, now: Instant) {
        self.forget(now);
        while self.ends.len() >= self.max && self.forget_first() {}
        let number = self.next;
        self.next += 1;
        self.values.insert(pair, (number, value));
        self.ends.push_back((now + self.valid, pair, number));
    }

    /// Returns the value of a pair, unless it has expired.
    pub(super) fn find(&mut self, pair: Pair, now: Instant) -> Option<&V> {
        self.forget(now);
        self.values.get(&pair).map(|(_, value)| value)
    }

    /// Returns the value of a pair for changes. The expiry stays the same.
    pub(super) fn find_mut(&mut self, pair: Pair, now: Instant) -> Option<&mut V> {
        self.forget(now);
        self.values.get_mut(&pair).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, pair: Pair) {
        self.values.remove(&pair);
    }

    fn forget(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(end, ..)| *end <= now) && self.forget_first() {}
    }

    fn forget_first(&mut self) -> bool {
        let Some((_, pair, number)) = self.ends.pop_front() else { return false };
        if self.values.get(&pair).is_some_and(|(known, _)| *known == number) {
            self.values.remove(&pair);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(port: u16) -> Pair {
        Pair { remote: ([192, 0, 2, 1], port).into(), local: None }
    }

    #[test]
    fn values_end_with_their_time_and_the_oldest_make_room() {
        let (mut aged, start) = (Aged::new(2, Duration::from_secs(10)), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        aged.put(pair(1), 'a', at(0));
        aged.put(pair(1), 'b', at(5));
        assert_eq!(aged.find(pair(1), at(12)), Some(&'b'), "the end of the first is not its own");
        assert_eq!(aged.find(pair(1), at(15)), None);
        for port in 2..=4 {
            aged.put(pair(port), 'c', at(20));
        }
        assert_eq!(aged.find(pair(2), at(20)), None);
        assert_eq!((aged.values.len(), aged.ends.len()), (2, 2));
        aged.remove(pair(3));
        assert_eq!(aged.find(pair(3), at(20)), None);
        *aged.find_mut(pair(4), at(20)).unwrap() = 'd';
        assert_eq!(aged.find(pair(4), at(29)), Some(&'d'));
    }
}
