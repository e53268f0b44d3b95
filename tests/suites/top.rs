//! `conclave top`: what the nodes do.

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use conclave_tests::{Cluster, Ends, echo_upstream, probe};

#[test]
fn a_frame_tells_what_the_nodes_do() {
    let mut cluster = Cluster::start(3);
    let port = cluster.listen_for(echo_upstream());
    let one = &cluster.nodes[0];
    let pair = conclave_tests::Pair::make("shop.example");
    let (bundle, key) = one.pair_files(&pair);
    one.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    one.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    let address = one.listener(port);
    let (is_over, one) = (AtomicBool::new(false), &cluster.nodes[0]);
    let (text, json) = std::thread::scope(|scope| {
        let _ends = Ends(&is_over);
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let _ = probe(address, "shop.example");
                // What is not TLS is a failure with a reason.
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"EHLO client.example\r\n").unwrap();
            }
        });
        let told = (one.run(&["top", "--once"]).ok(), one.run(&["top", "-o", "json"]).json());
        is_over.store(true, Relaxed);
        told
    });
    assert!(text.contains("test   leader node-"), "{text}");
    assert!(text.contains("3/3 ready   1 may fail"), "{text}");
    for head in ["NODE", "TLS/s", "p99 ms", "WHY HANDSHAKES FAIL", "NEEDS ATTENTION"] {
        assert!(text.contains(head), "{text}");
    }
    assert!(text.contains("not tls"), "{text}");
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let done = &nodes[0]["done"];
    assert!(done["tls_per_s"].as_f64().unwrap() > 0.0, "{json}");
    assert!(done["failures"]["not_tls"].as_u64().unwrap() > 0, "{json}");
    assert!(done["p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{json}");
    assert_eq!(nodes[1]["done"]["tls_per_s"].as_f64(), Some(0.0), "{json}");
    // A node that is away has its line.
    cluster.nodes[2].kill();
    conclave_tests::wait_for("the line of the node that is away", || {
        let text = cluster.nodes[0].run(&["top", "--once"]).ok();
        text.lines()
            .any(|line| line.contains("node-3") && line.contains("unreachable"))
            .then_some(())
    });
}
