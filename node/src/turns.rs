//! One after the other: callers of this node that change the same object.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Queues; objects that share one only wait longer.
const QUEUES: usize = 64;

/// Turns of this node's callers, by the object that they change.
pub(crate) struct Turns {
    hasher: RandomState,
    queues: Vec<Arc<Mutex<()>>>,
}

/// The right to change an object before other callers of this node; ends when dropped.
pub(crate) struct Turn(#[expect(dead_code, reason = "held")] OwnedMutexGuard<()>);

impl Turns {
    pub(crate) fn new() -> Turns {
        let queues = (0..QUEUES).map(|_| Arc::default()).collect();
        Turns { hasher: RandomState::new(), queues }
    }

    /// Waits for the turn; first come, first served.
    pub(crate) async fn wait(&self, object: &str) -> Turn {
        let hash = usize::try_from(self.hasher.hash_one(object) % 64).unwrap_or_default();
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
