//! A node that starts with many domains, each with its own key and certificate: the time from
//! the start of the process to the first handshake.

use std::{net::SocketAddr, time::Instant};

use conclave_api::domain::{Create, Pki};
use conclave_tests::{Cluster, Pair, probe, wait_for};

use crate::{
    haproxy::Haproxy,
    served::import,
    writes::{client, committed},
};

pub(crate) fn run(domains: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut cluster = Cluster::start(1);
    let port = cluster.listen();
    let asked = client(&cluster, 0);
    let pair = Pair::make("shop.example");
    let import = import(&pair);
    let total = u64::try_from(domains).unwrap();
    let filling = Instant::now();
    // Names differ, the pair is the same; a chain is stored once however often it is used.
    runtime.block_on(async {
        let mut left = total;
        while left > 0 {
            let batch = left.min(64);
            let mut tasks = tokio::task::JoinSet::new();
            for number in left - batch..left {
                let (asked, import) = (asked.clone(), import.clone());
                tasks.spawn(async move {
                    let name = format!("d{number}.example");
                    let create = Create {
                        name: name.clone(),
                        aliases: Vec::new(),
                        addresses: Vec::new(),
                        scope: None,
                        pki: Some(Pki::Enabled),
                    };
                    asked.create_domain(&create, &committed()).await.unwrap();
                    asked.import_certificate(&name, &import, &committed()).await.unwrap();
                });
            }
            tasks.join_all().await;
            left -= batch;
        }
    });
    println!(
        "start     conclave   {domains} domains made in {:.1} s",
        filling.elapsed().as_secs_f64()
    );
    cluster.nodes[0].kill();
    let started = Instant::now();
    cluster.nodes[0].start();
    let address = cluster.nodes[0].listener(port);
    first_handshake(address, domains);
    let memory = cluster.nodes[0].resident_mib();
    println!(
        "start     conclave   first handshake after {:.2} s, {memory} MiB",
        started.elapsed().as_secs_f64()
    );
    drop(cluster);
    let Some(mut haproxy) = Haproxy::with_certificates(domains) else { return };
    let started = Instant::now();
    haproxy.start(&[]);
    first_handshake(haproxy.address, domains);
    println!(
        "start     haproxy    first handshake after {:.2} s, {} MiB",
        started.elapsed().as_secs_f64(),
        haproxy.resident_mib()
    );
}

fn first_handshake(address: SocketAddr, domains: usize) {
    wait_for("the first handshake", || probe(address, &format!("d{}.example", domains / 2)).ok());
}
