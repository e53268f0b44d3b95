//! Places of an HTTP listener that strangers can reach.
//!
//! A connection is a guest until its client shows a valid token. Guests have a short life and few
//! places for each address, and the oldest one makes room. So strangers cannot lock out operators,
//! who may need the API to stop them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use conclave_edge::socket::limits::network;
use tokio::{sync::Notify, task::AbortHandle, time::timeout};

use super::limits::{GUEST_LIFE, GUESTS_ADDRESS_MAX};

/// Accounting of the connections of one listener.
pub(crate) struct Places {
    max: usize,
    life: Duration,
    next: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    taken: usize,
    /// Guests, oldest first.
    guests: BTreeMap<u64, (IpAddr, AbortHandle)>,
}

/// A connection, as long as its client has shown no valid token; cheap to clone.
#[derive(Clone)]
pub(crate) struct Guest(Arc<Entry>);

struct Entry {
    places: Arc<Places>,
    number: u64,
    is_admitted: AtomicBool,
    admitted: Notify,
}

/// Place of a connection. Dropping it frees the place.
struct Place(Guest);

impl Places {
    /// Makes room for `max` connections.
    pub(crate) fn new(max: usize) -> Arc<Places> {
        Places::with_life(max, GUEST_LIFE)
    }

    fn with_life(max: usize, life: Duration) -> Arc<Places> {
        Arc::new(Places { max, life, next: AtomicU64::new(0), table: Mutex::default() })
    }

    /// Spawns a connection from `address`. The oldest guest of the address makes room if the
    /// address has too many, else the oldest of all. Without a guest the connection is closed.
    pub(crate) fn spawn<A>(self: &Arc<Self>, address: IpAddr, answer: impl FnOnce(Guest) -> A)
    where
        A: Future<Output = ()> + Send + 'static,
    {
        let address = network(address);
        if !self.make_room(address) {
            return;
        }
        let number = self.next.fetch_add(1, Relaxed);
        let (is_admitted, admitted) = (AtomicBool::new(false), Notify::new());
        let places = Arc::clone(self);
        let guest = Guest(Arc::new(Entry { places, number, is_admitted, admitted }));
        let (answering, place) = (answer(guest.clone()), Place(guest.clone()));
        let mut table = self.table();
        table.taken += 1;
        // The task needs this lock to leave, so it cannot be gone before it is in the table.
        let task = tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = answering => {}
                () = guest.overstays() => {}
            }
        });
        table.guests.insert(number, (address, task.abort_handle()));
    }

    /// Returns whether one more connection from `address` may come in. Ends a guest if needed.
    fn make_room(&self, address: IpAddr) -> bool {
        let mut table = self.table();
        let of_address = |(one, _): &&(IpAddr, AbortHandle)| *one == address;
        let is_crowd = table.guests.values().filter(of_address).count() >= GUESTS_ADDRESS_MAX;
        if !is_crowd && table.taken < self.max {
            return true;
        }
        let mut guests = table.guests.iter();
        let oldest = guests.find(|(_, (one, _))| !is_crowd || *one == address);
        let Some(number) = oldest.map(|(number, _)| *number) else { return false };
        let ended = table.guests.remove(&number);
        // Without the lock: the end of a task takes it.
        drop(table);
        ended.inspect(|(_, task)| task.abort());
        true
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Notes that the client has shown a valid token. Its connection is no longer bounded.
    pub(crate) fn admit(&self) {
        let Guest(entry) = self;
        if !entry.is_admitted.swap(true, Relaxed) {
            entry.places.table().guests.remove(&entry.number);
            entry.admitted.notify_one();
        }
    }

    /// Returns whether the client has shown a valid token on this connection.
    pub(super) fn is_admitted(&self) -> bool {
        self.0.is_admitted.load(Relaxed)
    }

    /// Waits until the guest has been here for too long; for ever if the client is admitted.
    async fn overstays(&self) {
        if timeout(self.0.places.life, self.0.admitted.notified()).await.is_ok() {
            std::future::pending().await
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Guest(entry) = &self.0;
        let mut table = entry.places.table();
        table.guests.remove(&entry.number);
        table.taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    /// A connection that lasts until it is ended. Its end closes `open`.
    fn come(places: &Arc<Places>, address: &str) -> Option<(Guest, UnboundedReceiver<()>)> {
        let mut come = None;
        places.spawn(address.parse().unwrap(), |guest| {
            let (open, is_open): (UnboundedSender<()>, _) = unbounded_channel();
            come = Some((guest, is_open));
            async move { open.closed().await }
        });
        come
    }

    async fn has_ended(open: &mut UnboundedReceiver<()>) -> bool {
        timeout(Duration::from_secs(5), open.recv()).await == Ok(None)
    }

    #[tokio::test]
    async fn guests_of_one_address_only_displace_each_other() {
        let places = Places::new(100);
        let (_other, mut is_other) = come(&places, "192.0.2.1").unwrap();
        let (operator, mut is_operator) = come(&places, "2001:db8::1").unwrap();
        operator.admit();
        let mut all: Vec<_> =
            (0..40).map(|last| come(&places, &format!("2001:db8::{last:x}")).unwrap()).collect();
        for (_, open) in &mut all[..40 - GUESTS_ADDRESS_MAX] {
            assert!(has_ended(open).await);
        }
        for (_, open) in &mut all[40 - GUESTS_ADDRESS_MAX..] {
            assert!(open.try_recv().is_err_and(|error| error != DISCONNECTED));
        }
        assert!(is_other.try_recv().is_err_and(|error| error != DISCONNECTED));
        assert!(is_operator.try_recv().is_err_and(|error| error != DISCONNECTED));
    }

    const DISCONNECTED: tokio::sync::mpsc::error::TryRecvError =
        tokio::sync::mpsc::error::TryRecvError::Disconnected;

    #[tokio::test]
    async fn the_oldest_guest_of_all_makes_room_and_nobody_who_is_admitted() {
        let places = Places::new(3);
        let (first, mut is_first) = come(&places, "192.0.2.1").unwrap();
        first.admit();
        let (_second, mut is_second) = come(&places, "192.0.2.2").unwrap();
        let (third, _is_third) = come(&places, "192.0.2.3").unwrap();
        let (fourth, _is_fourth) = come(&places, "192.0.2.4").unwrap();
        assert!(has_ended(&mut is_second).await);
        third.admit();
        fourth.admit();
        assert!(come(&places, "192.0.2.5").is_none(), "every place has somebody with a token");
        assert!(is_first.try_recv().is_err_and(|error| error != DISCONNECTED));
    }

    #[tokio::test]
    async fn a_guest_leaves_after_a_while_whatever_it_does() {
        let places = Places::with_life(3, Duration::from_millis(10));
        let (admitted, mut is_admitted) = come(&places, "192.0.2.1").unwrap();
        admitted.admit();
        let (_guest, mut is_guest) = come(&places, "192.0.2.1").unwrap();
        assert!(has_ended(&mut is_guest).await);
        assert!(is_admitted.try_recv().is_err_and(|error| error != DISCONNECTED), "it stays");
        assert_eq!(places.table().guests.len(), 0);
    }
}
