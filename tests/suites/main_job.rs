//! The main job: what one node was told, every node serves, at the next handshake.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, Pair, has_program, openssl_chain, probe, wait_for};

#[test]
fn every_change_is_served_by_all_nodes_when_it_is_acknowledged() {
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    let pair = Pair::make("shop.example");
    let (certificate, key) = one.pair_files(&pair);
    one.run(&["cert", "import", "shop.example", &certificate, "--key", &key]).ok();
    let (stop, failures) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.listener(port)).collect();
    let (looping_stop, looping_failures) = (Arc::clone(&stop), Arc::clone(&failures));
    let looping_addresses = addresses.clone();
    let looping = std::thread::spawn(move || {
        let mut count = 0u64;
        while !looping_stop.load(Ordering::Relaxed) {
            for address in &looping_addresses {
                count += 1;
                if probe(*address, "shop.example").is_err() {
                    looping_failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        count
    });
    let has_openssl = has_program("openssl");
    for change in 0..200 {
        let pair = Pair::make("shop.example");
        let node = &cluster.nodes[change % 3];
        let (certificate, key) = node.pair_files(&pair);
        let done = node
            .run(&["cert", "import", "shop.example", &certificate, "--key", &key, "-o", "json"])
            .json();
        assert_eq!(done["served"]["missing"].as_array().unwrap().len(), 0, "{done}");
        for address in &addresses {
            let shown = match has_openssl {
                true => openssl_chain(*address, "shop.example", &[]),
                false => probe(*address, "shop.example").unwrap().chain,
            };
            assert_eq!(shown, [pair.der.clone(), pair.chain_der.clone()], "change {change}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let handshakes = looping.join().unwrap();
    assert!(handshakes > 100, "the loop did not run");
    assert_eq!(failures.load(Ordering::Relaxed), 0, "of {handshakes} handshakes");
}

#[test]
fn openssl_sees_the_new_certificate_on_every_node() {
    if !has_program("openssl") {
        return;
    }
    let cluster = Cluster::start(3);
    let port = cluster.listen();
    let one = &cluster.nodes[0];
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["key", "generate", "shop.example"]).ok();
    for _ in 0..3 {
        one.run(&["cert", "self-sign", "shop.example"]).ok();
        let shown = one.run(&["cert", "show", "shop.example", "-o", "json"]).json();
        let serial = shown["serial"].as_str().unwrap().replace(':', "").to_uppercase();
        for node in &cluster.nodes {
            let address = node.listener(port).to_string();
            let command = format!(
                "openssl s_client -connect {address} -servername shop.example </dev/null 2>/dev/null | openssl x509 -noout -serial"
            );
            let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            let seen = String::from_utf8(output.stdout).unwrap();
            assert_eq!(seen.trim(), format!("serial={serial}"), "{}", node.name);
        }
    }
}

#[test]
fn a_killed_leader_costs_no_handshake_and_little_time() {
    let mut cluster = Cluster::start(3);
    let port = cluster.listen();
    cluster.nodes[0].run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    let leader = cluster.leader();
    let others: Vec<_> = (0..3).filter(|place| *place != leader).collect();
    let addresses: Vec<_> =
        others.iter().map(|place| cluster.nodes[*place].listener(port)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let looping_stop = Arc::clone(&stop);
    let looping = std::thread::spawn(move || {
        let mut failed = 0;
        while !looping_stop.load(Ordering::Relaxed) {
            failed += addresses.iter().filter(|one| probe(**one, "shop.example").is_err()).count();
        }
        failed
    });
    cluster.nodes[leader].kill();
    let killed = Instant::now();
    let words = ["domain", "create", "after.example", "--wait", "committed"];
    cluster.nodes[others[0]].run(&words).ok();
    let took = killed.elapsed();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(looping.join().unwrap(), 0, "handshakes failed");
    assert!(took < Duration::from_millis(1_500), "the next write took {took:?}");
    println!("next acknowledged write {took:?} after the leader was killed");
    cluster.nodes[leader].start();
    wait_for("the old leader has the write", || {
        let ran = cluster.nodes[leader].run(&["domain", "show", "after.example", "--stale"]);
        (ran.code == 0).then_some(())
    });
}

#[test]
fn without_a_quorum_nodes_go_on_serving_and_refuse_changes() {
    let mut cluster = Cluster::start(3);
    let port = cluster.listen();
    cluster.nodes[0].run(&["domain", "create", "shop.example", "--pki", "test"]).ok();
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let one = &cluster.nodes[0];
    let refused = one.run(&["--timeout", "2s", "domain", "create", "x.example", "-o", "json"]);
    assert!([6, 10].contains(&refused.code), "{}", refused.err);
    assert!(probe(one.listener(port), "shop.example").is_ok());
    assert_eq!(one.run(&["--timeout", "2s", "domain", "list"]).code, 6, "a read is linearizable");
    assert!(one.run(&["domain", "list", "--stale"]).ok().contains("shop.example"));
    // A restart without a quorum serves what was durable.
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    wait_for("it serves after its restart", || {
        probe(cluster.nodes[0].listener(port), "shop.example").ok()
    });
}
