//! The stage of a document: nodes, a shell on the machine of each, and an upstream.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::{Command, Stdio},
};

use conclave_tests::{Cluster, Node, binary};
use tempfile::TempDir;

use super::places::Places;

/// Ports that documents name.
const PORTS: [u16; 7] = [443, 8443, 25, 143, 587, 5061, 5684];
/// Ports at the loopback address that documents name.
const LOOPBACK_PORTS: [u16; 5] = [2525, 2587, 5683, 8443, 9000];
const STAGE: &str = include_str!("stage.sh");

/// What a document needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    nodes: u8,
    is_founded: bool,
}

impl Kind {
    /// What a document says that it needs.
    pub(super) fn of(document: &str) -> Option<Kind> {
        let line = document.lines().find_map(|line| line.strip_prefix("<!-- cluster: "))?;
        let said = line.strip_suffix(" -->")?;
        if said == "none" {
            return Some(Kind { nodes: 0, is_founded: false });
        }
        let (count, rest) = said.split_once(" node")?;
        let is_founded = !rest.ends_with(", not founded");
        Some(Kind { nodes: count.parse().ok()?, is_founded })
    }
}

/// Nodes, and what surrounds them.
pub(super) struct Stage {
    cluster: Cluster,
    places: Places,
    /// Ports that mean something already: what is printed has one meaning only.
    taken: BTreeSet<u16>,
}

impl Stage {
    /// Starts everything.
    pub(super) fn set(kind: Kind) -> Stage {
        let cluster = Cluster { nodes: Vec::new(), dir: tempfile::tempdir().unwrap() };
        let mut stage = Stage { cluster, places: Places::default(), taken: BTreeSet::new() };
        stage.furnish();
        stage.add_nodes(kind.nodes);
        if kind.is_founded {
            stage.cluster.nodes[0].run(&["cluster", "init", "--name", "prod"]).ok();
            stage.cluster.join_others();
            stage.cluster.wait_quiet();
        }
        stage
    }

    fn dir(&self) -> &TempDir {
        &self.cluster.dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().path().join(name)
    }

    /// Programs, files and addresses that every document has.
    fn furnish(&mut self) {
        fs::create_dir(self.path("bin")).unwrap();
        // A reader is an ordinary user; in the test everything belongs to the one who runs it.
        self.program("sudo", "#!/bin/sh\ncase $1 in -u) shift 2 ;; esac\nexec \"$@\"\n");
        fs::write(self.path("stage.sh"), STAGE).unwrap();
        let dir = self.dir().path().display().to_string();
        for place in ["/etc/letsencrypt/", "/etc/haproxy/", "/var/backups/", "/home/"] {
            fs::create_dir_all(self.path(&place[1..])).unwrap();
            self.places.add(place, &format!("{dir}{place}"));
        }
        for (port, says) in [(8080, "hello from the application"), (8081, "hello from the other")] {
            let upstream = answering(says);
            self.taken.insert(upstream.port());
            self.places.add(&format!("127.0.0.1:{port}"), &upstream.to_string());
        }
        for port in PORTS {
            let real = self.free_port();
            self.places.add(&format!(":{port}"), &format!(":{real}"));
        }
        for port in LOOPBACK_PORTS {
            let real = self.free_port();
            self.places.add(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{real}"));
        }
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn add_nodes(&mut self, count: u8) {
        for number in 1..=count {
            let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, number));
            let name = format!("node-{number}");
            let mut node = Node::new(self.dir().path(), &name, address, "info");
            while !self.taken.insert(node.quic.port()) {
                node = Node::new(self.dir().path(), &name, address, "info");
            }
            self.places.add(&format!("10.0.0.{number}:7444"), &node.quic.to_string());
            self.give_ports(&node, number);
            self.places.add(&format!("10.0.0.{number}"), &address.to_string());
            symlink("node.toml", node.dir.join("conclave.toml")).unwrap();
            node.start();
            self.cluster.nodes.push(node);
        }
    }

    /// Gives the node's other sockets ports that stay after a restart.
    fn give_ports(&mut self, node: &Node, number: u8) {
        let path = node.dir.join("node.toml");
        let mut config = fs::read_to_string(&path).unwrap();
        let any = format!("bind = \"{}:0\"", node.address);
        for shown in [format!("10.0.0.{number}:7443"), format!("10.0.0.{number}:80")] {
            let real = SocketAddr::new(node.address, self.free_port());
            config = config.replacen(&any, &format!("bind = \"{real}\""), 1);
            self.places.add(&shown, &real.to_string());
        }
        let health = SocketAddr::new(node.address, self.free_port());
        config.push_str(&format!("[health]\nbind = \"{health}\"\n"));
        fs::write(path, config).unwrap();
        self.places.add(&format!("10.0.0.{number}:7445"), &health.to_string());
        for port in PORTS {
            let real = self.places.real(&format!(":{port}"));
            let shown = format!("10.0.0.{number}:{port}");
            self.places.add(&shown, &format!("{}{real}", node.address));
        }
    }

    /// A port that is free at all addresses of this machine, and was not given out yet.
    fn free_port(&mut self) -> u16 {
        loop {
            let port = conclave_tests::free_port(&[Ipv4Addr::UNSPECIFIED.into()]);
            if self.taken.insert(port) {
                return port;
            }
        }
    }

    /// The places as the machine of a node has them.
    fn places_at(&self, node: usize) -> Places {
        let mut places = self.places.clone();
        if let Some(node) = self.cluster.nodes.get(node - 1) {
            let dir = node.dir.display();
            places.add("/run/conclave/admin.sock", &format!("{dir}/admin.sock"));
            places.add("/var/lib/conclave", &format!("{dir}/data"));
            places.add("/etc/conclave/", &format!("{dir}/"));
        }
        places
    }

    /// Lets a word of the document stand for something.
    pub(super) fn place(&mut self, word: &str, means: &str) {
        self.places.add(word, means);
    }

    /// Types a line at the machine of a node, and gives what is printed on the terminal.
    pub(super) fn run(&mut self, node: usize, words: &str) -> String {
        let plain = words.strip_prefix("sudo ").unwrap_or(words);
        if let Some(action) = plain.strip_prefix("systemctl ") {
            self.manage(node, action);
            return String::new();
        }
        let places = self.places_at(node);
        let (code, text) = self.shell(node, &format!("exec 2>&1; {}", places.real(words)));
        // The reader is root.
        let uid = rustix::process::getuid().as_raw();
        let text = places.shown(&text).replace(&format!("uid {uid}"), "uid 0");
        // What is printed if an answer takes longer than a second.
        let is_wait = |line: &&str| !line.ends_with(" ...");
        let text: String = text.lines().filter(is_wait).map(|line| format!("{line}\n")).collect();
        match code {
            0 => text,
            code => format!("{text}(exit code {code})\n"),
        }
    }

    /// Runs what a comment says; its functions are those of `stage.sh`.
    pub(super) fn prepare(&self, words: &str) -> (i32, String) {
        let words = self.places_at(1).real(words);
        self.shell(1, &format!("exec 2>&1; . ./stage.sh\n{words}"))
    }

    fn shell(&self, node: usize, words: &str) -> (i32, String) {
        let programs = binary("conclave").parent().unwrap().display().to_string();
        let (own, others) = (self.path("bin"), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", words]).current_dir(self.dir().path()).stdin(Stdio::null());
        command.env("PATH", format!("{}:{programs}:{others}", own.display()));
        command.env("HOME", self.path("home")).env("USER", "alice").env("TZ", "UTC");
        for name in ["XDG_CONFIG_HOME", "CONCLAVE_CONTEXT", "CONCLAVE_TOKEN_FILE"] {
            command.env_remove(name);
        }
        command.env_remove("CONCLAVE_ADDRESS");
        if let Some(node) = self.cluster.nodes.get(node - 1) {
            let socket = node.dir.join("admin.sock");
            command.env("CONCLAVE_ADDRESS", format!("unix:{}", socket.display()));
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the service manager does.
    fn manage(&mut self, node: usize, action: &str) {
        let node = &mut self.cluster.nodes[node - 1];
        match action {
            "start conclave" => node.start(),
            "stop conclave" => node.stop(),
            "restart conclave" => {
                node.stop();
                node.start();
            }
            other => panic!("systemctl {other}"),
        }
    }

    /// Ends a node at once.
    pub(super) fn kill(&mut self, node: usize) {
        self.cluster.nodes[node - 1].kill();
    }

    /// The same, and its disk is gone.
    pub(super) fn lose(&mut self, node: usize) {
        self.kill(node);
        let node = &self.cluster.nodes[node - 1];
        fs::remove_dir_all(node.dir.join("data")).unwrap();
        let key = node.dir.join(format!("{}.unlock.key", node.name));
        let _ = fs::remove_file(key);
    }
}

/// An application that says one thing to every request of HTTP.
fn answering(says: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut stream, mut request) = (stream, Vec::new());
                let mut piece = [0; 1024];
                while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => return,
                        Ok(count) => request.extend_from_slice(&piece[..count]),
                    }
                }
                let length = says.len() + 1;
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{says}\n"
                );
            });
        }
    });
    address
}
