//! A cluster on disks of its own, with a record of all writes through it.

use std::{
    io::Write,
    net::{IpAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use conclave_api::listener::Add;
use conclave_client::Change;
use tokio::task::JoinHandle;

use super::{
    device::Disk,
    file::Survival,
    value::{Pool, Size},
    volume::Volume,
    writer::{self, Plan, SERVED_DOMAIN, Writer},
};
use crate::{
    chance::Chance,
    cluster::{Cluster, Home, Node, Started},
    handshake,
};

/// Longest time until a node is ready.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Longest time until all nodes hold the same state.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(30);
/// Polling interval while nodes catch up.
const LOOK: Duration = Duration::from_millis(50);
/// Number of writers for each node.
const WRITERS: u64 = 2;

/// Limits of a node's output in a message.
const WORDS_LINES_MAX: usize = 8;
const WORDS_LENGTH_MAX: usize = 900;
/// Most complaints shown.
const COMPLAINTS_SHOWN: usize = 5;

/// A broken promise. It makes the verdict "invalid".
#[derive(Debug)]
pub(crate) struct Breach(pub(crate) String);

impl std::fmt::Display for Breach {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Breach {}

/// Creates the error of a broken promise.
pub(crate) fn breach(what: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Breach(what.into()))
}

/// Shortens a node's output to one line: the end of its error or panic, if there is one.
pub(crate) fn shorten(words: &str) -> String {
    let from = ["error[", "panicked at"].iter().find_map(|mark| words.rfind(mark)).unwrap_or(0);
    let lines = words.get(from..).unwrap_or_default().lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(WORDS_LINES_MAX)..).unwrap_or_default();
    last.join(" | ").chars().take(WORDS_LENGTH_MAX).collect()
}

/// Returns whether a refusal to start names a file by its path, or by the directory of the database
/// that contains it. Only the error counts, because a log names files for other reasons.
pub(crate) fn names(words: &str, mount: &Path, path: &Path) -> bool {
    let error = words.rfind("error[").and_then(|from| words.get(from..)).unwrap_or_default();
    let file = mount.join(path);
    // The topmost directory contains all data, so its name says nothing.
    let directories = file.ancestors().skip(1);
    let deep = directories.take_while(|directory| {
        directory.strip_prefix(mount).is_ok_and(|below| below.components().count() > 1)
    });
    std::iter::once(file.as_path()).chain(deep).any(|one| error.contains(&*one.to_string_lossy()))
}

/// Settings of a scene.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) store: &'a Path,
    pub(crate) nodes: u8,
    pub(crate) sizes: &'a [Size],
    pub(crate) seed: u64,
    /// Whether all writes before the first fault are durable, as if the system had written them
    /// back.
    pub(crate) settles: bool,
    /// Log level of the nodes.
    pub(crate) log: Option<&'a str>,
}

/// A cluster on disks of its own.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) disks: Vec<Disk>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) chance: Chance,
    writers: Vec<JoinHandle<()>>,
    generation: u64,
    store: PathBuf,
    complaints: Vec<String>,
    started: Instant,
    story: std::fs::File,
}

impl Scene {
    /// Starts the nodes on new disks and founds the cluster. `lane` distinguishes scenes that run
    /// at the same time.
    pub(crate) async fn set(setting: Setting<'_>, lane: u64) -> anyhow::Result<Scene> {
        let store = std::path::absolute(setting.store)?.join(format!("lane{lane}"));
        let (mut nodes, mut disks) = (Vec::new(), Vec::new());
        for number in 1..=setting.nodes {
            let name = format!("n{number}");
            let dir = store.join(&name);
            let disk = Disk::mount(&dir.join("disk"))?;
            let data = disk.path().join("data");
            std::fs::create_dir(&data)?;
            disk.sync_root()?;
            let address = format!("127.0.{}.{number}", lane + 1);
            let Setting { binary, log, .. } = setting;
            nodes.push(Node::new(&name, Home { binary, dir, data, address, log })?);
            disks.push(disk);
        }
        let cluster = Cluster::found(nodes).await?;
        let plan = Arc::new(Plan::new(Pool::make()?, setting.sizes));
        let chance = Chance::new(setting.seed.wrapping_mul(1_000).wrapping_add(lane));
        let story = std::fs::File::create(store.join("story"))?;
        let started = Instant::now();
        let scene = Scene {
            complaints: Vec::new(),
            started,
            story,
            cluster,
            disks,
            plan,
            chance,
            writers: Vec::new(),
            generation: 0,
            store,
        };
        let first = scene.cluster.nodes.first().context("no node")?;
        writer::prepare(&first.client, &scene.plan).await?;
        if setting.settles {
            scene.disks.iter().for_each(Disk::settle);
        }
        Ok(scene)
    }

    /// Opens a TLS listener on all nodes, and returns its port.
    pub(crate) async fn listen(&self) -> anyhow::Result<u16> {
        let first = self.cluster.nodes.first().context("no node")?;
        let port = TcpListener::bind((first.address.as_str(), 0))?.local_addr()?.port();
        let upstream = TcpListener::bind((first.address.as_str(), 0))?;
        let add = Add {
            name: "tls".to_owned(),
            bind: format!(":{port}"),
            upstreams: vec![upstream.local_addr()?.to_string()],
            ..Add::default()
        };
        // No data is ever sent: connections are only opened.
        std::thread::spawn(move || upstream.incoming().for_each(drop));
        first.client.add_listener(&add, &Change::default()).await?;
        Ok(port)
    }

    /// Performs a handshake with a node, which must present the certificate with the SHA-256
    /// `wanted`.
    pub(crate) fn handshake(&self, place: usize, port: u16, wanted: &str) -> anyhow::Result<()> {
        let node = self.cluster.nodes.get(place).context("no such node")?;
        let address: IpAddr = node.address.parse()?;
        let shown = handshake::shown((address, port).into(), SERVED_DOMAIN);
        match shown {
            Ok(shown) if shown == wanted => Ok(()),
            Ok(shown) => {
                Err(breach(format!("{} shows certificate {shown}, not {wanted}", node.name)))
            }
            Err(error) => Err(breach(format!("{}: no handshake: {error:#}", node.name))),
        }
    }

    /// Returns the SHA-256 of the certificate that handshakes must present.
    pub(crate) async fn served(&self) -> anyhow::Result<String> {
        let first = self.cluster.nodes.first().context("no node")?;
        Ok(first.client.certificate(SERVED_DOMAIN).await?.sha256.to_lowercase())
    }

    /// Returns a writer through one node, for single writes.
    pub(crate) fn writer(&mut self, place: usize) -> anyhow::Result<Writer> {
        self.generation += 1;
        let node = self.cluster.nodes.get(place).context("no such node")?;
        Ok(Writer {
            plan: Arc::clone(&self.plan),
            client: node.client.clone(),
            chance: self.chance.fork(),
            name: format!("g{}{}", self.generation, node.name),
            number: 0,
        })
    }

    /// Starts writers on all nodes.
    pub(crate) fn start_writers(&mut self) -> anyhow::Result<()> {
        for place in 0..self.cluster.nodes.len() {
            for _ in 0..WRITERS {
                let writer = self.writer(place)?;
                self.writers.push(tokio::spawn(writer.run()));
            }
        }
        Ok(())
    }

    /// Stops the writers. Unanswered writes stay unknown.
    pub(crate) async fn stop_writers(&mut self) {
        for writer in std::mem::take(&mut self.writers) {
            writer.abort();
            let _ = writer.await;
        }
        self.plan.ledger.abandon();
    }

    /// Makes `count` writes through the nodes in turn. Errors are ignored, because the ledger
    /// records them.
    pub(crate) async fn write(&mut self, count: usize) -> anyhow::Result<()> {
        let places = self.cluster.nodes.len();
        for number in 0..count {
            let mut writer = self.writer(number % places)?;
            let _ = writer.step().await;
        }
        Ok(())
    }

    /// Kills a node and ends the faults of its disk. With `cut`, the power is cut too.
    pub(crate) fn crash(&mut self, place: usize, cut: Option<Survival>) -> anyhow::Result<()> {
        let node = self.cluster.nodes.get_mut(place).context("no such node")?;
        let disk = self.disks.get(place).context("no such disk")?;
        node.kill_with(|| disk.thaw());
        let unsynced = disk.unsynced();
        if let Some(survival) = cut {
            disk.cut(survival, &mut self.chance);
        }
        let name = node.name.clone();
        self.tell(&format!("{name} is killed; power cut: {cut:?}; not synced: {unsynced}"));
        Ok(())
    }

    /// Adds a line to the story of this scene, which shows the events that led to a broken promise.
    pub(crate) fn tell(&mut self, line: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        // A failure to write the story changes no verdict.
        let _ = writeln!(self.story, "{seconds:8.3} {line}");
    }

    /// Records a broken promise after which the scene continues, in order to find more.
    pub(crate) fn complain(&mut self, what: String) {
        self.tell(&what);
        self.complaints.push(what);
    }

    /// Returns all complaints as one error.
    pub(crate) fn judge(&self) -> anyhow::Result<()> {
        if self.complaints.is_empty() {
            return Ok(());
        }
        let shown: Vec<&str> =
            self.complaints.iter().take(COMPLAINTS_SHOWN).map(String::as_str).collect();
        let count = self.complaints.len();
        Err(breach(format!("{count} promises are broken; {}", shown.join("; "))))
    }

    /// Starts a node. It must become ready unless its disk freezes. Returns whether it is ready.
    pub(crate) fn start(&mut self, place: usize) -> anyhow::Result<bool> {
        let image = self.disks.get(place).context("no such disk")?.image();
        let (started, name) = self.try_start(place)?;
        match started {
            Started::Ready => Ok(true),
            Started::Interrupted => Ok(false),
            Started::Ended(words) => {
                let kept = self.keep(place, &image)?;
                let words = shorten(&words);
                Err(breach(format!("{name} does not start; {kept}; its words: {words}")))
            }
            Started::Late => {
                let kept = self.keep(place, &image)?;
                let patience = START_PATIENCE.as_secs();
                Err(breach(format!("{name} is not ready after {patience} s; {kept}")))
            }
        }
    }

    /// Starts a node, and returns the outcome and the node's name.
    pub(crate) fn try_start(&mut self, place: usize) -> anyhow::Result<(Started, String)> {
        let node = self.cluster.nodes.get_mut(place).context("no such node")?;
        let disk = self.disks.get(place).context("no such disk")?;
        let started = node.try_start(START_PATIENCE, || disk.is_frozen())?;
        let name = node.name.clone();
        let shown = format!("{started:?}");
        self.tell(&format!("{name} is started: {}", shorten(&shown)));
        Ok((started, name))
    }

    /// Keeps a copy of a node's disk as it was before a failed start.
    fn keep(&mut self, place: usize, image: &Volume) -> anyhow::Result<String> {
        self.crash(place, None)?;
        let disk = self.disks.get(place).context("no such disk")?;
        disk.restore(image);
        let to = self.store.join(format!("broken-n{}", place + 1));
        copy(disk.path(), &to)?;
        Ok(format!("its disk is kept in {}", to.display()))
    }

    /// Starts every stopped node, and checks all acknowledged writes. `is_final` means that all
    /// nodes were down meanwhile.
    pub(crate) async fn start_and_check(&mut self, is_final: bool) -> anyhow::Result<()> {
        for place in 0..self.cluster.nodes.len() {
            if !self.is_running(place) && !self.start(place)? {
                anyhow::bail!("a disk froze although it was not told to");
            }
        }
        self.check(is_final).await
    }

    pub(crate) fn name(&self, place: usize) -> String {
        self.cluster.nodes.get(place).map(|node| node.name.clone()).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self, place: usize) -> bool {
        self.cluster.nodes.get_mut(place).is_some_and(Node::is_running)
    }

    /// Compares a linearizable read through one node with the acknowledged writes, and the nodes
    /// with each other.
    pub(crate) async fn check(&mut self, is_final: bool) -> anyhow::Result<()> {
        let place = self.chance.place(self.cluster.nodes.len());
        let node = self.cluster.nodes.get(place).context("no such node")?;
        let (client, name) = (node.client.clone(), node.name.clone());
        let deadline = Instant::now() + START_PATIENCE;
        let seen = loop {
            match writer::read(&client).await {
                Ok(seen) => break seen,
                Err(_) if !self.is_running(place) => self.all_run()?,
                Err(failure) if Instant::now() > deadline => {
                    let code = failure.code.as_str();
                    return Err(breach(format!("{name} cannot be read: {code} {failure}")));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        };
        self.tell(&format!("{} things are read through {name}", seen.len()));
        let checked = self.plan.ledger.check(&seen, is_final);
        checked.map_err(|wrong| breach(format!("read through {name}: {wrong}")))?;
        self.compare().await
    }

    /// Checks that all nodes run: a node must not end by itself.
    fn all_run(&mut self) -> anyhow::Result<()> {
        for node in &mut self.cluster.nodes {
            if !node.is_running() {
                let words = shorten(&node.words()?);
                return Err(breach(format!("{} ended by itself: {words}", node.name)));
            }
        }
        Ok(())
    }

    /// Waits until all nodes hold the same state at the same index.
    async fn compare(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + CATCH_UP_PATIENCE;
        loop {
            self.all_run()?;
            let mut found = Vec::new();
            for node in &self.cluster.nodes {
                if let Ok(status) = node.client.status().await
                    && let Some(cluster) = status.cluster
                {
                    found.push((cluster.applied_index, cluster.digest, node.name.clone()));
                }
            }
            let is_same_index = found.windows(2).all(|pair| match pair {
                [one, other] => one.0 == other.0,
                _ => true,
            });
            let is_same = found.windows(2).all(|pair| match pair {
                [one, other] => one.1 == other.1,
                _ => true,
            });
            if found.len() == self.cluster.nodes.len() && is_same_index && is_same {
                return Ok(());
            }
            // Index and digest of one answer may stem from different moments, so only a lasting
            // difference counts.
            if Instant::now() > deadline && is_same_index {
                return Err(breach(format!("the nodes differ at the same index: {found:?}")));
            }
            if Instant::now() > deadline {
                return Err(breach(format!("the nodes do not catch up: {found:?}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
