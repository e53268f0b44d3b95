//! A node that starts with many domains, each with its own key and certificate: the time from the
//! start of the process to the first handshake, the memory, and whether handshakes are slower than
//! with a hundred domains. The names of the handshakes are spread over all domains, so that
//! nothing is in a cache by luck.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, probe, wait_for};
use tokio::runtime::Runtime;

use crate::{
    edge::{self, Load, Sessions},
    haproxy::Haproxy,
};

/// Domains of the node that the other is compared with.
const FEW: usize = 100;
/// Times that everything is measured, by turns.
const ROUNDS: usize = 5;
/// Handshakes at once.
const IN_FLIGHT: usize = 32;
/// Domains that are all used once before handshakes are measured again: what a node keeps open.
const WARM_MAX: usize = 100_000;
/// Domains that HAProxy is given: each is a file, and more of them take minutes and gigabytes.
const HAPROXY_MAX: usize = 10_000;

/// A node with its domains.
struct Many {
    cluster: Cluster,
    address: SocketAddr,
    domains: usize,
}

pub(crate) fn run(time: Duration, domains: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = runtime.block_on(edge::upstream());
    let all = [FEW, domains].map(|domains| Many::start(domains, upstream));
    if domains <= HAPROXY_MAX {
        haproxy(domains);
    }
    edge::pin(std::process::id(), 1);
    all.iter().for_each(|many| edge::pin(many.cluster.nodes[0].process_id(), 0));
    let each = all.each_ref().map(Many::load);
    let few = all.each_ref().map(|many| Load::with_domains(many.address, Sessions::New, FEW));
    rates(&runtime, &all, &few, time, "the same hundred names");
    rates(&runtime, &all, &each, time, "each name once");
    if domains <= WARM_MAX {
        while each[1].all.load(Relaxed) < u64::try_from(domains).unwrap() {
            runtime.block_on(each[1].handshakes(IN_FLIGHT, time));
        }
        rates(&runtime, &all, &each, time, "all names used before");
    }
}

impl Many {
    /// Founds a cluster of one, fills it, and measures its next start.
    fn start(domains: usize, upstream: SocketAddr) -> Many {
        let mut cluster = Cluster::start(1);
        let port = cluster.listen_for(upstream);
        cluster.nodes[0].stop();
        let filling = Instant::now();
        let config = cluster.nodes[0].dir.join("node.toml");
        conclave_node::testing::fill(&config, 0..u64::try_from(domains).unwrap()).unwrap();
        println!("start  {domains:>9} domains made in {:.1} s", filling.elapsed().as_secs_f64());
        let started = Instant::now();
        cluster.nodes[0].start();
        let address = cluster.nodes[0].listener(port);
        first_handshake(address, domains);
        println!(
            "start  {domains:>9} domains  first handshake after {:.2} s, {} MiB",
            started.elapsed().as_secs_f64(),
            cluster.nodes[0].resident_mib()
        );
        Many { cluster, address, domains }
    }

    fn load(&self) -> Load {
        Load::with_domains(self.address, Sessions::New, self.domains)
    }

    fn processor_time(&self) -> f64 {
        edge::peers::seconds(self.cluster.nodes[0].process_id())
    }
}

/// Handshakes in a second of the node's processor time.
fn rates(runtime: &Runtime, all: &[Many; 2], loads: &[Load; 2], time: Duration, which: &str) {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((many, load), rates) in all.iter().zip(loads).zip(&mut rates) {
            let before = many.processor_time();
            let figures = runtime.block_on(load.handshakes(IN_FLIGHT, time));
            rates.push(figures.count() as f64 / (many.processor_time() - before));
        }
    }
    let medians = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    for (many, rate) in all.iter().zip(medians) {
        println!(
            "start  {:>9} domains  {rate:>6.0} full handshakes in a processor second ({:.3}), {} MiB, {which}",
            many.domains,
            rate / medians[0],
            many.cluster.nodes[0].resident_mib()
        );
    }
}

fn haproxy(domains: usize) {
    let Some(mut haproxy) = Haproxy::with_certificates(domains) else { return };
    let started = Instant::now();
    haproxy.start(&[]);
    first_handshake(haproxy.address, domains);
    println!(
        "start  {domains:>9} domains  haproxy: first handshake after {:.2} s, {} MiB",
        started.elapsed().as_secs_f64(),
        haproxy.resident_mib()
    );
}

fn first_handshake(address: SocketAddr, domains: usize) {
    let name = format!("d{}.example", domains / 2);
    wait_for("the first handshake", || probe(address, &name).ok());
}
