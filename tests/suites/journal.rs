//! Log lines for journald, with a real journald in a mount namespace: the journal of the machine is
//! neither needed nor touched.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    process::{Child, ChildStdin, Command, Stdio},
};

use conclave_tests::{Cluster, Node, has_program, wait_for};
use serde_json::Value;

/// Where Debian and others keep it.
const PROGRAM: &str = "/lib/systemd/systemd-journald";

/// A mount namespace with a `/run` of its own, and a journald in it. All ends with this.
struct Journald {
    /// A shell that ends when its input does, also if the test is killed.
    holder: Child,
    _input: ChildStdin,
    process: Child,
}

impl Journald {
    /// Starts one; none, with the reason said, if this machine cannot.
    fn start() -> Option<Journald> {
        if !has_program(PROGRAM) {
            return None;
        }
        let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal &&
            echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = holder.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            println!("SKIPPED: only root can give a journald a /run of its own");
            holder.wait().unwrap();
            return None;
        }
        let process = Journald::launch(holder.id());
        let journald = Journald { holder, _input: input, process };
        journald.wait_open();
        Some(journald)
    }

    fn launch(holder: u32) -> Child {
        let mut command = Command::new("nsenter");
        command.args(["-t", &holder.to_string(), "-m", PROGRAM]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn inside(&self) -> [String; 4] {
        ["nsenter", "-t", &self.holder.id().to_string(), "-m"].map(str::to_owned)
    }

    fn wait_open(&self) {
        let [nsenter, t, id, m] = self.inside();
        let script =
            "logger --journald 2>/dev/null </dev/null; test -S /run/systemd/journal/socket";
        wait_for("journald", || {
            let words = [&t, &id, &m, "sh", "-c", script];
            Command::new(&nsenter).args(words).status().unwrap().success().then_some(())
        });
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Replaces it by a new one with a new socket.
    fn restart(&mut self) {
        self.signal("-KILL");
        self.process.wait().unwrap();
        let [nsenter, t, id, m] = self.inside();
        let words = [&t, &id, &m, "rm", "-f", "/run/systemd/journal/socket"];
        assert!(Command::new(nsenter).args(words).status().unwrap().success());
        self.process = Journald::launch(self.holder.id());
        self.wait_open();
    }

    /// The lines with this field, as `journalctl` shows them to an operator.
    fn lines(&self, field: &str) -> Vec<Value> {
        let [nsenter, t, id, m] = self.inside();
        let journalctl = ["journalctl", "--directory=/run/log/journal", "--all", "-o", "json"];
        let output =
            Command::new(nsenter).args([&t, &id, &m]).args(journalctl).arg(field).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn wait_line(&self, field: &str) -> Value {
        wait_for(field, || self.lines(field).pop())
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// systemd tells by JOURNAL_STREAM that stderr goes to journald; a node then speaks to it directly.
#[test]
fn under_systemd_journald_gets_each_field() {
    let Some(journald) = Journald::start() else { return };
    let mut cluster = Cluster::unfounded(1);
    let node = &mut cluster.nodes[0];
    node.stop();
    let path = node.dir.join("node.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("format = \"text\"", "format = \"auto\"")).unwrap();
    let log = std::fs::File::create(node.dir.join("log")).unwrap().metadata().unwrap();
    let stream = format!("JOURNAL_STREAM={}:{}", log.dev(), log.ino());
    let [nsenter, t, id, m] = journald.inside();
    node.start_under(&[&nsenter, &t, &id, &m, "env", &stream]);
    node.signal("HUP");
    let line = journald.wait_line("CONCLAVE_EVENT=config.read");
    for (field, value) in [
        ("MESSAGE", "config.read log_level=info"),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "conclave"),
        ("CONCLAVE_LOG_LEVEL", "info"),
        ("_PID", &node.process_id().to_string()),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    node.stop();
    journald.wait_line("CONCLAVE_EVENT=node.stopping");
    assert_eq!(node.log(), "", "nothing goes to stderr");
}

/// A journald that is stuck keeps no node waiting, and hears later how much it has missed.
#[test]
fn a_journald_that_is_stuck_or_comes_anew_is_told_what_it_missed() {
    let Some(mut journald) = Journald::start() else { return };
    let mut cluster = Cluster::start(1);
    let node = &mut cluster.nodes[0];
    node.stop();
    let path = node.dir.join("node.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("format = \"text\"", "format = \"journald\"")).unwrap();
    node.serve_health(0);
    let [nsenter, t, id, m] = journald.inside();
    node.start_under(&[&nsenter, &t, &id, &m]);
    let lost = |node: &Node| node.metrics().value("conclave_log_lines_lost_total").unwrap();
    let read = |node: &Node| node.signal("HUP");
    journald.signal("-STOP");
    wait_for("lost lines", || {
        read(node);
        (lost(node) > 3.0).then_some(())
    });
    node.run(&["domain", "create", "shop.example"]).ok();
    journald.signal("-CONT");
    let told = wait_for("what was lost", || {
        read(node);
        let lines = journald.lines("CONCLAVE_EVENT=log.lines_lost");
        let told = |line: &Value| line["CONCLAVE_LINES"].as_str().unwrap().parse::<f64>().unwrap();
        let told: f64 = lines.iter().map(told).sum();
        (told > 3.0 && told == lost(node)).then_some(told)
    });
    assert!(told > 3.0);
    journald.restart();
    let count = journald.lines("CONCLAVE_EVENT=config.read").len();
    wait_for("a line at the new journald", || {
        read(node);
        (journald.lines("CONCLAVE_EVENT=config.read").len() > count).then_some(())
    });
}
