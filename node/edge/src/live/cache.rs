//! A bounded cache with lock-free readers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;
use conclave_store::{id::DomainId, scope::Scope};

/// Slots per set: an entry can be in any slot of its set.
const WAYS: usize = 8;

/// Cache key: a domain of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) scope: Scope,
    pub(super) id: DomainId,
}

/// A set-associative cache with one value per domain. When a set is full, a new entry replaces
/// another. A miss is never an error: the caller makes the value again.
pub(super) struct Cache<V> {
    slots: Box<[ArcSwapOption<Entry<V>>]>,
    turn: AtomicUsize,
}

struct Entry<V> {
    key: Key,
    value: Arc<V>,
}

impl<V> Cache<V> {
    /// Creates a cache with room for `entries_max` entries, but at least eight.
    pub(super) fn new(entries_max: usize) -> Cache<V> {
        let count = entries_max.div_ceil(WAYS).max(1) * WAYS;
        let slots = std::iter::repeat_with(ArcSwapOption::empty).take(count).collect();
        Cache { slots, turn: AtomicUsize::new(0) }
    }

    pub(super) fn find(&self, key: Key) -> Option<Arc<V>> {
        self.ways(key).iter().find_map(|slot| {
            let entry = slot.load();
            let entry = entry.as_ref().filter(|entry| entry.key == key)?;
            Some(Arc::clone(&entry.value))
        })
    }

    /// Inserts a value and replaces the one of the same domain.
    pub(super) fn put(&self, key: Key, value: Arc<V>) {
        let ways = self.ways(key);
        let holds = |slot: &&ArcSwapOption<Entry<V>>| {
            slot.load().as_ref().is_some_and(|entry| entry.key == key)
        };
        let own = ways.iter().find(holds);
        let free = || ways.iter().find(|slot| slot.load().is_none());
        let turn = || ways.get(self.turn.fetch_add(1, Ordering::Relaxed) % WAYS);
        if let Some(slot) = own.or_else(free).or_else(turn) {
            slot.store(Some(Arc::new(Entry { key, value })));
        }
    }

    pub(super) fn remove(&self, key: Key) {
        for slot in self.ways(key) {
            if slot.load().as_ref().is_some_and(|entry| entry.key == key) {
                slot.store(None);
            }
        }
    }

    pub(super) fn clear(&self) {
        self.slots.iter().for_each(|slot| slot.store(None));
    }

    /// Returns the slots for a domain. Ids are random, so their first bytes spread evenly.
    fn ways(&self, key: Key) -> &[ArcSwapOption<Entry<V>>] {
        let [a, b, c, d, ..] = key.id.0;
        let number = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        let sets = self.slots.as_chunks::<WAYS>().0;
        sets.get(number % sets.len()).map(<[_; WAYS]>::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key { scope: Scope::Shared, id: DomainId([number; 16]) }
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let cache = Cache::new(16);
        (0..=255).for_each(|number| cache.put(key(number), Arc::new(number)));
        let found = (0..=255).filter_map(|number| {
            let value = cache.find(key(number))?;
            assert_eq!(*value, number);
            Some(())
        });
        let count = found.count();
        assert!((8..=16).contains(&count), "{count}");
    }

    #[test]
    fn a_new_entry_takes_the_place_of_the_old_one_of_its_domain() {
        let cache = Cache::new(8);
        cache.put(key(1), Arc::new(1));
        cache.put(key(1), Arc::new(2));
        assert_eq!(cache.find(key(1)).as_deref(), Some(&2));
        assert_eq!(cache.find(Key { scope: Scope::Local, ..key(1) }), None, "another scope");
        cache.remove(key(1));
        assert_eq!(cache.find(key(1)), None);
        cache.put(key(2), Arc::new(1));
        cache.clear();
        assert_eq!(cache.find(key(2)), None);
    }
}
