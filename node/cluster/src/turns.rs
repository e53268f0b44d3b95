//! Queues for callers of this node that change the same object, so that they do so one after the
//! other.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Number of queues. Objects whose hashes share a queue only wait longer.
const QUEUES: usize = 64;

/// The queues of this node's callers, by the hash of the object.
pub(crate) struct Turns {
    hasher: RandomState,
    queues: Vec<Arc<Mutex<()>>>,
}

/// The right to change an object before the other callers of this node. Ends when dropped.
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] OwnedMutexGuard<()>);

impl Turns {
    pub(crate) fn new() -> Turns {
        let queues = (0..QUEUES).map(|_| Arc::default()).collect();
        Turns { hasher: RandomState::new(), queues }
    }

    /// Waits for the turn to change `object`, in order of arrival.
    pub(crate) async fn wait(&self, object: &str) -> Turn {
        let hash = usize::try_from(self.hasher.hash_one(object)).unwrap_or_default() % QUEUES;
        let queue = self.queues.get(hash).map(Arc::clone).unwrap_or_default();
        Turn(queue.lock_owned().await)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn callers_of_one_object_come_one_after_the_other() {
        let turns = Turns::new();
        let first = turns.wait("shop.example").await;
        let mut second = Box::pin(turns.wait("shop.example"));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await;
    }
}
