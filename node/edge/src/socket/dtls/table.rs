//! Who has a session at a socket, and who was refused one lately.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures::channel::mpsc;
use tokio::sync::Notify;

use super::{aged::Aged, socket::Pair};
use crate::socket::limits::{REFUSED_MAX, REFUSED_VALID, SESSION_DATAGRAMS_MAX};

/// What tells a client's handshakes apart: the random of its hello.
pub(super) type Random = [u8; 32];

/// Sessions of one socket. One thread alone uses it, so nobody waits for the lock.
pub(super) struct Table {
    inner: Mutex<Inner>,
    emptied: Notify,
}

struct Inner {
    next: u64,
    sessions: HashMap<Pair, Known>,
    /// Seats that are taken; those of sessions that were replaced count until they have ended.
    seats: usize,
    refused: Aged<Random>,
}

struct Known {
    number: u64,
    random: Random,
    datagrams: mpsc::Sender<Vec<u8>>,
}

/// A session's place in the table; it leaves when this is dropped.
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

    /// Gives a datagram to the session of its pair. What comes too fast is lost.
    pub(super) fn pass(&self, pair: Pair, datagram: &[u8]) {
        if let Some(known) = self.inner().sessions.get_mut(&pair) {
            let _ = known.datagrams.try_send(datagram.to_vec());
        }
    }

    /// Whether this hello has its session, or was refused already.
    pub(super) fn knows(&self, pair: Pair, random: Random, now: Instant) -> bool {
        let mut inner = self.inner();
        inner.sessions.get(&pair).is_some_and(|known| known.random == random)
            || inner.refused.find(pair, now) == Some(&random)
    }

    /// A seat for a new session. An older one of the same pair hears no more and ends: its client
    /// has begun anew.
    pub(super) fn enter(
        self: &Arc<Self>,
        pair: Pair,
        random: Random,
    ) -> (Seat, mpsc::Receiver<Vec<u8>>) {
        // Of `futures`: tokio's has room for 32 datagrams also when nothing is in it.
        let (datagrams, receiver) = mpsc::channel(SESSION_DATAGRAMS_MAX);
        let mut inner = self.inner();
        let number = inner.next;
        inner.next += 1;
        inner.seats += 1;
        inner.sessions.insert(pair, Known { number, random, datagrams });
        let table = Arc::clone(self);
        (Seat { table, pair, number, random, is_refused: false }, receiver)
    }

    /// Ends all sessions, and waits until each has said so to its client.
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
    /// The handshake has failed: while the client repeats its hello it gets no other answer.
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
