//! A real Prometheus beside three nodes.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use conclave_tests::{Cluster, free_port, has_program, wait_for};
use serde_json::Value;

use super::{document, watched};

/// A running Prometheus. Its end comes with it.
struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that scrapes the nodes twice a second and evaluates the alert rules.
    fn start(cluster: &Cluster, dir: &Path) -> Prometheus {
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let address = SocketAddr::new(ip, free_port(&[ip]));
        let nodes = cluster.nodes.iter();
        let targets: Vec<String> =
            nodes.map(|node| format!("'{}'", node.health_address())).collect();
        std::fs::write(dir.join("rules.yml"), document("monitoring/conclave.rules.yml")).unwrap();
        let config = format!(
            "global:\n  scrape_interval: 500ms\n  evaluation_interval: 500ms\n\
             rule_files: [rules.yml]\nscrape_configs:\n- job_name: conclave\n  \
             static_configs:\n  - targets: [{}]\n",
            targets.join(", ")
        );
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let log = std::fs::File::create(dir.join("prometheus.log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Prometheus { process, address };
        wait_for("Prometheus", || prometheus.get("/-/ready"));
        prometheus
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    fn data(&self, path: &str) -> Value {
        let answer = self.get(path).unwrap_or_else(|| panic!("{path} is not answered"));
        serde_json::from_str::<Value>(&answer).unwrap()["data"].take()
    }

    /// The values of a query, each with the labels asked for.
    fn query(&self, query: &str, label: &str) -> Vec<(String, f64)> {
        let escape = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        let query: String = query.bytes().map(escape).collect();
        let data = self.data(&format!("/api/v1/query?query={query}"));
        let value = |one: &Value| {
            let name = one["metric"][label].as_str().unwrap_or_default().to_owned();
            (name, one["value"][1].as_str().unwrap().parse().unwrap())
        };
        data["result"].as_array().unwrap().iter().map(value).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn promtool(words: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {words:?}: {said}");
}

/// The listener is where it was after a restart, as Prometheus is told only once.
fn fix_ports(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        let address = node.health_address();
        let path = node.dir.join("node.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let any = format!("[health]\nbind = \"{}:0\"", node.address);
        assert!(config.contains(&any), "{config}");
        let fixed = format!("[health]\nbind = \"{address}\"");
        std::fs::write(&path, config.replace(&any, &fixed)).unwrap();
    }
}

#[test]
fn promtool_accepts_rules_and_metrics() {
    if !has_program("promtool") {
        return;
    }
    let cluster = watched(1);
    let rules = cluster.dir.path().join("rules.yml");
    std::fs::write(&rules, document("monitoring/conclave.rules.yml")).unwrap();
    promtool(&["check", "rules", rules.to_str().unwrap()], "");
    cluster.listen();
    promtool(&["check", "metrics"], &cluster.nodes[0].fetch("/metrics").body);
}

/// No scrape of a surviving node fails while the leader is killed and another one is elected.
#[test]
fn prometheus_sees_a_failover_without_a_gap() {
    if !has_program("prometheus") {
        return;
    }
    let mut cluster = watched(3);
    fix_ports(&mut cluster);
    cluster.listen();
    let prometheus = Prometheus::start(&cluster, cluster.dir.path());
    let leaders = || {
        let found = prometheus.query("conclave_raft_is_leader == 1", "instance");
        (found.len() == 1).then(|| found[0].0.clone())
    };
    let first = wait_for("one leader in Prometheus", leaders);
    let place = |instance: &str, cluster: &Cluster| {
        let addresses = cluster.nodes.iter().map(|node| node.health_address().to_string());
        addresses.into_iter().position(|one| one == instance).unwrap()
    };
    let killed = place(&first, &cluster);
    cluster.nodes[killed].kill();
    let second = wait_for("another leader in Prometheus", || {
        leaders().filter(|instance| *instance != first)
    });
    wait_for("the loss in Prometheus", || {
        let up = prometheus.query("up == 0", "instance");
        let spare = prometheus.query("max(conclave_raft_failures_tolerated) == 0", "");
        let pending = prometheus.query("ALERTS{alertname=\"ConclaveNoFailureTolerated\"}", "");
        (up.len() == 1 && spare.len() == 1 && !pending.is_empty()).then_some(())
    });
    cluster.nodes[killed].start();
    wait_for("three nodes in Prometheus", || {
        let up = prometheus.query("up == 1", "instance");
        let spare = prometheus.query("max(conclave_raft_failures_tolerated) == 1", "");
        (up.len() == 3 && spare.len() == 1).then_some(())
    });
    let changes = prometheus.query("conclave_raft_leader_changes_total", "instance");
    assert!(changes.iter().any(|(instance, count)| *instance == second && *count >= 1.0));

    // The survivors answered every scrape, and each scrape had every family.
    let survivors = |found: Vec<(String, f64)>| {
        found.into_iter().filter(|(instance, _)| *instance != first).collect::<Vec<_>>()
    };
    let scrapes = survivors(prometheus.query("count_over_time(up[10m])", "instance"));
    assert_eq!(scrapes.len(), 2, "{scrapes:?}");
    let lowest = survivors(prometheus.query("min_over_time(up[10m])", "instance"));
    assert!(lowest.iter().all(|(_, up)| *up == 1.0), "{lowest:?}");
    assert_each_scrape_has_every_name(&cluster, &prometheus, &first);
    assert_rules_evaluate(&prometheus);
}

fn assert_each_scrape_has_every_name(cluster: &Cluster, prometheus: &Prometheus, killed: &str) {
    let names = prometheus.data("/api/v1/label/__name__/values");
    let names = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let is_own = |name: &&str| name.starts_with("conclave_") || name.starts_with("process_");
    let stored: BTreeSet<String> = names.filter(is_own).map(str::to_owned).collect();
    let known: BTreeSet<String> = cluster.nodes[0].metrics().names().into_iter().collect();
    let unknown: Vec<&String> = stored.difference(&known).collect();
    assert!(unknown.is_empty(), "not described: {unknown:?}");
    for name in ["conclave_raft_term", "conclave_served_index", "conclave_connections"] {
        assert!(stored.contains(name), "{stored:?}");
        let missing = format!(
            "count_over_time(up{{instance!=\"{killed}\"}}[10m]) - on (instance) \
             count_over_time({name}{{instance!=\"{killed}\"}}[10m])"
        );
        let missing = prometheus.query(&missing, "instance");
        // A scrape may be going on between the two counts.
        assert!(missing.iter().all(|(_, count)| count.abs() <= 1.0), "{name}: {missing:?}");
    }
}

fn assert_rules_evaluate(prometheus: &Prometheus) {
    let rules = prometheus.data("/api/v1/rules");
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 10, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
