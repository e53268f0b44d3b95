//! Clusters of real processes, driven by the real command line.

use std::{
    io::{BufRead, BufReader, Read, Seek, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
};

use conclave_store::record::LEVEL_MAX;
use serde_json::Value;
use tempfile::TempDir;

use crate::wait::DEADLINE;

/// The binary beside the running test; `./test` has built it.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let dir = test.parent().unwrap();
    // Tests lie in `deps`, programs beside the binary.
    let dir = if dir.ends_with("deps") { dir.parent().unwrap() } else { dir };
    let path = dir.join(name);
    assert!(path.exists(), "{} is missing: cargo build -p {name}", path.display());
    path
}

/// What a command came to.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Runs a command of any program.
    pub fn of(command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Standard output, if the command ended with 0.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// The same as JSON; of a list its items.
    pub fn json(self) -> Value {
        let mut answer: Value = serde_json::from_str(&self.ok()).unwrap();
        let is_list = answer["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        if is_list { answer["items"].take() } else { answer }
    }

    /// The error object of a command with `-o json` that failed.
    pub fn problem(&self) -> Value {
        // Warnings are lines before it.
        let last = self.err.trim().lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", self.err))
    }
}

/// Runs a command that needs no node.
pub fn run_alone(words: &[&str]) -> Ran {
    let mut command = Command::new(binary("conclave"));
    command.args(words).env_remove("CONCLAVE_ADDRESS").stdin(Stdio::null());
    Ran::of(&mut command)
}

/// One node.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where its listeners open their ports.
    pub address: IpAddr,
    /// `HOST:PORT` for other nodes.
    pub quic: SocketAddr,
    /// All its files lie here.
    pub dir: PathBuf,
    /// The program that the next start runs.
    pub program: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// One that is not started yet, in a directory of its name.
    pub fn new(dir: &Path, name: &str, address: IpAddr, level: &str) -> Node {
        let quic = SocketAddr::new(address, crate::free_port(&[address]));
        let node = Node::existing(dir, name, quic);
        let dir = &node.dir;
        std::fs::create_dir_all(dir).unwrap();
        let shown = dir.display();
        let config = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"{shown}/data\"\naddresses = [\"{address}\"]\n\
             main_domain = \"{name}.main\"\n[cluster]\nbind = \"{quic}\"\n\
             [admin]\nsocket = \"{shown}/admin.sock\"\nbind = \"{address}:0\"\n\
             [public]\nbind = \"{address}:0\"\n[log]\nlevel = \"{level}\"\nformat = \"text\"\n"
        );
        std::fs::write(dir.join("node.toml"), config).unwrap();
        node
    }

    /// One whose configuration lies there already.
    pub fn existing(dir: &Path, name: &str, quic: SocketAddr) -> Node {
        let (name, dir) = (name.to_owned(), dir.join(name));
        let program = binary("conclave");
        Node { name, address: quic.ip(), quic, dir, program, process: None }
    }

    /// Makes the configuration of one that has its own place among other nodes.
    pub fn placed(dir: &Path, name: &str, quic: SocketAddr) -> Node {
        let node = Node::new(dir, name, quic.ip(), "info");
        let path = node.dir.join("node.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config.replace(&node.quic.to_string(), &quic.to_string())).unwrap();
        Node::existing(dir, name, quic)
    }

    /// Gives it another address for other nodes; it counts from the next start on.
    pub fn move_to(&mut self, quic: SocketAddr) {
        let path = self.dir.join("node.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let line = |quic: SocketAddr| format!("[cluster]\nbind = \"{quic}\"\n");
        assert!(config.contains(&line(self.quic)), "{config}");
        std::fs::write(&path, config.replace(&line(self.quic), &line(quic))).unwrap();
        self.quic = quic;
    }

    /// Adds a line to a section of its configuration, which may be a new one; it counts from the next start on.
    pub fn configure(&self, section: &str, line: &str) {
        let path = self.dir.join("node.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let section = format!("[{section}]\n");
        let config = if config.contains(&section) { config } else { config + &section };
        std::fs::write(&path, config.replace(&section, &format!("{section}{line}\n"))).unwrap();
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) {
        self.start_under(&[]);
    }

    /// Starts it under another program, as `strace`.
    pub fn start_under(&mut self, wrapper: &[&str]) {
        self.launch(wrapper, &[]);
    }

    /// Starts a process that takes over the running one, and waits until it serves. Gives the
    /// earlier one.
    pub fn take_over(&mut self) -> Earlier {
        self.take_over_under(&[])
    }

    /// The same under another program.
    pub fn take_over_under(&mut self, wrapper: &[&str]) -> Earlier {
        let earlier = Earlier(self.process.take().unwrap());
        self.launch(wrapper, &["--take-over"]);
        earlier
    }

    /// The same with another configuration, which fails: what the new process came to.
    pub fn fail_to_take_over(&self, config: &str) -> Ran {
        run_alone(&["server", "run", "--take-over", "--config", config])
    }

    fn launch(&mut self, wrapper: &[&str], more: &[&str]) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut words: Vec<&str> = wrapper.to_vec();
        words.extend([self.program.to_str().unwrap(), "server", "run", "--config"]);
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .arg(self.dir.join("node.toml"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        self.process = Some(child);
        let (ready, wait) = channel();
        let said = self.dir.join("said");
        std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                all.push_str(&line);
                all.push('\n');
                std::fs::write(&said, &all).unwrap();
                if line.starts_with("ready") {
                    let _ = ready.send(());
                }
            }
        });
        let waited = wait.recv_timeout(DEADLINE);
        assert!(waited.is_ok(), "{} is not ready:\n{}", self.name, self.log());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it as a service manager would, and waits until it has ended.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.wait_ended();
    }

    /// Waits until it has ended by itself, without an error.
    pub fn wait_ended(&mut self) {
        let ended = self.process.take().unwrap().wait().unwrap();
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    /// Sends a signal by name, as STOP or CONT.
    pub fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Memory that it holds, in MiB.
    pub fn resident_mib(&self) -> u64 {
        crate::resident_mib(self.process.as_ref().unwrap().id())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// What it said on its terminal so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("said")).unwrap_or_default()
    }

    /// Runs a command of the command line against this node.
    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).stdin(Stdio::null()))
    }

    /// The same with this on its standard input.
    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Ran {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input).unwrap();
        file.rewind().unwrap();
        Ran::of(self.command(words).stdin(file))
    }

    fn command(&self, words: &[&str]) -> Command {
        let socket = self.dir.join("admin.sock");
        let mut command = Command::new(binary("conclave"));
        // What it writes without a path is not left in the sources.
        command.current_dir(&self.dir);
        command.arg("--address").arg(format!("unix:{}", socket.display())).args(words);
        command
    }

    /// A request to the API on the socket, as any program would make it: the status, and the body.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = UnixStream::connect(self.dir.join("admin.sock")).unwrap();
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }

    /// `status -o json`, whatever needs attention.
    pub fn status(&self) -> Value {
        let ran = self.run(&["status", "-o", "json"]);
        serde_json::from_str(&ran.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err))
    }

    /// Waits until the cluster changes nothing by itself any more: the level is raised, secrets and
    /// proofs are under the only generation, and session keys of both uses are active.
    pub fn wait_quiet(&self) {
        crate::wait_for("a cluster that is quiet", || {
            let keyring = self.run(&["keyring", "status", "-o", "json"]).json();
            let sessions = self.run(&["tls", "sessions", "-o", "json"]).json();
            let is_active = |keys: &Value| keys["active"]["generation"] == keyring["generation"];
            let has_keys = sessions["keys"].as_array().is_some_and(|all| all.iter().all(is_active));
            let is_raised = self.status()["cluster"]["level"] == LEVEL_MAX;
            let is_kept = keyring["unfinished"] == 0 && keyring["generations"] == 1;
            (is_raised && has_keys && is_kept).then_some(())
        });
    }

    /// Where a listener on `port` answers here.
    pub fn listener(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// Writes a pair and gives the paths of its bundle and its key.
    pub fn pair_files(&self, pair: &crate::Pair) -> (String, String) {
        let bundle = self.file("c.pem", pair.bundle().as_bytes());
        (bundle, self.file("k.pem", pair.key.as_bytes()))
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        let found = log.lines().find(|line| line.contains("api.undeclared"));
        if let (Some(line), false) = (found, std::thread::panicking()) {
            panic!("the contract does not have this answer: {line}");
        }
    }
}

/// A process of a node that another one has taken over.
pub struct Earlier(Child);

impl Earlier {
    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Ends it as a service manager would, and waits until it has ended.
    pub fn stop(self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.wait_ended();
    }

    /// Waits until it has ended by itself, without an error.
    pub fn wait_ended(mut self) {
        let ended = self.0.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Earlier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Several nodes; everything ends and goes when it is dropped.
pub struct Cluster {
    /// The nodes, `node-1` first.
    pub nodes: Vec<Node>,
    /// All files.
    pub dir: TempDir,
}

impl Cluster {
    /// Nodes that run but belong to no cluster.
    pub fn unfounded(count: u8) -> Cluster {
        Cluster::with_level(count, "info")
    }

    /// The same, with another log level.
    pub fn with_level(count: u8, level: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let nodes = (1..=count).map(|number| {
            let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, number));
            let mut node = Node::new(dir.path(), &format!("node-{number}"), address, level);
            node.start();
            node
        });
        Cluster { nodes: nodes.collect(), dir }
    }

    /// A founded cluster of voters with a line more in a section of each configuration.
    pub fn configured(count: u8, section: &str, line: &str) -> Cluster {
        let mut cluster = Cluster::unfounded(count);
        for node in &mut cluster.nodes {
            node.configure(section, line);
            node.stop();
            node.start();
        }
        cluster.found();
        cluster
    }

    /// The same with a log that keeps no more than it must, so that a member that was away needs a
    /// snapshot.
    pub fn with_short_log(count: u8) -> Cluster {
        Cluster::configured(count, "cluster", "keep_log_mib = 0")
    }

    /// A founded cluster of voters.
    pub fn start(count: u8) -> Cluster {
        let cluster = Cluster::unfounded(count);
        cluster.found();
        cluster
    }

    /// Founds it, and lets all other nodes join.
    pub fn found(&self) {
        self.nodes[0].run(&["cluster", "init", "--name", "test"]).ok();
        self.join_others();
        self.wait_quiet();
    }

    /// Waits until the cluster changes nothing by itself any more.
    pub fn wait_quiet(&self) {
        self.nodes[0].wait_quiet();
    }

    /// Lets all nodes but the first join.
    pub fn join_others(&self) {
        for node in &self.nodes[1..] {
            let token = self.join_token(node);
            let member = self.nodes[0].quic.to_string();
            node.run(&["--timeout", "60s", "cluster", "join", &member, "--token-file", &token])
                .ok();
        }
    }

    /// A file with a new join token.
    pub fn join_token(&self, node: &Node) -> String {
        let made = self.nodes[0].run(&["join-token", "create", "-o", "json"]).json();
        node.file("token", made["token"].as_str().unwrap().as_bytes())
    }

    /// A port that is free on every node's address, for TCP and UDP.
    pub fn free_port(&self) -> u16 {
        let addresses: Vec<IpAddr> = self.nodes.iter().map(|node| node.address).collect();
        crate::free_port(&addresses)
    }

    /// Opens a listener on every node, with an echo behind it; gives its port.
    pub fn listen(&self) -> u16 {
        self.listen_for(crate::echo_upstream())
    }

    /// The same, with this upstream behind it.
    pub fn listen_for(&self, upstream: SocketAddr) -> u16 {
        let (port, upstream) = (self.free_port(), upstream.to_string());
        let bind = format!(":{port}");
        self.nodes[0]
            .run(&["listener", "add", "tls", "--bind", &bind, "--upstream", &upstream])
            .ok();
        port
    }

    /// Place of the leader among the nodes.
    pub fn leader(&self) -> usize {
        crate::wait_for("a leader", || {
            let running = self.nodes.iter().find(|node| node.process.is_some())?;
            let name = running.status()["cluster"]["leader"].as_str()?.to_owned();
            self.nodes.iter().position(|node| node.name == name && node.process.is_some())
        })
    }
}
