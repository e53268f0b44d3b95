//! Durable writes: a domain of about 1 KiB, through one node of three, beside etcd's puts of
//! 1 KiB through its HTTP gateway. Both acknowledge what a majority has synced.

use std::time::Duration;

use conclave_api::domain::{Create, Pki};
use conclave_client::{Address, Change, Client, Options};
use conclave_tests::Cluster;

use crate::{etcd::Etcd, measure::many};

const IN_FLIGHT: [usize; 4] = [1, 16, 64, 256];

pub(crate) fn run(time: Duration) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = Cluster::start(3);
    // The first of three leads after founding; a client of the leader saves one hop in both.
    let client = client(&cluster, cluster.leader());
    for in_flight in IN_FLIGHT {
        let client = client.clone();
        let figures = runtime.block_on(many(in_flight, time, move |number| {
            let client = client.clone();
            let create = domain(&format!("w{in_flight}n{number}"));
            async move { client.create_domain(&create, &committed()).await.unwrap() }
        }));
        println!("writes    conclave   {in_flight:>3} in flight {figures}");
    }
    drop(cluster);
    let Some(etcd) = Etcd::start() else { return };
    for in_flight in IN_FLIGHT {
        let putter = etcd.putter(etcd.leader());
        let figures = runtime.block_on(many(in_flight, time, move |number| {
            let putter = putter.clone();
            async move { putter.put(&format!("w{in_flight}n{number}"), &[b'x'; 1024]).await }
        }));
        println!("writes    etcd       {in_flight:>3} in flight {figures}");
    }
}

/// Asks one node.
pub(crate) fn client(cluster: &Cluster, place: usize) -> Client {
    let options = Options { timeout: Duration::from_secs(60), ..Options::default() };
    let socket = cluster.nodes[place].dir.join("admin.sock");
    Client::new(&Address::Unix(socket), None, options).unwrap()
}

/// What etcd promises too: durable on a majority.
pub(crate) fn committed() -> Change {
    Change { is_committed_enough: true, ..Change::default() }
}

pub(crate) fn domain(label: &str) -> Create {
    let aliases = (0..16).map(|alias| format!("{alias:0>40}.{label}.example"));
    Create {
        name: format!("{label}.example"),
        aliases: aliases.collect(),
        addresses: Vec::new(),
        scope: None,
        pki: Some(Pki::Test),
    }
}
