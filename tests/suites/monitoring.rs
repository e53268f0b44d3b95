//! Health, metrics, alert rules and dashboard.

mod prometheus;

use std::collections::{BTreeMap, BTreeSet};

use conclave_tests::{Cluster, Metrics, Node, Pair, probe, wait_for};
use serde_json::Value;

/// Media type by which Prometheus asks for OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
/// Most bytes of the metrics without series for single domains.
const METRICS_BYTES_MAX: usize = 1024 * 1024;

fn document(name: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("docs").join(name)).unwrap()
}

/// Nodes with health and metrics, a member each.
fn watched(count: u8) -> Cluster {
    let mut cluster = Cluster::start(count);
    for node in &mut cluster.nodes {
        node.serve_health(0);
        node.stop();
        node.start();
    }
    cluster.wait_quiet();
    cluster
}

/// Names of metrics in the text, as PromQL has them.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    let is_name = |word: &&str| word.starts_with("conclave_") || word.starts_with("process_");
    words.filter(is_name).map(str::to_owned).collect()
}

fn wait_ready(node: &Node, expected: u16) -> String {
    wait_for("the expected readiness", || {
        let answer = node.fetch("/readyz?verbose");
        (answer.status == expected).then_some(answer.body)
    })
}

#[test]
fn a_node_is_ready_while_it_can_serve_tls() {
    let mut cluster = Cluster::unfounded(1);
    let node = &mut cluster.nodes[0];
    node.serve_health(0);
    node.stop();
    node.start();
    assert_eq!(node.fetch("/livez").status, 200);
    assert_eq!(node.fetch("/startupz").status, 200);
    assert!(wait_ready(node, 503).contains("[-] raft caught up: it belongs to no cluster"));
    node.run(&["cluster", "init", "--name", "test"]).ok();
    let lines = wait_ready(node, 200);
    for what in ["raft caught up", "keyring unsealed", "listeners open", "not draining"] {
        assert!(lines.contains(&format!("[+] {what}\n")), "{lines}");
    }
    assert!(lines.ends_with("ok\n") && node.fetch("/readyz").body == "ok\n");

    let taken = std::net::TcpListener::bind((node.address, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let bind = format!(":{port}");
    // Another process takes the port between the check and the opening: like one that has it now.
    let added =
        node.run(&["listener", "add", "taken", "--bind", &bind, "--upstream", "127.0.0.1:9"]);
    assert_ne!(added.code, 0, "a port in use is refused at once");
    drop(taken);
    node.run(&["listener", "add", "tls", "--bind", &bind, "--upstream", "127.0.0.1:9"]).ok();
    node.stop();
    let taken = std::net::TcpListener::bind((node.address, port)).unwrap();
    node.start();
    assert!(wait_ready(node, 503).contains("[-] listeners open: tls ("));
    assert_eq!(node.fetch("/livez").status, 200, "it lives nevertheless");
    drop(taken);
    wait_ready(node, 200);

    node.run(&["node", "drain", "node-1", "--deadline", "1s"]).ok();
    assert!(wait_ready(node, 503).contains("[-] not draining"));
    node.run(&["node", "resume", "node-1"]).ok();
    wait_ready(node, 200);
}

#[test]
fn a_sealed_node_is_not_ready() {
    let mut cluster = watched(1);
    let node = &mut cluster.nodes[0];
    wait_ready(node, 200);
    let key = node.dir.join("node-1.unlock.key");
    let kept = std::fs::read(&key).unwrap();
    node.stop();
    std::fs::remove_file(&key).unwrap();
    node.start();
    assert!(wait_ready(node, 503).contains("[-] keyring unsealed: "));
    assert_eq!(node.metrics().value("conclave_keyring_sealed"), Some(1.0));
    node.stop();
    std::fs::write(&key, kept).unwrap();
    node.start();
    wait_ready(node, 200);
    assert_eq!(node.metrics().value("conclave_keyring_sealed"), Some(0.0));
}

#[test]
fn the_listener_answers_nothing_else_and_tells_no_secret() {
    let cluster = watched(1);
    let node = &cluster.nodes[0];
    for path in ["/", "/v1/status", "/metrics/", "/readyz/../metrics", "/ui", "//metrics"] {
        assert_eq!(node.fetch(path).status, 404, "{path}");
    }
    let answer = node.fetch("/metrics");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    let open = node.try_fetch("/metrics", OPEN_METRICS).unwrap();
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
}

/// A handshake of each kind leaves its trace in the metrics, and no word of its client does.
#[test]
fn metrics_count_what_happens_and_no_label_is_a_clients_word() {
    let cluster = watched(3);
    let node = &cluster.nodes[0];
    let pair = Pair::make("shop.example");
    let (bundle, key) = node.pair_files(&pair);
    node.run(&["domain", "create", "shop.example", "--pki", "enabled"]).ok();
    node.run(&["cert", "import", "shop.example", &bundle, "--key", &key]).ok();
    let port = cluster.listen();
    node.run(&["tls", "set", "--process-target-domain", "on"]);
    for _ in 0..3 {
        probe(node.listener(port), "shop.example").unwrap();
    }
    let _ = probe(node.listener(port), "secret-name.example");
    let metrics = wait_for("the metrics of the domain", || {
        let metrics = node.metrics();
        let series = "conclave_certificate_served_fingerprint{domain=\"shop.example\",\
             family=\"ec\",scope=\"shared\"}";
        metrics.value(series).is_some_and(|value| value > 0.0).then_some(metrics)
    });
    let full = "conclave_tls_handshakes_total{listener=\"tls\",protocol=\"tls\",\
         version=\"TLSv1.3\",result=\"full\"}";
    assert!(metrics.value(full).unwrap() >= 3.0, "{}", metrics.0);
    let took = "conclave_tls_handshake_duration_seconds_count{listener=\"tls\",resumed=\"false\"}";
    assert!(metrics.value(took).unwrap() >= 3.0, "{}", metrics.0);
    let accepted = metrics.value("conclave_connections_accepted_total{listener=\"tls\"}");
    assert!(accepted.unwrap() >= 4.0);
    let ends = metrics.value(
        "conclave_certificate_expiration_timestamp_seconds{domain=\"shop.example\",family=\"ec\",\
         scope=\"shared\",use=\"tls\"}",
    );
    let first = metrics.value("conclave_certificate_next_expiration_timestamp_seconds");
    assert!(ends.is_some() && ends == first, "{ends:?} {first:?}");
    assert!(!metrics.0.contains("secret-name"), "{}", metrics.0);
    assert!(metrics.0.len() < METRICS_BYTES_MAX);

    let leader = &cluster.nodes[cluster.leader()];
    wait_for("the quorum in the metrics", || {
        let metrics = leader.metrics();
        let is = |name: &str, value: f64| metrics.value(name) == Some(value);
        let is_right = is("conclave_raft_is_leader", 1.0)
            && is("conclave_raft_voters", 3.0)
            && is("conclave_raft_voters_reachable", 3.0)
            && is("conclave_raft_failures_tolerated", 1.0);
        is_right.then_some(())
    });
    let metrics = leader.metrics();
    for other in cluster.nodes.iter().filter(|node| node.name != leader.name) {
        for name in ["conclave_raft_replication_lag_entries", "conclave_clock_skew_seconds"] {
            let value = metrics.value(&format!("{name}{{peer=\"{}\"}}", other.name));
            assert!(value.is_some_and(|value| value.abs() < 10.0), "{name} {}", metrics.0);
        }
        let metrics = wait_for("the quorum in the metrics of a follower", || {
            let metrics = other.metrics();
            (metrics.value("conclave_raft_voters_reachable") == Some(3.0)).then_some(metrics)
        });
        assert_eq!(metrics.value("conclave_raft_is_leader"), Some(0.0));
        assert_eq!(metrics.value("conclave_raft_has_leader"), Some(1.0));
    }
    let timed =
        ["conclave_raft_commit_duration_seconds", "conclave_storage_flush_duration_seconds"];
    for name in [timed[0], timed[1], "conclave_apply_to_serving_seconds"] {
        assert!(metrics.value(&format!("{name}_count")).unwrap() > 0.0, "{name}");
    }
}

#[test]
fn requests_count_by_route_and_not_by_path() {
    let cluster = watched(1);
    let node = &cluster.nodes[0];
    node.ask("GET", "domains/nowhere.example", "");
    node.ask("GET", "no/such/path", "");
    let metrics = node.metrics();
    let counted = |labels: &str| metrics.value(&format!("conclave_api_requests_total{{{labels}}}"));
    assert_eq!(counted("route=\"/v1/domains/{name}\",method=\"GET\",status=\"404\""), Some(1.0));
    assert_eq!(counted("route=\"none\",method=\"GET\",status=\"404\""), Some(1.0));
    assert!(!metrics.0.contains("nowhere.example"), "{}", metrics.0);
}

/// Alert rules and dashboard name metrics that a node has, and the page lists all of them.
#[test]
fn rules_dashboard_and_page_name_what_a_node_shows() {
    let cluster = watched(1);
    let metrics = cluster.nodes[0].metrics();
    let known: BTreeSet<String> = metrics.names().into_iter().collect();
    let mut asked = names_in(&document("monitoring/conclave.rules.yml"));
    let dashboard: Value = serde_json::from_str(&document("monitoring/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    asked.extend(targets.flat_map(|target| names_in(target["expr"].as_str().unwrap())));
    assert!(asked.len() > 20, "{asked:?}");
    let unknown: Vec<&String> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "not registered: {unknown:?}");

    let page = document("monitoring.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |row: &str| {
        let (name, rest) = row.split_once("` | ").unwrap();
        (name.to_owned(), rest.split(' ').next().unwrap().to_owned())
    };
    let is_metric = |(name, _): &(String, String)| names_in(name).contains(name);
    let listed: BTreeMap<String, String> = rows.map(row).filter(is_metric).collect();
    let families = metrics.families().into_iter();
    let shown: BTreeMap<String, String> =
        families.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    assert_eq!(listed, shown, "docs/monitoring.md beside /metrics");
}

/// The labels of the rules are those of the reasons.
#[test]
fn reasons_in_the_rules_are_counted_ones() {
    let cluster = watched(1);
    cluster.listen();
    let Metrics(text) = cluster.nodes[0].metrics();
    let rules = document("monitoring/conclave.rules.yml");
    let lists = rules.split("{reason").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let reasons: BTreeSet<&str> = lists.flat_map(|list| list.split('|')).collect();
    assert!(reasons.contains("upstream"), "{reasons:?}");
    for reason in reasons {
        assert!(text.contains(&format!("reason=\"{reason}\"")), "{reason}");
    }
}
