//! A thread for each processor, with its own runtime, sockets and connections.
//!
//! A connection never leaves its thread, so nothing of it is shared or woken across threads; the
//! rest of the node has a runtime of its own and cannot hold up a handshake.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot, task::AbortHandle};

/// A thread of the edge; it ends when this is dropped.
pub(crate) struct Worker {
    pub(crate) handle: Handle,
    pub(crate) connections: Arc<Connections>,
    /// Sessions of DTLS; those in their handshake are the young ones.
    pub(crate) sessions: Arc<Connections>,
    _running: oneshot::Sender<()>,
}

/// As many threads as processors that this process may use.
pub(crate) fn start() -> io::Result<Vec<Worker>> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    (0..count).map(|number| Worker::start(&format!("edge-{number}"))).collect()
}

impl Worker {
    fn start(name: &str) -> io::Result<Worker> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The other end is dropped, never used.
            let _ = runtime.block_on(stopped);
        })?;
        let (connections, sessions) = Default::default();
        Ok(Worker { handle, connections, sessions, _running: running })
    }
}

/// The connections of a thread, so that they can be ended from outside.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// Those on which the client has not yet said a byte inside TLS, the oldest first.
    young: BTreeMap<u64, (IpAddr, AbortHandle)>,
    grown: HashMap<u64, AbortHandle>,
}

/// A connection in the table; it leaves when this is dropped.
pub(crate) struct Entry {
    connections: Arc<Connections>,
    number: u64,
}

impl Connections {
    /// Runs a connection on this thread, which is that of `handle`.
    pub(crate) fn spawn<F>(self: &Arc<Self>, address: IpAddr, connection: impl FnOnce(Entry) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        // The thread is busy here, so the task cannot end before it stands in the table.
        let task = tokio::spawn(connection(Entry { connections: Arc::clone(self), number }));
        table.young.insert(number, (address, task.abort_handle()));
    }

    /// Ends the oldest connection, of this address if one is given, on which nothing has been
    /// said: whoever opens connections only to hold them makes room first.
    pub(crate) fn displace(&self, address: Option<IpAddr>) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(_, (one, _)): &(&u64, &(IpAddr, AbortHandle))| {
            address.is_none_or(|address| *one == address)
        };
        let Some(number) = table.young.iter().find(fits).map(|(number, _)| *number) else {
            return false;
        };
        if let Some((_, task)) = table.young.remove(&number) {
            task.abort();
        }
        true
    }

    /// Ends the oldest young one if one more would be too many: `max` in all, `address_max` of one
    /// address. Says whether it did.
    pub(crate) fn make_room(&self, address: IpAddr, max: usize, address_max: usize) -> bool {
        let (all, of_address) = {
            let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            let of_address = table.young.values().filter(|(one, _)| *one == address).count();
            (table.young.len(), of_address)
        };
        let of_its_own = of_address >= address_max;
        (of_its_own || all >= max) && self.displace(of_its_own.then_some(address))
    }

    /// Ends all, and says how many there were.
    pub(crate) fn end_all(&self) -> usize {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.young.values().for_each(|(_, task)| task.abort());
        table.grown.values().for_each(AbortHandle::abort);
        table.young.len() + table.grown.len()
    }
}

impl Entry {
    /// The client has said something: no newer connection displaces this one any more.
    pub(crate) fn grow(&self) {
        let mut table = self.connections.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, task)) = table.young.remove(&self.number) {
            table.grown.insert(self.number, task);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.young.remove(&self.number).is_none() {
            table.grown.remove(&self.number);
        }
    }
}
