//! Table of the sessions of a socket, and of the hellos refused lately.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures::channel::mpsc;
use tokio::sync::Notify;

use super::{aged::Aged, socket::Pair};
use crate::socket::limits::{REFUSED_MAX, REFUSED_VALID, SESSION_DATAGRAMS_MAX};

/// The random of a ClientHello, which identifies one handshake of a client.
pub(super) type Random = [u8; 32];

/// Sessions of one socket. Only one thread uses it, so the lock is never contended.
pub(super) struct Table {
    inner: Mutex<Inner>,
    emptied: Notify,
}

struct Inner {
    next: u64,
    sessions: HashMap<Pair, Known>,
    /// Existing seats. A replaced session still counts until it has ended.
    seats: usize,
    refused: Aged<Random>,
}

struct Known {
    number: u64,
    random: Random,
    datagrams: mpsc::Sender<Vec<u8>>,
}

/// Place of a session in the table. Dropping it removes the session.
pub(super) struct Seat {
    table: Arc<Table>,
    pair: Pair,
    number: u64,
    random: Random,
    is_refused: bool,
}

impl Table {
    pub(super) fn new() -> Arc<Table> {
        let refused = Aged::new(REFUSED_MAX, REFUSED_VALID);
        let inner = Inner { next: 0, sessions: HashMap::new(), seats: 0, refused };
        Arc::new(Table { inner: Mutex::new(inner), emptied: Notify::new() })
    }

    /// Passes a datagram to the session of its pair. Drops it if the session's queue is full.
    pub(super) fn pass(&self, pair: Pair, datagram: &[u8]) {
        if let Some(known) = self.inner().sessions.get_mut(&pair) {
            let _ = known.datagrams.try_send(datagram.to_vec());
        }
    }

    /// Returns whether this hello already has a session or was refused lately.
    pub(super) fn knows(&self, pair: Pair, random: Random, now: Instant) -> bool {
        let mut inner = self.inner();
        inner.sessions.get(&pair).is_some_and(|known| known.random == random)
            || inner.refused.find(pair, now) == Some(&random)
    }

    /// Adds a session. An older session of the same pair gets no more datagrams and ends, because
    /// its client has started again.
    pub(super) fn enter(
        self: &Arc<Self>,
        pair: Pair,
        random: Random,
    ) -> (Seat, mpsc::Receiver<Vec<u8>>) {
        // The channel of `futures`, because tokio's allocates room for 32 datagrams even while
        // empty.
        let (datagrams, receiver) = mpsc::channel(SESSION_DATAGRAMS_MAX);
        let mut inner = self.inner();
        let number = inner.next;
        inner.next += 1;
        inner.seats += 1;
        inner.sessions.insert(pair, Known { number, random, datagrams });
        let table = Arc::clone(self);
        (Seat { table, pair, number, random, is_refused: false }, receiver)
    }

    /// Ends all sessions and waits until each has sent close_notify.
    pub(super) async fn close(&self) {
        loop {
            let emptied = self.emptied.notified();
            {
                let mut inner = self.inner();
                inner.sessions.clear();
                if inner.seats == 0 {
                    return;
                }
            }
            emptied.await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Marks the hello as refused: retransmissions of it get no answer for a while.
    pub(super) fn refuse(&mut self) {
        self.is_refused = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.table.inner();
        let is_own = |known: &Known| known.number == self.number;
        if inner.sessions.get(&self.pair).is_some_and(is_own) {
            inner.sessions.remove(&self.pair);
        }
        if self.is_refused {
            inner.refused.put(self.pair, self.random, Instant::now());
        }
        inner.seats -= 1;
        if inner.seats == 0 {
            self.table.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn pair(port: u16) -> Pair {
        Pair { remote: ([192, 0, 2, 1], port).into(), local: None }
    }

    #[tokio::test]
    async fn a_client_that_begins_anew_takes_the_seat_of_its_old_session() {
        let (table, now) = (Table::new(), Instant::now());
        let (old_seat, mut old) = table.enter(pair(1), [1; 32]);
        table.pass(pair(1), b"old");
        assert!(table.knows(pair(1), [1; 32], now) && !table.knows(pair(1), [2; 32], now));
        let (seat, mut new) = table.enter(pair(1), [2; 32]);
        assert_eq!(old.next().await.as_deref(), Some(&b"old"[..]));
        assert_eq!(old.next().await, None, "it hears no more");
        drop(old_seat);
        table.pass(pair(1), b"new");
        table.pass(pair(2), b"a stranger's");
        assert_eq!(new.next().await.as_deref(), Some(&b"new"[..]), "the seat is the new one's");
        drop(seat);
        assert!(!table.knows(pair(1), [2; 32], now));
    }

    #[tokio::test]
    async fn a_refused_hello_is_known_and_another_of_its_client_is_not() {
        let (table, now) = (Table::new(), Instant::now());
        let (mut seat, _datagrams) = table.enter(pair(1), [1; 32]);
        seat.refuse();
        drop(seat);
        assert!(table.knows(pair(1), [1; 32], now));
        assert!(!table.knows(pair(1), [2; 32], now) && !table.knows(pair(2), [1; 32], now));
        assert!(!table.knows(pair(1), [1; 32], now + REFUSED_VALID * 2));
    }

    #[tokio::test]
    async fn closing_ends_every_session_and_waits_for_it() {
        let table = Table::new();
        let (seat, mut datagrams) = table.enter(pair(1), [1; 32]);
        let session = tokio::spawn(async move {
            let _seat = seat;
            datagrams.next().await
        });
        table.close().await;
        assert_eq!(session.await.unwrap(), None);
    }
}
