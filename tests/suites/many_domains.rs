//! Thousands of domains on one node; `conclave-bench start` measures the same with up to millions.

use conclave_node::testing::fill;
use conclave_pki::certificate::Certificate;
use conclave_tests::{Cluster, Pair, probe, wait_for};
use serde_json::Value;

const DOMAINS: u64 = 2_000;

#[test]
fn each_of_thousands_of_domains_is_served_after_a_restart_and_can_be_changed() {
    let mut cluster = Cluster::start(1);
    let port = cluster.listen();
    cluster.nodes[0].stop();
    fill(&cluster.nodes[0].dir.join("node.toml"), 0..DOMAINS).unwrap();
    cluster.nodes[0].start();
    let one = &cluster.nodes[0];
    let address = one.listener(port);
    wait_for("the first handshake", || probe(address, "d0.example").ok());
    let names = |name: &str| {
        let shown = probe(address, name).unwrap();
        let leaf = Certificate::from_der(&shown.chain[0]).unwrap();
        (leaf.names(), shown.chain.len())
    };
    for number in (0..DOMAINS).step_by(97).chain([DOMAINS - 1]) {
        let name = format!("d{number}.example");
        assert_eq!(names(&name), (vec![name.clone()], 2), "its own, with the authority");
    }
    let listed = one.run(&["domain", "list", "-o", "json"]).json();
    let listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|domain| domain["name"].as_str().unwrap()).collect();
    assert_eq!(listed.len() as u64, DOMAINS + 1, "all pages, with the Main Domain");
    assert!(listed.is_sorted(), "by name");
    let (status, page) = one.ask("GET", &format!("domains?limit=3&after={}", listed[9]), "");
    let paged = page["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap());
    assert_eq!((status, paged.collect::<Vec<_>>()), (200, listed[10..13].to_vec()));
    assert_eq!(page["next"], listed[12]);
    assert_eq!(
        one.ask("GET", &format!("domains?after={}", listed[2_000]), "").1["next"],
        Value::Null
    );
    assert_eq!(one.ask("GET", "domains?limit=0", "").0, 400);
    let beyond = format!("d{DOMAINS}.example");
    assert_eq!(names(&beyond).0, ["node-1.main"], "no domain of that name");
    let pair = Pair::make("d97.example");
    let (bundle, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "d97.example", &bundle, "--key", &key]).ok();
    assert_eq!(probe(address, "d97.example").unwrap().chain[0], pair.der, "changed at once");
}
