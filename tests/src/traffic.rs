//! Clients that shake hands with nodes without a pause, and must not notice what happens to the
//! cluster.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use conclave_dtls::Connector;

use crate::{DtlsClient, probe};

const PATIENCE: Duration = Duration::from_secs(20);
/// Pause of a client whose node is away.
const AWAY: Duration = Duration::from_millis(20);

/// What one client and the script know of each other.
#[derive(Default)]
struct Watch {
    /// Changes of whether the node is there; odd: it is.
    turn: AtomicU64,
    is_over: AtomicBool,
    done: AtomicU64,
    /// The first handshake that failed although its node was there all the time.
    failure: Mutex<Option<String>>,
}

/// A TLS and a DTLS client of one node.
pub struct Traffic {
    watch: Arc<[Watch; 2]>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts the clients of a node that is there: at its listeners for TLS and for DTLS.
    pub fn start(tls: SocketAddr, dtls: SocketAddr) -> Traffic {
        let watch: Arc<[Watch; 2]> = Arc::default();
        let clients = [
            client(&watch, 0, move || {
                probe(tls, "-").map(drop).map_err(|no| format!("{tls}: {no:?}"))
            }),
            client(&watch, 1, move || {
                let mut client = DtlsClient::begin(&Connector::new(&[]).unwrap(), dtls, None, 1500);
                client.handshake(PATIENCE).map_err(|no| format!("{dtls} (DTLS): {no}"))?;
                client.close();
                Ok(())
            }),
        ];
        let traffic = Traffic { watch, clients: clients.into() };
        traffic.back();
        traffic
    }

    /// Says that the script takes the node away. Handshakes that have begun may fail.
    pub fn away(&self) {
        self.watch.iter().for_each(|watch| assert_eq!(watch.turn.fetch_add(1, SeqCst) % 2, 1));
    }

    /// Says that the node is there again.
    pub fn back(&self) {
        self.watch.iter().for_each(|watch| assert_eq!(watch.turn.fetch_add(1, SeqCst) % 2, 0));
    }

    /// Ends the clients. Returns the numbers of their handshakes with TLS and DTLS; panics if one
    /// failed.
    pub fn end(mut self) -> [u64; 2] {
        self.stop();
        for watch in self.watch.iter() {
            let failure = watch.failure.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(*failure, None, "after {} handshakes", watch.done.load(SeqCst));
        }
        [self.watch[0].done.load(SeqCst), self.watch[1].done.load(SeqCst)]
    }

    fn stop(&mut self) {
        self.watch.iter().for_each(|watch| watch.is_over.store(true, SeqCst));
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop();
    }
}

fn client(
    watch: &Arc<[Watch; 2]>,
    place: usize,
    handshake: impl Fn() -> Result<(), String> + Send + 'static,
) -> JoinHandle<()> {
    let watch = Arc::clone(watch);
    std::thread::spawn(move || {
        let watch = &watch[place];
        while !watch.is_over.load(SeqCst) {
            let turn = watch.turn.load(SeqCst);
            if turn.is_multiple_of(2) {
                std::thread::park_timeout(AWAY);
                continue;
            }
            match handshake() {
                Ok(()) => {
                    watch.done.fetch_add(1, SeqCst);
                }
                Err(_) if watch.turn.load(SeqCst) != turn => {}
                Err(error) => {
                    *watch.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
            }
        }
    })
}
