//! Log lines at a collector that reads them with OpenTelemetry's own definitions.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use conclave_tests::Cluster;
use serde_json::Value;

/// A collector, and what it was sent.
struct Collector {
    process: Child,
    url: String,
    records: Receiver<Value>,
}

impl Collector {
    fn start() -> Option<Collector> {
        let Some(programs) = std::env::var_os("CONCLAVE_CONTRACT") else {
            assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "no definitions of OTLP");
            println!("SKIPPED: no definitions of OTLP: tests/contract/run installs them");
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract/collector.py");
        let mut command = Command::new(Path::new(&programs).join("python"));
        let mut process = command.arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        let (sender, records) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Collector { process, url: format!("http://127.0.0.1:{port}"), records })
    }

    /// The record of this event. Records that arrive before it are passed over.
    fn record(&self, event: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let record = self.records.recv_timeout(left).expect("a record in time");
            if record["attributes"]["event"] == event {
                return record;
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_collector_reads_every_line_of_a_node() {
    let Some(collector) = Collector::start() else { return };
    let mut cluster = Cluster::start(1);
    let one = &mut cluster.nodes[0];
    for url in ["https://127.0.0.1:4318", "127.0.0.1:4318", "http://127.0.0.1"] {
        let config = std::fs::read_to_string(one.dir.join("node.toml")).unwrap();
        let wrong = config.replace("[log]\n", &format!("[log]\notlp = \"{url}\"\n"));
        let file = one.file("wrong.toml", wrong.as_bytes());
        let refused = one.run(&["config", "check", &file]);
        assert!(refused.code != 0 && refused.err.contains("[log] otlp"), "{url}: {}", refused.err);
    }
    one.stop();
    one.configure("log", &format!("otlp = \"{}\"", collector.url));
    one.start();
    one.run(&["domain", "create", "shop.example"]).ok();
    let record = collector.record("api.change");
    assert_eq!(record["resource"]["service.name"], "conclave", "{record}");
    assert_eq!(record["resource"]["service.instance.id"], "node-1", "{record}");
    assert_eq!(record["resource"]["service.version"], env!("CARGO_PKG_VERSION"), "{record}");
    assert_eq!(record["severity"], "INFO", "{record}");
    // What it says at its end is sent, too.
    one.stop();
    collector.record("node.stopping");
}
