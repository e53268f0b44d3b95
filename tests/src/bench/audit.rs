//! What the audit trail costs: the same durable writes by the same program, in a cluster at level 3,
//! where no entry is written, and then at level 4, where each change writes its entry.

use std::time::Duration;

use conclave_tests::{release, wait_for};

use crate::{
    measure::many,
    writes::{client, committed, domain},
};

const IN_FLIGHT: [usize; 3] = [1, 64, 256];
/// The last release whose clusters are at level 3.
const RELEASE: &str = "v0.3.0";

pub(crate) fn run(time: Duration) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _addresses = release::lock();
    for in_flight in IN_FLIGHT {
        let mut cluster = release::unpack(&release::fixtures().join(RELEASE));
        for node in &mut cluster.nodes {
            node.configure("cluster", "finalize = \"manual\"");
            node.start();
        }
        for level in [3, 4] {
            if level == 4 {
                cluster.nodes[0].run(&["cluster", "upgrade", "--finalize", "--yes"]).ok();
            }
            wait_for("the level", || {
                let status = cluster.nodes[0].status();
                (status["cluster"]["level"] == level).then_some(())
            });
            let client = client(&cluster, cluster.leader());
            let figures = runtime.block_on(many(in_flight, time, move |number| {
                let client = client.clone();
                let create = domain(&format!("l{level}n{number}"));
                async move { client.create_domain(&create, &committed()).await.unwrap() }
            }));
            let audit = if level == 4 { "with audit" } else { "without" };
            println!("audit     {audit:<10} {in_flight:>3} in flight {figures}");
        }
    }
}
