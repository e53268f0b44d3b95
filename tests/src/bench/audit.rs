//! What the audit trail costs: the same durable writes by the same program, in a cluster at level 3,
//! where no entry is written, and in one at level 4, where each change writes its entry.
//!
//! The two take turns, each time in a new cluster, so that neither has the larger State or the
//! quieter minute.

use std::time::Duration;

use conclave_tests::{release, wait_for};

use crate::{
    measure::{Figures, many},
    writes::{client, committed, domain},
};

const IN_FLIGHT: [usize; 3] = [1, 64, 256];
/// The last release whose clusters are at level 3.
const RELEASE: &str = "v0.3.0";
/// First one and then the other, and then in the other order.
const LEVELS: [u64; 4] = [3, 4, 4, 3];

pub(crate) fn run(time: Duration, rounds: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _addresses = release::lock();
    for in_flight in IN_FLIGHT {
        let mut rates = [Vec::new(), Vec::new()];
        for level in LEVELS.repeat(rounds) {
            let figures = measure(&runtime, in_flight, time, level);
            let audit = if level == 4 { "with audit" } else { "without" };
            println!("audit     {audit:<10} {in_flight:>3} in flight {figures}");
            rates[usize::from(level == 4)].push(figures.rate());
        }
        let [without, with] = rates.map(|mut rates| {
            rates.sort_unstable();
            let (low, middle) =
                (rates[0], (rates[rates.len() / 2] + rates[(rates.len() - 1) / 2]) / 2);
            (middle, low, rates[rates.len() - 1])
        });
        let tenths = i128::from(with.0) * 1_000 / i128::from(without.0.max(1)) - 1_000;
        println!(
            "audit     {in_flight:>3} in flight: median {} writes/s ({} to {}) without, {} ({} to {}) \
             with audit: {}{}.{} %",
            without.0,
            without.1,
            without.2,
            with.0,
            with.1,
            with.2,
            if tenths < 0 { '-' } else { '+' },
            tenths.abs() / 10,
            tenths.abs() % 10
        );
    }
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    in_flight: usize,
    time: Duration,
    level: u64,
) -> Figures {
    let mut cluster = release::unpack(&release::fixtures().join(RELEASE));
    for node in &mut cluster.nodes {
        node.configure("cluster", "finalize = \"manual\"");
        node.start();
    }
    if level == 4 {
        cluster.nodes[0].run(&["cluster", "upgrade", "--finalize", "--yes"]).ok();
    }
    wait_for("the level", || {
        let status = cluster.nodes[0].status();
        (status["cluster"]["level"] == level).then_some(())
    });
    let client = client(&cluster, cluster.leader());
    runtime.block_on(many(in_flight, time, move |number| {
        let client = client.clone();
        let create = domain(&format!("n{number}"));
        async move { client.create_domain(&create, &committed()).await.unwrap() }
    }))
}
