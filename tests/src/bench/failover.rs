//! kill -9 of the leader: the time from then to the next acknowledged write through another
//! member, beside etcd with its default timeouts.

use std::time::{Duration, Instant};

use conclave_api::domain::{Create, Pki};
use conclave_tests::{Cluster, wait_for};

use crate::{
    etcd::Etcd,
    measure::Figures,
    writes::{client, committed},
};

/// Longest time for one try of a write to etcd.
const TRY: Duration = Duration::from_millis(500);

pub(crate) fn run(kills: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut cluster = Cluster::start(3);
    let times = (0..kills).map(|number| {
        let leader = cluster.leader();
        let client = client(&cluster, (leader + 1) % 3);
        let write = async |name: String| {
            let (aliases, addresses, scope) = (Vec::new(), Vec::new(), None);
            let create = Create { name, aliases, addresses, scope, pki: Some(Pki::Test) };
            client.create_domain(&create, &committed()).await.unwrap();
        };
        runtime.block_on(write(format!("before{number}.example")));
        let killed = Instant::now();
        cluster.nodes[leader].kill();
        runtime.block_on(write(format!("after{number}.example")));
        let took = killed.elapsed();
        cluster.nodes[leader].start();
        wait_for("all are ready again", || {
            let status = cluster.nodes[leader].status();
            let nodes = status["nodes"].as_array()?;
            let is_ready = nodes.iter().filter(|node| node["state"] == "ready").count() == 3;
            is_ready.then_some(())
        });
        took
    });
    let times: Vec<_> = times.collect();
    println!("failover  conclave   {}", Figures::of(times));
    drop(cluster);
    let Some(mut etcd) = Etcd::start() else { return };
    let times = (0..kills).map(|number| {
        let leader = etcd.leader();
        let putter = etcd.putter((leader + 1) % 3);
        let write = async |name: String| {
            let put = || tokio::time::timeout(TRY, putter.try_put(&name, &[b'x'; 1024]));
            while !matches!(put().await, Ok(true)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        runtime.block_on(write(format!("before{number}")));
        let killed = Instant::now();
        etcd.kill(leader);
        runtime.block_on(write(format!("after{number}")));
        let took = killed.elapsed();
        etcd.restart(leader);
        took
    });
    let times: Vec<_> = times.collect();
    println!("failover  etcd       {}", Figures::of(times));
}
