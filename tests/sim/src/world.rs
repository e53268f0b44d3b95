//! The machines on which nodes run, and the clients.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use conclave_raft::{
    BoxFuture, NodeId, Role,
    executor::{self, SimRt, WORLD, rng::Rng, since_start, trace},
};
use openraft::AsyncRuntime;

use crate::{
    disk::{Disk, SharedDisk},
    machine,
    net::{CLIENTS, GOOD, Net, PLACES},
    node::{Answer, Machine, Node},
    oracle,
};

/// How long a client waits.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// After all is well, a write is done within this time and everybody has it.
const RECOVERY: u64 = 15_000_000_000;
/// A key that only the test of liveness writes.
const LIVE_KEY: u64 = 99;

#[derive(Debug, Clone)]
pub struct Options {
    /// Voters.
    pub nodes: usize,
    pub seed: u64,
    pub seconds: u64,
    /// For files of snapshots.
    pub dir: PathBuf,
}

/// Everything there is; cheap to clone.
#[derive(Clone)]
pub struct World {
    pub options: Options,
    pub net: Net,
    places: Arc<Mutex<Vec<Place>>>,
}

/// A computer with its disk.
struct Place {
    disk: SharedDisk,
    home: machine::Shared,
    node: Option<Node>,
    /// Goes up with every start and death, so that only the newest start counts.
    life: u64,
    is_paused: bool,
    /// A node that dies in a step: whether its power goes, too.
    is_power_cut: bool,
}

/// Ends a life, however it ends: the world and its nodes hold each other.
pub struct End(pub World);

impl Drop for End {
    fn drop(&mut self) {
        let nodes: Vec<_> = self.0.places().iter_mut().map(|place| place.node.take()).collect();
        executor::as_killed(WORLD, || drop(nodes));
        self.0.net.clear();
    }
}

impl World {
    pub fn new(options: Options) -> World {
        let net = Net::new(Rng::new(options.seed, 10));
        // One more than the voters: it joins later.
        let places = (0..=options.nodes + 1)
            .map(|id| Place {
                disk: Disk::new(id, Rng::new(options.seed, 20 + id as u64)),
                home: machine::Shared::default(),
                node: None,
                life: 0,
                is_paused: false,
                is_power_cut: false,
            })
            .collect();
        World { options, net, places: Arc::new(Mutex::new(places)) }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap()
    }

    pub fn disk(&self, id: usize) -> SharedDisk {
        Arc::clone(&self.places()[id].disk)
    }

    pub fn node(&self, id: usize) -> Option<Node> {
        self.places()[id].node.clone()
    }

    /// Nodes that were started at least once.
    pub fn ids(&self) -> Vec<usize> {
        let places = self.places();
        (1..places.len()).filter(|id| places[*id].life > 0).collect()
    }

    pub fn leader(&self) -> Option<Node> {
        let leads = |node: &Node| node.raft.status().role == Role::Leader;
        self.ids().into_iter().filter_map(|id| self.node(id)).find(leads)
    }

    /// Starts a node that does not run.
    pub fn start(&self, id: usize) {
        trace::event(since_start(), "start", &[id as u64]);
        let (life, disk, home) = {
            let mut places = self.places();
            let place = &mut places[id];
            place.life += 1;
            (place.life, Arc::clone(&place.disk), Arc::clone(&place.home))
        };
        let world = self.clone();
        executor::spawn_on(id, async move {
            // Only what is on the disk and in the home goes from one life to the next.
            let rng = Rng::new(world.options.seed, 1_000 + id as u64 * 100_000 + life);
            let snapshots = world.options.dir.join(id.to_string());
            let net = &world.net;
            let snapshot_every = [40, 100, 300][world.options.seed as usize % 3];
            let on = Machine { id, disk: &disk, home: &home, net, snapshots, snapshot_every, rng };
            match Node::start(on).await {
                Ok(node) => {
                    world.places()[id].node = Some(node.clone());
                    let why = node.raft.stopped().await;
                    world.stopped(id, life, &why);
                }
                Err(error) => world.stopped(id, life, &error.to_string()),
            }
        });
    }

    /// A node has stopped by itself: it may only if its disk failed, and it is started again.
    fn stopped(&self, id: usize, life: u64, why: &str) {
        let is_excused = {
            let disk = self.disk(id);
            let disk = disk.lock().unwrap();
            disk.has_failed() || disk.is_full
        };
        if !is_excused {
            let why = format!("node {id} stopped: {why}");
            executor::spawn_on(WORLD, async move { oracle::fault(why) });
            return;
        }
        trace::event(since_start(), "stopped", &[id as u64]);
        let world = self.clone();
        executor::spawn_on(WORLD, async move {
            SimRt::sleep(Duration::from_millis(200)).await;
            if world.places()[id].life == life {
                world.again(id);
            }
        });
    }

    /// The process of a node is gone, or the power of its computer.
    pub fn crash(&self, id: usize, is_power_cut: bool) {
        trace::event(since_start(), "crash", &[id as u64, is_power_cut.into()]);
        oracle::counts(|c| if is_power_cut { c.power_cuts += 1 } else { c.kills += 1 });
        let (gone, disk) = {
            let mut places = self.places();
            let place = &mut places[id];
            place.life += 1;
            place.is_paused = false;
            (place.node.take(), Arc::clone(&place.disk))
        };
        self.net.gone(id);
        disk.lock().unwrap().crash(is_power_cut);
        executor::kill(id);
        executor::as_killed(id, || drop(gone));
    }

    /// Starts a node that is down, or starting.
    pub fn again(&self, id: usize) {
        self.crash(id, false);
        self.start(id);
    }

    /// Starts a node after a while, unless something else did.
    pub fn restart(&self, id: usize, after: Duration) {
        let (world, life) = (self.clone(), self.places()[id].life);
        executor::spawn_on(WORLD, async move {
            SimRt::sleep(after).await;
            if world.places()[id].life == life {
                world.start(id);
            }
        });
    }

    /// The process of a node dies in the middle of one of its next steps on the disk.
    pub fn die_in_a_step(&self, id: usize, operations: u64, is_power_cut: bool) {
        self.places()[id].is_power_cut = is_power_cut;
        self.disk(id).lock().unwrap().dies_in = Some(operations);
    }

    /// A node has died in a step.
    pub fn reap(&self, id: usize, rng: &mut Rng) {
        oracle::counts(|counts| counts.deaths_in_a_step += 1);
        let is_power_cut = self.places()[id].is_power_cut;
        self.crash(id, is_power_cut);
        self.restart(id, Duration::from_micros(rng.range(1_000, 2_000_000)));
    }

    /// A process stands still, and its peers hear nothing of it; or it goes on.
    pub fn pause(&self, id: usize, is_paused: bool) {
        executor::set_paused(id, is_paused);
        let life = {
            let mut places = self.places();
            places[id].is_paused = is_paused;
            places[id].life
        };
        if is_paused {
            let world = self.clone();
            executor::spawn_on(WORLD, async move {
                SimRt::sleep(Duration::from_secs(2)).await;
                let is_silent = {
                    let places = world.places();
                    places[id].is_paused && places[id].life == life
                };
                if is_silent {
                    (1..PLACES).for_each(|other| world.net.break_lines(id, other));
                }
            });
        }
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        trace::event(since_start(), "heal", &[]);
        self.net.change(|paths| *paths = [[GOOD; PLACES]; PLACES]);
        for id in self.ids() {
            self.pause(id, false);
            let disk = self.disk(id);
            let mut disk = disk.lock().unwrap();
            disk.slow_factor = 1;
            disk.is_full = false;
            disk.failing_one_in = 0;
            disk.dies_in = None;
        }
    }

    /// A client asks a node; none if no answer came in time.
    pub async fn ask<F>(&self, id: usize, work: F) -> Option<Answer>
    where
        F: FnOnce(Node) -> BoxFuture<'static, Answer> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let world = self.clone();
        executor::spawn_on(WORLD, async move {
            if world.net.loses(CLIENTS, id) {
                return;
            }
            world.net.pass(CLIENTS, id, 100).await;
            let Some(node) = world.node(id) else { return };
            executor::spawn_on(id, async move {
                let answer = work(node).await;
                executor::spawn_on(WORLD, async move {
                    if !world.net.loses(id, CLIENTS) {
                        world.net.pass(id, CLIENTS, 100).await;
                        let _ = sender.send(answer);
                    }
                });
            });
        });
        // A lost message looks like silence, not like an error.
        let answered = async {
            match receiver.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        };
        SimRt::timeout(PATIENCE, answered).await.ok()
    }

    /// Writes and reads until the end.
    pub async fn client(self, number: u64) {
        let mut rng = Rng::new(self.options.seed, 100 + number);
        let (mut target, mut count) = (1, 0u64);
        loop {
            SimRt::sleep(Duration::from_micros(rng.range(1_000, 80_000))).await;
            let key = rng.below(4);
            let floor = oracle::begins(key);
            if rng.chance(500) {
                count += 1;
                let value = number << 40 | count;
                let filling = if rng.chance(20) { rng.below(20_000) } else { rng.below(200) };
                let work = move |node: Node| -> BoxFuture<'static, Answer> {
                    Box::pin(async move { node.write(key, value, filling as usize).await })
                };
                match self.ask(target, work).await {
                    Some(Answer::Written(index)) => oracle::wrote(key, value, floor, index),
                    other => target = self.elsewhere(other, &mut rng),
                }
            } else {
                let id = self.any(&mut rng);
                let work = move |node: Node| -> BoxFuture<'static, Answer> {
                    Box::pin(async move { node.read(key).await })
                };
                match self.ask(id, work).await {
                    Some(Answer::Value(seen)) => oracle::read(id, key, floor, seen),
                    other => drop(self.elsewhere(other, &mut rng)),
                }
            }
        }
    }

    pub fn any(&self, rng: &mut Rng) -> usize {
        let ids = self.ids();
        ids[rng.below(ids.len() as u64) as usize]
    }

    fn elsewhere(&self, answer: Option<Answer>, rng: &mut Rng) -> usize {
        let any = self.any(rng);
        match answer {
            Some(Answer::NotLeader(leader)) => {
                oracle::counts(|counts| counts.refused += 1);
                leader.map_or(any, |leader| leader as usize)
            }
            _ => {
                oracle::counts(|counts| counts.unknown += 1);
                any
            }
        }
    }

    /// After all is well, a write is done soon and everybody has it.
    pub async fn expect_liveness(&self, rng: &mut Rng) {
        self.heal();
        let down = self.ids().into_iter().filter(|id| self.node(*id).is_none());
        down.collect::<Vec<_>>().into_iter().for_each(|id| self.again(id));
        let (began, mut target, mut written) = (since_start(), 1, None);
        let value = 1 << 60 | rng.next() >> 8;
        while since_start() - began < RECOVERY {
            let has = |id: &usize| self.node(*id).is_some_and(|n| Some(n.applied()) >= written);
            if written.is_some() && self.ids().iter().all(has) {
                trace::event(since_start(), "live", &[since_start() - began]);
                self.ids().into_iter().filter_map(|id| self.node(id)).for_each(|n| n.show_log());
                return;
            }
            if written.is_none() {
                let floor = oracle::begins(LIVE_KEY);
                let work = move |node: Node| -> BoxFuture<'static, Answer> {
                    Box::pin(async move { node.write(LIVE_KEY, value, 0).await })
                };
                match self.ask(target, work).await {
                    Some(Answer::Written(index)) => {
                        oracle::wrote(LIVE_KEY, value, floor, index);
                        written = Some(index);
                    }
                    other => target = self.elsewhere(other, rng),
                }
            }
            SimRt::sleep(Duration::from_millis(50)).await;
        }
        let status = |id: usize| self.node(id).map_or(format!("{id}: down"), |n| n.status());
        let status: Vec<String> = self.ids().into_iter().map(status).collect();
        oracle::fault(format!(
            "no progress 15 s after healing; written {written:?}; {}",
            status.join("; ")
        ));
    }

    /// Makes a voter of a node, however often it takes.
    pub async fn add(&self, id: usize) {
        let place = NodeId(id as u64);
        loop {
            if let Some(leader) = self.leader() {
                if leader.raft.status().voters.contains_key(&place) {
                    oracle::counts(|counts| counts.learners += 1);
                    return;
                }
                let (sender, receiver) = tokio::sync::oneshot::channel();
                executor::spawn_on(leader.id, async move {
                    if !leader.raft.status().learners.contains_key(&place) {
                        let _ = leader.raft.add_learner(place, "simulated").await;
                    }
                    let _ = leader.raft.promote(place).await;
                    let _ = sender.send(());
                });
                let _ = SimRt::timeout(Duration::from_secs(5), receiver).await;
            }
            SimRt::sleep(Duration::from_millis(100)).await;
        }
    }
}
