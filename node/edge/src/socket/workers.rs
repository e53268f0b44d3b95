//! Worker threads: one per processor, each with its own runtime, sockets and connections.
//!
//! A connection never leaves its thread, so it shares no data and no wake-ups across threads. The
//! rest of the node runs on another runtime and cannot delay a handshake.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot, task::AbortHandle};

use super::{failure::Failure, record::Recorded};

/// A worker thread. The thread ends when this is dropped.
pub(crate) struct Worker {
    pub(crate) handle: Handle,
    pub(crate) connections: Arc<Connections>,
    /// DTLS sessions. A session is young during its handshake.
    pub(crate) sessions: Arc<Connections>,
    _running: oneshot::Sender<()>,
}

/// Starts one worker for each processor available to this process.
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
            // The sender is only ever dropped.
            let _ = runtime.block_on(stopped);
        })?;
        let (connections, sessions) = Default::default();
        Ok(Worker { handle, connections, sessions, _running: running })
    }
}

/// Registry of a thread's connections, through which other threads can end them.
#[derive(Default)]
pub(crate) struct Connections {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// Connections without client data inside TLS yet, oldest first.
    young: BTreeMap<u64, Young>,
    grown: HashMap<u64, AbortHandle>,
}

struct Young {
    address: IpAddr,
    task: AbortHandle,
    recorded: Recorded,
}

/// Entry of a connection. Dropping it removes the connection from the registry.
pub(crate) struct Entry {
    connections: Arc<Connections>,
    number: u64,
}

impl Connections {
    /// Spawns a connection on the current thread.
    pub(crate) fn spawn<F>(
        self: &Arc<Self>,
        address: IpAddr,
        recorded: Recorded,
        connection: impl FnOnce(Entry) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        // This thread is busy here, so the task cannot run before it is in the table.
        let task = tokio::spawn(connection(Entry { connections: Arc::clone(self), number }));
        table.young.insert(number, Young { address, task: task.abort_handle(), recorded });
    }

    /// Ends the oldest young connection, of `address` if one is given. Clients that only hold
    /// connections open therefore lose them first.
    pub(crate) fn displace(&self, address: Option<IpAddr>) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(_, one): &(&u64, &Young)| address.is_none_or(|address| one.address == address);
        let Some(number) = table.young.iter().find(fits).map(|(number, _)| *number) else {
            return false;
        };
        let young = table.young.remove(&number);
        // Outside the lock: this may write the line of the connection.
        drop(table);
        if let Some(Young { task, recorded, .. }) = young {
            recorded.ends(Failure::Displaced.word());
            task.abort();
        }
        true
    }

    /// Ends the oldest young connection if one more would exceed `max` in total or `address_max`
    /// for the address. Returns whether it did.
    pub(crate) fn make_room(&self, address: IpAddr, max: usize, address_max: usize) -> bool {
        let (all, of_address) = {
            let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            let of_address = table.young.values().filter(|one| one.address == address).count();
            (table.young.len(), of_address)
        };
        let of_its_own = of_address >= address_max;
        (of_its_own || all >= max) && self.displace(of_its_own.then_some(address))
    }

    /// Returns whether there are young connections.
    pub(crate) fn has_young(&self) -> bool {
        !self.table.lock().unwrap_or_else(PoisonError::into_inner).young.is_empty()
    }

    /// Ends all connections and returns their number.
    pub(crate) fn end_all(&self) -> usize {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.young.values().for_each(|young| young.task.abort());
        table.grown.values().for_each(AbortHandle::abort);
        table.young.len() + table.grown.len()
    }
}

impl Entry {
    /// Marks the connection as used: newer connections no longer displace it.
    pub(crate) fn grow(&self) {
        let mut table = self.connections.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(young) = table.young.remove(&self.number) {
            table.grown.insert(self.number, young.task);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock().unwrap_or_else(PoisonError::into_inner);
        let young = table.young.remove(&self.number);
        if young.is_none() {
            table.grown.remove(&self.number);
        }
        drop(table);
        // Outside the lock: this may write the line of the connection.
        drop(young);
    }
}
