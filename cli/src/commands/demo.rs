//! `conclave demo`: three real nodes on this machine, step by step, with measured times.

mod probe;
mod story;

use std::{
    io::{BufRead, BufReader, IsTerminal},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use conclave_api::problem::{Code, Problem};
use conclave_client::{Address, Client, Failure, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Done;
use crate::output::line;

/// Nodes of the demo.
const NODES: usize = 3;
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the error of a failed step.
pub(super) fn failed(what: impl Into<String>) -> Failure {
    Box::new(Problem::new(Code::Internal, what).hint("the nodes' logs are printed above"))
}

/// A node: a process of this same program.
pub(super) struct Node {
    pub(super) name: String,
    address: IpAddr,
    config: PathBuf,
    log: PathBuf,
    pub(super) client: Client,
    process: Option<Child>,
}

impl Node {
    /// Returns the address of its listener.
    pub(super) fn listener(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Starts the process and waits until it reports that it is ready.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let unusable =
            |error: std::io::Error| failed(format!("cannot start {}: {error}", self.name));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let mut child = Command::new(std::env::current_exe().map_err(unusable)?)
            .args(["server", "run", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.map_err(unusable)?)
            .spawn()
            .map_err(unusable)?;
        let stdout = child.stdout.take();
        self.process = Some(child);
        let (ready, wait) = std::sync::mpsc::channel();
        // Reads to the end, so that the node never blocks on a full pipe.
        std::thread::spawn(move || {
            for text in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                if text.is_ok_and(|text| text.starts_with("ready")) {
                    let _ = ready.send(());
                }
            }
        });
        wait.recv_timeout(START_TIMEOUT)
            .map_err(|_| failed(format!("{} is not ready after {START_TIMEOUT:?}", self.name)))
    }

    /// Kills the process as `kill -9` does.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(super) async fn run() -> Done {
    let dir = tempfile::Builder::new()
        .prefix("conclave-demo.")
        .tempdir()
        .map_err(|error| failed(format!("cannot make a directory: {error}")))?;
    let version = env!("CARGO_PKG_VERSION");
    line(&format!(
        "conclave {version}   demo: three nodes on this machine, data in {} (removed at the end)\n",
        dir.path().display()
    ));
    let upstreams = Upstreams { page: page().await?, echo: echo().await? };
    let mut nodes = nodes(dir.path())?;
    let told = story::tell(&mut nodes, dir.path(), &upstreams).await;
    let port = match told {
        Ok(port) => port,
        Err(failure) => {
            for node in &nodes {
                let log = std::fs::read_to_string(&node.log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                line(&format!("--- log of {}", node.name));
                tail.iter().rev().for_each(|text| line(text));
            }
            return Err(failure);
        }
    };
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        stay(&nodes, dir.path(), port).await;
    }
    Ok(0)
}

/// Waits until Ctrl-C.
async fn stay(nodes: &[Node], dir: &Path, port: u16) {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("conclave"));
    let program = program.display();
    let dir = dir.display();
    line("");
    if let Some(node) = nodes.first() {
        let address = node.address;
        line(&format!(
            "Try:   curl --cacert {dir}/shop.pem --resolve shop.example:{port}:{address} https://shop.example:{port}/"
        ));
        line(&format!(
            "       openssl s_client -dtls1_2 -connect {address}:{port} -servername shop.example"
        ));
        line(&format!("       {program} --address unix:{dir}/node-1.sock status"));
    }
    line("Ctrl-C stops and removes everything.");
    let _ = tokio::signal::ctrl_c().await;
}

/// Upstreams of the demo's listeners.
pub(super) struct Upstreams {
    /// HTTP server, behind TLS.
    page: SocketAddr,
    /// UDP echo server, behind DTLS.
    echo: SocketAddr,
}

/// Starts a small HTTP server.
async fn page() -> Result<SocketAddr, Failure> {
    let unusable = |error: std::io::Error| failed(format!("cannot open the upstream: {error}"));
    let listener =
        tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let body = "hello from the upstream\n";
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            });
        }
    });
    Ok(address)
}

/// Starts a small UDP echo server.
async fn echo() -> Result<SocketAddr, Failure> {
    let unusable = |error: std::io::Error| failed(format!("cannot open the echo: {error}"));
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unusable)?;
    let address = socket.local_addr().map_err(unusable)?;
    tokio::spawn(async move {
        let mut datagram = [0; 2048];
        loop {
            // A client that has gone away must not end the server.
            if let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let _ = socket.send_to(datagram.get(..length).unwrap_or_default(), from).await;
            }
        }
    });
    Ok(address)
}

fn nodes(dir: &Path) -> Result<Vec<Node>, Failure> {
    (1..=NODES)
        .map(|number| {
            let name = format!("node-{number}");
            let last = u8::try_from(number).unwrap_or(u8::MAX);
            let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
            let port = free_udp_port(address)?;
            let config = dir.join(format!("{name}.toml"));
            let socket = dir.join(format!("{name}.sock"));
            let text = format!(
                "[node]\nname = \"{name}\"\ndata_dir = \"{data}\"\naddresses = [\"{address}\"]\n\
                 main_domain = \"{name}.example\"\n\
                 [cluster]\nbind = \"{address}:{port}\"\n[admin]\nsocket = \"{socket}\"\n\
                 [log]\nformat = \"text\"\n",
                data = dir.join(&name).display(),
                socket = socket.display(),
            );
            std::fs::write(&config, text).map_err(|error| failed(error.to_string()))?;
            let options = Options { timeout: Duration::from_secs(20), ..Options::default() };
            let client = Client::new(&Address::Unix(socket), None, options)?;
            let log = dir.join(format!("{name}.log"));
            Ok(Node { name, address, config, log, client, process: None })
        })
        .collect()
}

fn free_udp_port(address: IpAddr) -> Result<u16, Failure> {
    let bound = UdpSocket::bind((address, 0)).and_then(|socket| socket.local_addr());
    bound.map(|address| address.port()).map_err(|error| failed(format!("no UDP port: {error}")))
}

/// Returns a port free on the addresses of all nodes, for TCP and for UDP.
pub(super) fn free_port(nodes: &[Node]) -> Result<u16, Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.local_addr())
            .map_err(|error| failed(format!("no TCP port: {error}")))?;
        let is_free = |node: &Node| {
            let address = (node.address, first.port());
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        };
        if nodes.iter().all(is_free) {
            return Ok(first.port());
        }
    }
    Err(failed("no port is free on 127.0.0.1, 127.0.0.2 and 127.0.0.3"))
}
