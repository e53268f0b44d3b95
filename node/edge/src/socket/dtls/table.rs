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
    /// Handshakes of pairs that have a session. A cookie proves the address only, so the session
    /// stays until the handshake is complete (RFC 6347 §4.2.8). Both get all datagrams of the pair,
    /// and each drops those of the other.
    successors: HashMap<Pair, Known>,
    /// Existing seats. A replaced session still counts until it has ended.
    seats: usize,
    refused: Aged<Random>,
}

struct Known {
    number: u64,
    random: Random,
    datagrams: mpsc::Sender<Vec<u8>>,
    is_established: bool,
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
        let (sessions, successors) = Default::default();
        let inner = Inner { next: 0, sessions, successors, seats: 0, refused };
        Arc::new(Table { inner: Mutex::new(inner), emptied: Notify::new() })
    }

    /// Passes a datagram to the session of its pair, and to its successor. Drops it if the session's
    /// queue is full.
    pub(super) fn pass(&self, pair: Pair, datagram: &[u8]) {
        let mut inner = self.inner();
        let Inner { sessions, successors, .. } = &mut *inner;
        for known in sessions.get_mut(&pair).into_iter().chain(successors.get_mut(&pair)) {
            let _ = known.datagrams.try_send(datagram.to_vec());
        }
    }

    /// Returns whether this hello already has a session or was refused lately.
    pub(super) fn knows(&self, pair: Pair, random: Random, now: Instant) -> bool {
        let mut inner = self.inner();
        let is_same = |known: &Known| known.random == random;
        inner.sessions.get(&pair).is_some_and(is_same)
            || inner.successors.get(&pair).is_some_and(is_same)
            || inner.refused.find(pair, now) == Some(&random)
    }

    /// Adds a session. An established session of the same pair stays until this one is established.
    /// An older handshake gets no more datagrams and ends, because its client has started again.
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
        let known = Known { number, random, datagrams, is_established: false };
        match inner.sessions.get(&pair).is_some_and(|present| present.is_established) {
            true => inner.successors.insert(pair, known),
            false => inner.sessions.insert(pair, known),
        };
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
                inner.successors.clear();
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
    /// Notes that the handshake is complete. An older session of the pair gets no more datagrams and
    /// ends, because its client has started again.
    pub(super) fn establish(&self) {
        let mut inner = self.table.inner();
        let Inner { sessions, successors, .. } = &mut *inner;
        let is_own = |known: &Known| known.number == self.number;
        if let Some(known) = successors.remove(&self.pair) {
            match is_own(&known) {
                true => sessions.insert(self.pair, known),
                false => successors.insert(self.pair, known),
            };
        }
        if let Some(known) = sessions.get_mut(&self.pair).filter(|known| is_own(known)) {
            known.is_established = true;
        }
    }

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
        if inner.successors.get(&self.pair).is_some_and(is_own) {
            inner.successors.remove(&self.pair);
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
    async fn an_established_session_stays_until_its_successor_is_established() {
        let (table, now) = (Table::new(), Instant::now());
        let (old_seat, mut old) = table.enter(pair(1), [1; 32]);
        old_seat.establish();
        // Any sender with a cookie of the address gets this far.
        let (failed_seat, mut failed) = table.enter(pair(1), [2; 32]);
        let (seat, mut new) = table.enter(pair(1), [3; 32]);
        assert_eq!(failed.next().await, None, "one successor at a time");
        drop(failed_seat);
        assert!(table.knows(pair(1), [1; 32], now) && table.knows(pair(1), [3; 32], now));
        table.pass(pair(1), b"to both");
        assert_eq!(old.next().await.as_deref(), Some(&b"to both"[..]));
        assert_eq!(new.next().await.as_deref(), Some(&b"to both"[..]));
        seat.establish();
        assert_eq!(old.next().await, None, "its client has begun anew");
        drop(old_seat);
        table.pass(pair(1), b"to the new one");
        assert_eq!(new.next().await.as_deref(), Some(&b"to the new one"[..]));
        drop(seat);
        assert!(table.inner().sessions.is_empty() && table.inner().successors.is_empty());
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
