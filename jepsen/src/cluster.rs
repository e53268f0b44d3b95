//! A cluster of real processes.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use conclave_api::{
    cluster::{Init, Join},
    join_token,
};
use conclave_client::{Address, Change, Client, Options};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Polling interval for conditions without a notification.
const LOOK: Duration = Duration::from_millis(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes kept of a node's output.
const WORDS_BYTES_MAX: u64 = 64 * 1024;

/// Outcome of starting a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Started {
    Ready,
    /// The process ended, with this output.
    Ended(String),
    /// The caller's condition came first.
    Interrupted,
    /// Neither ready nor ended in time.
    Late,
}

/// Locations and address of a node.
pub(crate) struct Home<'a> {
    pub(crate) binary: &'a Path,
    /// Directory of configuration, log and socket.
    pub(crate) dir: PathBuf,
    pub(crate) data: PathBuf,
    /// Its own loopback address.
    pub(crate) address: String,
    /// Log level, in the syntax of a node's configuration.
    pub(crate) log: Option<&'a str>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: String,
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
    /// Starts `count` nodes with their data in `store`, and founds a cluster of them.
    pub(crate) async fn start(binary: &Path, store: &Path, count: u8) -> anyhow::Result<Cluster> {
        let store = std::path::absolute(store)?;
        let mut nodes = Vec::new();
        for number in 1..=count {
            let name = format!("n{number}");
            let dir = store.join(&name);
            let address = format!("127.0.0.{number}");
            let data = dir.join("data");
            let home = Home { binary, data, dir, address, log: None };
            nodes.push(Node::new(&name, home)?);
        }
        Cluster::found(nodes).await
    }

    /// Starts the nodes and founds a cluster of them.
    pub(crate) async fn found(mut nodes: Vec<Node>) -> anyhow::Result<Cluster> {
        nodes.iter_mut().try_for_each(Node::start)?;
        let change = Change::default();
        let (first, others) = nodes.split_first().context("a cluster needs a node")?;
        first.client.init(&Init { name: "jepsen".to_owned() }, &change).await?;
        for node in others {
            let create = join_token::Create::default();
            let made = first.client.create_join_token(&create, &change).await?;
            let join = Join { address: made.address, token: made.token, ..Join::default() };
            node.client.join(&join, &change).await?;
        }
        Ok(Cluster { nodes })
    }

    /// Starts every stopped node.
    pub(crate) fn start_all(&mut self) -> anyhow::Result<()> {
        self.nodes.iter_mut().try_for_each(Node::start)
    }

    /// Returns the index of the leader in `nodes`, if one is known.
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
    /// Writes the configuration of a new node.
    pub(crate) fn new(name: &str, home: Home<'_>) -> anyhow::Result<Node> {
        let Home { binary, dir, data, address, log } = home;
        let quic = UdpSocket::bind((address.as_str(), 0))?.local_addr()?;
        std::fs::create_dir_all(&dir)?;
        let (shown, data) = (dir.display(), data.display());
        let config = dir.join("node.toml");
        let log = log.map(|level| format!("[log]\nlevel = \"{level}\"\n")).unwrap_or_default();
        let text = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"{data}\"\naddresses = [\"{address}\"]\n\
             [cluster]\nbind = \"{quic}\"\n[admin]\nsocket = \"{shown}/admin.sock\"\n{log}"
        );
        std::fs::write(&config, text)?;
        let options = Options { timeout: Duration::from_secs(10), ..Options::default() };
        let client = Client::new(&Address::Unix(dir.join("admin.sock")), None, options)?;
        let name = name.to_owned();
        Ok(Node { name, address, client, binary: binary.to_owned(), config, process: None })
    }

    /// Makes the next start one of another program.
    pub(crate) fn install(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Puts a line into the section of the cluster, or takes it out; for the next start.
    pub(crate) fn configure(&self, line: &str, is_there: bool) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(&self.config)?.replace(&format!("{line}\n"), "");
        let section = "[cluster]\n";
        let with = if is_there { format!("{section}{line}\n") } else { section.to_owned() };
        Ok(std::fs::write(&self.config, text.replace(section, &with))?)
    }

    /// Starts the process, unless it is running, and waits until it is ready.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        match self.try_start(START_TIMEOUT, || false)? {
            Started::Ready => Ok(()),
            other => anyhow::bail!("{} does not start: {other:?}", self.name),
        }
    }

    /// Starts the process and waits until it is ready, has ended, or `is_over` returns true.
    pub(crate) fn try_start(
        &mut self,
        patience: Duration,
        is_over: impl Fn() -> bool,
    ) -> anyhow::Result<Started> {
        let deadline = Instant::now() + patience;
        let path = self.config.with_file_name("log");
        let log = std::fs::File::options().create(true).append(true).open(&path)?;
        let from = log.metadata()?.len();
        let mut child = Command::new(&self.binary)
            .args(["server", "run", "--config"])
            .arg(&self.config)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take();
        self.process = Some(child);
        let told = Arc::new(Mutex::new(String::new()));
        let (ready, wait) = channel();
        let telling = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in
                stdout.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok))
            {
                if line.starts_with("ready") {
                    let _ = ready.send(());
                }
                let mut told = telling.lock().unwrap_or_else(PoisonError::into_inner);
                told.push_str(&line);
                told.push('\n');
            }
        });
        loop {
            match wait.recv_timeout(LOOK) {
                Ok(()) => return Ok(Started::Ready),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if is_over() => return Ok(Started::Interrupted),
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    return Ok(Started::Late);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if is_over() {
            return Ok(Started::Interrupted);
        }
        self.kill();
        let mut words = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        words.push_str(&tail(&path, from)?);
        Ok(Started::Ended(words))
    }

    /// Returns the end of the node's log.
    pub(crate) fn words(&self) -> anyhow::Result<String> {
        tail(&self.config.with_file_name("log"), 0)
    }

    /// Returns whether the process is running.
    pub(crate) fn is_running(&mut self) -> bool {
        let status = self.process.as_mut().map(Child::try_wait);
        if matches!(status, Some(Ok(Some(_)))) {
            self.process = None;
        }
        self.process.is_some()
    }

    /// Sends SIGTERM, and SIGKILL if the process does not end in time. Returns whether SIGTERM was
    /// enough.
    pub(crate) fn stop(&mut self) -> anyhow::Result<bool> {
        self.signal("TERM")?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.is_running() {
            if Instant::now() > deadline {
                self.kill();
                return Ok(false);
            }
            // Sleeps: nothing is ever sent on this channel.
            let (_sender, never) = channel::<()>();
            let _ = never.recv_timeout(LOOK);
        }
        Ok(true)
    }

    /// Sends SIGKILL and waits for the end of the process.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends SIGKILL to a process whose disk calls may be blocked, unblocks them by `release`, and
    /// waits for the end of the process.
    pub(crate) fn kill_with(&mut self, release: impl FnOnce()) {
        if let Some(child) = &mut self.process {
            let _ = child.kill();
        }
        release();
        self.kill();
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let Some(child) = &self.process else { return Ok(()) };
        let arguments = [format!("-{signal}"), child.id().to_string()];
        anyhow::ensure!(Command::new("kill").args(arguments).status()?.success(), "kill failed");
        Ok(())
    }
}

/// Returns the end of a file, from an offset on.
fn tail(path: &Path, from: u64) -> anyhow::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let least = file.metadata()?.len().saturating_sub(WORDS_BYTES_MAX);
    file.seek(SeekFrom::Start(from.max(least)))?;
    let mut words = Vec::new();
    file.read_to_end(&mut words)?;
    Ok(String::from_utf8_lossy(&words).into_owned())
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
