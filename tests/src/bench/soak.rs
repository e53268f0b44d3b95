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

use conclave_api::domain::{Create, Pki};
use conclave_tests::{Cluster, Node, Pair, client_config};
use rustls::{HandshakeKind, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    served::import,
    writes::{client as admin, committed},
};

/// Changes before the first minute: more than the operations that State remembers, the entries
/// that stay in the log and those whose copies stay in memory, so that all of these are full.
const CHANGES_BEFORE: usize = 24_000;
/// Domains that they are spread over, so that they can be under way at once.
const DOMAINS_BEFORE: usize = 64;
/// What the median of the last minute may be above that of the second.
const GROWTH_MIB_MAX: u64 = 2;
const GROWTH_DESCRIPTORS_MAX: u64 = 4;
/// Between two looks, and two changes of the certificate.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time of a connection.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two connections that are refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);
/// Bytes of a transfer.
const TRANSFER: usize = 1024 * 1024;

/// What a node holds.
#[derive(Clone, Copy)]
struct Held {
    mib: u64,
    descriptors: u64,
}

/// What clients did.
#[derive(Default)]
struct Done {
    connections: AtomicU64,
    resumed: AtomicU64,
    refused: AtomicU64,
    transfers: AtomicU64,
}

pub(crate) fn run(minutes: u64) {
    assert!(minutes > 2, "the last minute is compared with the second");
    let cluster = Cluster::start(1);
    let (port, one) = (cluster.listen(), &cluster.nodes[0]);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["domain", "create", "closed.example", "--pki", "disabled"]).ok();
    change(one);
    fill(&cluster);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(Done::default()));
    let (stopped, counted, address) = (Arc::clone(&stop), Arc::clone(&done), one.listener(port));
    let (failing, failed) = mpsc::channel::<()>();
    let clients = std::thread::spawn(move || {
        let _failing = failing;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clients = (0..16).map(|number| client(number, address, &stopped, &counted));
            futures::future::join_all(clients).await;
        });
    });
    let mut medians = Vec::new();
    for minute in 1..=minutes {
        let (begun, mut looks, mut changes) = (Instant::now(), Vec::new(), 0);
        while begun.elapsed() < Duration::from_secs(60) {
            change(one);
            changes += 1;
            let waited = failed.recv_timeout(LOOK);
            assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout), "a client failed");
            looks.push(Held::of(one));
        }
        let median = Held::median(&looks);
        println!(
            "soak  minute {minute:>2}  {:>4} MiB  {:>3} descriptors  {changes} changes; so far {} connections, {} resumed, {} refused, {} transfers",
            median.mib,
            median.descriptors,
            done.connections.load(Relaxed),
            done.resumed.load(Relaxed),
            done.refused.load(Relaxed),
            done.transfers.load(Relaxed),
        );
        medians.push(median);
    }
    stop.store(true, Relaxed);
    clients.join().unwrap();
    for count in [&done.resumed, &done.refused, &done.transfers] {
        assert!(count.load(Relaxed) > 0, "something of the load did not happen");
    }
    judge(medians[1], medians[medians.len() - 1]);
}

impl Held {
    fn of(node: &Node) -> Held {
        let open = std::fs::read_dir(format!("/proc/{}/fd", node.process_id())).unwrap();
        Held { mib: node.resident_mib(), descriptors: u64::try_from(open.count()).unwrap() }
    }

    fn median(looks: &[Held]) -> Held {
        let median = |of: fn(&Held) -> u64| {
            let mut all: Vec<u64> = looks.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        Held { mib: median(|held| held.mib), descriptors: median(|held| held.descriptors) }
    }
}

/// Ends this program with failure if something grew.
fn judge(second: Held, last: Held) {
    let memory = last.mib <= second.mib + GROWTH_MIB_MAX;
    let descriptors = last.descriptors <= second.descriptors + GROWTH_DESCRIPTORS_MAX;
    println!(
        "soak  from the second minute to the last: memory {} MiB to {} MiB, descriptors {} to {}: {}",
        second.mib,
        last.mib,
        second.descriptors,
        last.descriptors,
        if memory && descriptors { "nothing grew" } else { "GREW" }
    );
    if !(memory && descriptors) {
        std::process::exit(1);
    }
}

/// Makes changes until everything that has a bound has reached it.
fn fill(cluster: &Cluster) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (asked, pair) = (admin(cluster, 0), Pair::make("shop.example"));
    let begun = Instant::now();
    runtime.block_on(async {
        let domains = (0..DOMAINS_BEFORE).map(|number| {
            let (asked, import) = (asked.clone(), import(&pair));
            async move {
                let name = format!("d{number}.example");
                let create = Create {
                    name: name.clone(),
                    aliases: Vec::new(),
                    addresses: Vec::new(),
                    scope: None,
                    pki: Some(Pki::Enabled),
                };
                asked.create_domain(&create, &committed()).await.unwrap();
                for _ in 1..CHANGES_BEFORE / DOMAINS_BEFORE {
                    asked.import_certificate(&name, &import, &committed()).await.unwrap();
                }
            }
        });
        futures::future::join_all(domains).await;
    });
    let held = Held::of(&cluster.nodes[0]);
    println!(
        "soak  {CHANGES_BEFORE} changes in {:.0} s, {} MiB, {} descriptors",
        begun.elapsed().as_secs_f64(),
        held.mib,
        held.descriptors
    );
}

/// A new key and certificate for the domain.
fn change(node: &Node) {
    let (bundle, key) = node.pair_files(&Pair::make("shop.example"));
    node.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
}

/// Connects again and again; every fourth is refused, every fourth moves much.
async fn client(number: usize, address: SocketAddr, stop: &AtomicBool, done: &Done) {
    let connector = TlsConnector::from(Arc::new(client_config(rustls::ALL_VERSIONS).unwrap()));
    while !stop.load(Relaxed) {
        let one = connection(number, address, &connector, done);
        tokio::time::timeout(DEADLINE, one).await.expect("a connection hangs");
    }
}

async fn connection(number: usize, address: SocketAddr, connector: &TlsConnector, done: &Done) {
    let name = if number.is_multiple_of(4) { "closed.example" } else { "shop.example" };
    let length = if number % 4 == 1 { TRANSFER } else { 1 };
    let tcp = TcpStream::connect(address).await.unwrap();
    let connected = connector.connect(ServerName::try_from(name).unwrap(), tcp).await;
    done.connections.fetch_add(1, Relaxed);
    let mut tls = match connected {
        Ok(tls) => tls,
        Err(error) => {
            assert_eq!(name, "closed.example", "{error}");
            done.refused.fetch_add(1, Relaxed);
            // Refusals cost little: without a pause they would be nearly all.
            tokio::time::sleep(REFUSED_PAUSE).await;
            return;
        }
    };
    let kind = tls.get_ref().1.handshake_kind();
    done.resumed.fetch_add(u64::from(kind == Some(HandshakeKind::Resumed)), Relaxed);
    let (mut from, mut to) = tokio::io::split(&mut tls);
    let bytes = vec![7; length];
    let mut back = vec![0; length];
    let writing = async {
        to.write_all(&bytes).await?;
        // What the socket did not take at once waits in the client.
        to.flush().await
    };
    let (written, read) = tokio::join!(writing, from.read_exact(&mut back));
    written.unwrap();
    read.unwrap();
    assert_eq!(back, bytes);
    done.transfers.fetch_add(u64::from(length == TRANSFER), Relaxed);
    if number.is_multiple_of(2) {
        // Some say goodbye, some do not.
        tls.shutdown().await.unwrap();
    }
}
