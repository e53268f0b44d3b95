//! From the request to the answer "served on 3 of 3 nodes": new key, certificate and chain.

use std::time::Instant;

use conclave_api::certificate::Import;
use conclave_client::Change;
use conclave_tests::{Cluster, Pair};

use crate::{measure::Figures, writes::client};

const CHANGES: usize = 500;

/// A pair, taken for whatever domain.
pub(crate) fn import(pair: &Pair) -> Import {
    Import {
        certificate: pair.bundle(),
        key: Some(pair.key.clone()),
        allow_name_mismatch: true,
        ..Import::default()
    }
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = Cluster::start(3);
    cluster.nodes[0].run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let clients: Vec<_> = (0..3).map(|place| client(&cluster, place)).collect();
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let pair = Pair::make("shop.example");
        let import = import(&pair);
        let started = Instant::now();
        let (client, served) = (&clients[change % 3], Change::default());
        let asked = client.import_certificate("shop.example", &import, &served);
        let done = runtime.block_on(asked).unwrap();
        times.push(started.elapsed());
        assert_eq!(done.served.nodes.len(), 3, "{done:?}");
    }
    println!("served    conclave   on 3 of 3 nodes {}", Figures::of(times));
}
