//! A cluster of real processes.

use std::{
    io::{BufRead, BufReader},
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    time::Duration,
};

use anyhow::Context;
use conclave_api::{
    cluster::{Init, Join},
    join_token,
};
use conclave_client::{Address, Change, Client, Options};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) client: Client,
    binary: PathBuf,
    config: PathBuf,
    process: Option<Child>,
}

/// All nodes.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
}

impl Cluster {
    /// Starts and founds a cluster with its data in `store`.
    pub(crate) async fn start(binary: &Path, store: &Path, count: u8) -> anyhow::Result<Cluster> {
        let store = std::path::absolute(store)?;
        let mut nodes = Vec::new();
        for number in 1..=count {
            let mut node = Node::new(binary, &store, number)?;
            node.start()?;
            nodes.push(node);
        }
        let change = Change::default();
        let (first, others) = nodes.split_first().context("a cluster needs a node")?;
        first.client.init(&Init { name: "jepsen".to_owned() }, &change).await?;
        for node in others {
            let create = join_token::Create::default();
            let made = first.client.create_join_token(&create, &change).await?;
            let join = Join { address: made.address, token: made.token };
            node.client.join(&join, &change).await?;
        }
        Ok(Cluster { nodes })
    }

    /// Starts whatever does not run.
    pub(crate) fn start_all(&mut self) -> anyhow::Result<()> {
        self.nodes.iter_mut().try_for_each(Node::start)
    }

    /// Place of the leader, if one is known.
    pub(crate) async fn leader(&self) -> Option<usize> {
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            if let Ok(status) = node.client.status().await {
                let leader = status.cluster?.leader?;
                return self.nodes.iter().position(|node| node.name == leader);
            }
        }
        None
    }
}

impl Node {
    fn new(binary: &Path, store: &Path, number: u8) -> anyhow::Result<Node> {
        let name = format!("n{number}");
        let address = format!("127.0.0.{number}");
        let quic = UdpSocket::bind((address.as_str(), 0))?.local_addr()?;
        let dir = store.join(&name);
        std::fs::create_dir_all(&dir)?;
        let shown = dir.display();
        let config = dir.join("node.toml");
        let text = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"{shown}/data\"\naddresses = [\"{address}\"]\n\
             [cluster]\nbind = \"{quic}\"\n[admin]\nsocket = \"{shown}/admin.sock\"\n"
        );
        std::fs::write(&config, text)?;
        let options = Options { timeout: Duration::from_secs(10), ..Options::default() };
        let client = Client::new(&Address::Unix(dir.join("admin.sock")), None, options)?;
        Ok(Node { name, client, binary: binary.to_owned(), config, process: None })
    }

    /// Starts the process, if it does not run, and waits until it is ready.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let log = self.config.with_file_name("log");
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut child = Command::new(&self.binary)
            .args(["server", "run", "--config"])
            .arg(&self.config)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take();
        self.process = Some(child);
        let (ready, wait) = channel();
        std::thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                if line.is_ok_and(|line| line.starts_with("ready")) {
                    let _ = ready.send(());
                }
            }
        });
        wait.recv_timeout(START_TIMEOUT).with_context(|| format!("{} does not start", self.name))
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let Some(child) = &self.process else { return Ok(()) };
        let arguments = [format!("-{signal}"), child.id().to_string()];
        anyhow::ensure!(Command::new("kill").args(arguments).status()?.success(), "kill failed");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
