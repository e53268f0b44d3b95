//! A node under everything that happens, for long: nothing may grow.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, Node, Pair, client_config};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// What nothing exceeds from the second minute on, above what was there then.
const GROWTH_MIB_MAX: u64 = 8;
const GROWTH_DESCRIPTORS_MAX: usize = 32;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(10);
/// Between two changes of the certificate. Each fills the caches of the databases, which have
/// bounds of their own, by some KiB: without a pause that would hide what the edge keeps.
const CHANGE: Duration = Duration::from_secs(1);
/// Bytes of a transfer.
const TRANSFER: usize = 1024 * 1024;

pub(crate) fn run(minutes: u64) {
    let cluster = Cluster::start(1);
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["domain", "create", "closed.example", "--pki", "disabled"]).ok();
    change(one);
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopped, counted, address) = (Arc::clone(&stop), Arc::clone(&count), one.listener(port));
    let (failing, failed) = mpsc::channel::<()>();
    let clients = std::thread::spawn(move || {
        let _failing = failing;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clients = (0..16).map(|number| client(number, address, &stopped, &counted));
            futures::future::join_all(clients).await;
        });
    });
    let (begun, mut looked, mut base) = (Instant::now(), Instant::now(), None);
    while begun.elapsed() < Duration::from_secs(60 * minutes) {
        change(one);
        let waited = failed.recv_timeout(CHANGE);
        assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout), "a client failed");
        if looked.elapsed() < LOOK {
            continue;
        }
        looked = Instant::now();
        let now = (one.resident_mib(), descriptors(one.process_id()));
        let (memory, open) = now;
        let (seconds, done) = (begun.elapsed().as_secs(), count.load(Relaxed));
        println!("{seconds:>5} s  {done:>8} connections  {memory:>5} MiB  {open:>5} descriptors");
        if begun.elapsed() < Duration::from_secs(60) {
            continue;
        }
        let (base_memory, base_open) = *base.get_or_insert(now);
        assert!(memory <= base_memory + GROWTH_MIB_MAX, "memory grows");
        assert!(open <= base_open + GROWTH_DESCRIPTORS_MAX, "descriptors leak");
    }
    stop.store(true, Relaxed);
    clients.join().unwrap();
    println!("nothing grew");
}

/// A new key and certificate for the domain.
fn change(node: &Node) {
    let (bundle, key) = node.pair_files(&Pair::make("shop.example"));
    node.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
}

/// Connects again and again; every fourth is refused, every fourth moves much.
async fn client(number: usize, address: SocketAddr, stop: &AtomicBool, count: &AtomicU64) {
    let connector = TlsConnector::from(Arc::new(client_config(rustls::ALL_VERSIONS).unwrap()));
    let name = if number.is_multiple_of(4) { "closed.example" } else { "shop.example" };
    let length = if number % 4 == 1 { TRANSFER } else { 1 };
    while !stop.load(Relaxed) {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connected = connector.connect(ServerName::try_from(name).unwrap(), tcp).await;
        count.fetch_add(1, Relaxed);
        let mut tls = match connected {
            Ok(tls) => tls,
            Err(error) => {
                assert_eq!(name, "closed.example", "{error}");
                continue;
            }
        };
        let (mut from, mut to) = tokio::io::split(&mut tls);
        let bytes = vec![7; length];
        let mut back = vec![0; length];
        let (written, read) = tokio::join!(to.write_all(&bytes), from.read_exact(&mut back));
        written.unwrap();
        read.unwrap();
        assert_eq!(back, bytes);
        if number.is_multiple_of(2) {
            // Some say goodbye, some do not.
            tls.shutdown().await.unwrap();
        }
    }
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}
