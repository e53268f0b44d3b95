//! The audit trail at a syslog server: rsyslog gets every entry, and can verify the trail.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use conclave_tests::{Cluster, Node, free_port, has_program, run_alone, wait_for};
use serde_json::Value;

/// An rsyslog in a directory of its own. Its end comes with it.
struct Rsyslog {
    dir: PathBuf,
    address: SocketAddr,
    process: Option<Child>,
}

impl Rsyslog {
    /// Makes one at a port that is free for UDP and TCP. It is not started yet.
    fn new(dir: &Path) -> Rsyslog {
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let address = SocketAddr::new(ip, free_port(&[ip]));
        let dir = dir.join("rsyslog");
        std::fs::create_dir(&dir).unwrap();
        let (shown, ip, port) = (dir.display(), address.ip(), address.port());
        let config = format!(
            "global(workDirectory=\"{shown}\" maxMessageSize=\"128k\")\n\
             module(load=\"imudp\")\nmodule(load=\"imtcp\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imudp\" address=\"{ip}\" port=\"{port}\")\n\
             input(type=\"imtcp\" address=\"{ip}\" port=\"{port}\")\n\
             input(type=\"imuxsock\" Socket=\"{shown}/log\" UseSpecialParser=\"off\"\n\
             ParseHostname=\"on\" RateLimit.Interval=\"0\")\n\
             template(name=\"all\" type=\"string\" string=\"%app-name% %msgid% \
             %syslogfacility-text% %syslogseverity-text%|%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{shown}/received\" template=\"all\")\n"
        );
        std::fs::write(dir.join("rsyslog.conf"), config).unwrap();
        Rsyslog { dir, address, process: None }
    }

    fn start(&mut self) {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let log = std::fs::File::create(self.dir.join("log.txt")).unwrap();
        let started = Command::new("rsyslogd")
            .args(["-n", "-f", &file("rsyslog.conf"), "-i", &file("pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.process = Some(started.unwrap());
        wait_for("rsyslog", || std::net::TcpStream::connect(self.address).ok());
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let id = process.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
            process.wait().unwrap();
        }
    }

    /// The lines of entries by their numbers, and each with what is in front of it.
    fn received(&self) -> BTreeMap<u64, (String, String)> {
        let text = std::fs::read_to_string(self.dir.join("received")).unwrap_or_default();
        let entry = |line: &str| {
            let (head, entry) = line.split_once('|')?;
            let number = serde_json::from_str::<Value>(entry).ok()?["sequence"].as_u64()?;
            Some((number, (entry.to_owned(), head.to_owned())))
        };
        text.lines().filter_map(entry).collect()
    }

    /// Waits until it has the whole trail of a node, and looks at it.
    fn wait_whole(&self, node: &Node) {
        let trail = || node.run(&["audit", "tail", "-n", "1000", "-o", "jsonl"]).ok();
        let received = wait_for("the whole trail", || {
            let (received, trail) = (self.received(), trail());
            let lines = received.values().map(|(line, _)| format!("{line}\n"));
            (lines.collect::<String>() == trail).then_some(received)
        });
        for (line, head) in received.values() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let severity = match entry["result"].as_str().unwrap() {
                "done" => "info",
                "failed" => "notice",
                _ => "warning",
            };
            let event = entry["event"].as_str().unwrap();
            assert_eq!(head, &format!("conclave {event} audit {severity}"), "{line}");
        }
        let file = self.dir.join("trail.jsonl");
        let lines = received.values().map(|(line, _)| format!("{line}\n"));
        std::fs::write(&file, lines.collect::<String>()).unwrap();
        run_alone(&["audit", "verify", "--file", file.to_str().unwrap()]).ok();
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A member that sends its trail to a server.
fn sending(server: &str) -> Cluster {
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    let path = node.dir.join("node.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}[audit]\nsyslog = \"{server}\"\n")).unwrap();
    node.serve_health(0);
    node.stop();
    node.start();
    cluster
}

fn change(node: &Node, number: usize) {
    let reason = format!("zürich \"{number}\"");
    node.run(&["domain", "create", &format!("d{number}.example"), "--reason", &reason]).ok();
}

fn failures(node: &Node) -> f64 {
    node.metrics().value("conclave_audit_write_failures_total").unwrap()
}

/// TCP tells what the server has read, so nothing is lost when it restarts.
#[test]
fn a_server_that_restarts_has_every_entry_over_tcp() {
    if !has_program("rsyslogd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = Rsyslog::new(dir.path());
    server.start();
    let mut cluster = sending(&format!("tcp:{}", server.address));
    let node = &cluster.nodes[0];
    let changing = |from: usize| (from..from + 20).for_each(|number| change(node, number));
    for round in 0..5 {
        std::thread::scope(|scope| {
            scope.spawn(|| changing(round * 20));
            server.stop();
            server.start();
        });
    }
    // What is refused is told too.
    assert_ne!(node.run(&["domain", "create", "d1.example"]).code, 0);
    server.wait_whole(node);
    server.stop();
    changing(200);
    wait_for("a failure that is counted and logged", || {
        (failures(node) > 0.0 && node.log().contains("audit.copy_failed")).then_some(())
    });
    let node = &mut cluster.nodes[0];
    node.kill();
    node.start();
    server.start();
    server.wait_whole(node);
}

#[test]
fn a_server_has_every_entry_over_udp_and_over_a_socket() {
    if !has_program("rsyslogd") {
        return;
    }
    for way in ["udp", "unix"] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Rsyslog::new(dir.path());
        let place = match way {
            "udp" => server.address.to_string(),
            _ => server.dir.join("log").display().to_string(),
        };
        let cluster = sending(&format!("{way}:{place}"));
        let node = &cluster.nodes[0];
        (0..5).for_each(|number| change(node, number));
        wait_for("a failure without a server", || (failures(node) > 0.0).then_some(()));
        server.start();
        (5..10).for_each(|number| change(node, number));
        server.wait_whole(node);
    }
}

/// A server that accepts and reads nothing.
#[test]
fn a_stuck_server_keeps_no_change_waiting() {
    let stuck = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let cluster = sending(&format!("tcp:{}", stuck.local_addr().unwrap()));
    let node = &cluster.nodes[0];
    let _taken = stuck.accept().unwrap();
    let begun = Instant::now();
    (0..10).for_each(|number| change(node, number));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    wait_for("a failure that is counted and logged", || {
        (failures(node) > 0.0 && node.log().contains("audit.copy_failed")).then_some(())
    });
}
