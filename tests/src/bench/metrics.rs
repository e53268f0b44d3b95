//! A scrape of the metrics of a node with many domains.

use std::time::Instant;

use conclave_tests::{Cluster, wait_for};

/// Scrapes.
const SCRAPES: usize = 200;

pub(crate) fn run(domains: usize) {
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    node.serve_health(0);
    node.stop();
    let config = node.dir.join("node.toml");
    conclave_node::testing::fill(&config, 0..u64::try_from(domains).unwrap()).unwrap();
    node.start();
    let counted = format!("{domains}");
    // The domains are counted in the background, some at a time.
    let mut known = 0;
    while known < domains {
        known = wait_for("more domains in the metrics", || {
            let text = node.fetch("/metrics").body;
            let lines = text.lines().filter(|line| line.starts_with("conclave_domains{"));
            let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
            Some(counts.sum::<usize>()).filter(|count| *count > known)
        });
    }
    let mut bytes = 0;
    let mut took: Vec<f64> = (0..SCRAPES)
        .map(|_| {
            let started = Instant::now();
            bytes = node.fetch("/metrics").body.len();
            started.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!(
        "metrics   {counted:>9} domains  a scrape takes {:.1} ms (median of {SCRAPES}), {:.1} ms at most, {} KiB",
        took[SCRAPES / 2],
        took[SCRAPES - 1],
        bytes / 1024
    );
}
