//! The life of a cluster: what goes wrong, and when all is well again.

use std::time::Duration;

use conclave_raft::{
    NodeId,
    executor::{self, SimRt, WORLD, rng::Rng, since_start, trace},
};
use openraft::AsyncRuntime;

use crate::{
    node::Node,
    oracle,
    world::{End, Options, World},
};

const SECOND: u64 = 1_000_000_000;
/// Kinds of trouble that a seed may have or not.
const SOMETIMES: u64 = 16;
/// All kinds of trouble, and of help.
const KINDS: u64 = 23;

/// One whole life.
pub async fn live(options: Options) {
    let world = World::new(options.clone());
    let _end = End(world.clone());
    let mut rng = Rng::new(options.seed, 3);
    {
        let (world, mut rng) = (world.clone(), Rng::new(options.seed, 5));
        executor::set_reaper(move |id| world.reap(id, &mut rng));
    }
    found(&world, &mut rng).await;
    for number in 1..=3 {
        executor::spawn_on(WORLD, world.clone().client(number));
    }
    if rng.chance(300) {
        let (world, after) = (world.clone(), rng.range(10, 100));
        executor::spawn_on(WORLD, async move {
            SimRt::sleep(Duration::from_secs(after)).await;
            let id = world.options.nodes + 1;
            world.start(id);
            world.add(id).await;
        });
    }
    let mut trouble = Trouble::new(&world, &mut rng);
    let end = options.seconds * SECOND;
    let is_over = || since_start() >= end || oracle::first_fault().is_some();
    while !is_over() {
        let calm = since_start() + rng.range(15, 40) * SECOND;
        while !is_over() && since_start() < calm {
            SimRt::sleep(Duration::from_micros(rng.range(10_000, trouble.pause_us))).await;
            trouble.disturb(&mut rng);
        }
        world.expect_liveness(&mut rng).await;
    }
}

/// Starts all nodes and makes voters of them, one by one, as a cluster grows.
async fn found(world: &World, rng: &mut Rng) {
    for id in 1..=world.options.nodes {
        executor::set_drift(id, rng.range(0, 400) as i64 - 200);
        world.start(id);
    }
    let first = loop {
        SimRt::sleep(Duration::from_millis(10)).await;
        if let Some(first) = world.node(1) {
            break first;
        }
    };
    let founding = executor::spawn_on(1, async move { first.raft.initialize("simulated").await });
    founding.await.expect("runs").expect("initializes");
    for id in 2..=world.options.nodes {
        world.add(id).await;
    }
}

/// What goes wrong in this life: no seed has all of it (swarm testing).
struct Trouble {
    world: World,
    kinds: u64,
    pause_us: u64,
}

impl Trouble {
    fn new(world: &World, rng: &mut Rng) -> Trouble {
        let (kinds, pause_us) = (rng.next() | rng.next(), rng.range(200_000, 4_000_000));
        Trouble { world: world.clone(), kinds, pause_us }
    }

    fn ids(&self) -> Vec<usize> {
        self.world.ids()
    }

    /// One thing goes wrong.
    fn disturb(&mut self, rng: &mut Rng) {
        let any = self.world.any(rng);
        let leader = self.world.leader().map(|node| node.id);
        let target = if rng.chance(500) { leader.unwrap_or(any) } else { any };
        let kind = loop {
            let kind = rng.below(KINDS);
            if kind >= SOMETIMES || self.kinds >> kind & 1 == 1 {
                break kind;
            }
        };
        trace::event(since_start(), "disturb", &[kind, target as u64]);
        match kind {
            0 | 1 => self.kill(&[target], kind == 0, rng),
            2 => self.kill(&self.ids(), true, rng),
            3 => {
                let majority: Vec<usize> = self.ids().into_iter().take(self.quorum()).collect();
                self.kill(&majority, true, rng);
            }
            4 | 5 => self.part(target, kind == 4, rng),
            6 => self.part_one_way(target, rng),
            7 => self.slow_network(rng),
            8 => {
                let disk = self.world.disk(target);
                disk.lock().unwrap().slow_factor = rng.range(5, 100);
            }
            9 => self.world.pause(target, true),
            10 | 11 => self.world.die_in_a_step(target, rng.below(60), kind == 10),
            12 => {
                let disk = self.world.disk(target);
                disk.lock().unwrap().failing_one_in = rng.range(2, 200);
            }
            13 => {
                let disk = self.world.disk(target);
                disk.lock().unwrap().is_full = true;
            }
            14 => self.kill_and_cut(target, rng),
            15 => {
                let other = self.world.any(rng);
                self.world.net.break_lines(target, other);
            }
            16 => self.snapshot(target),
            17 => self.world.pause(target, false),
            18 => self.ids().into_iter().for_each(|id| self.repair(id)),
            19 => self.hand_over(rng),
            _ => self.world.heal(),
        }
    }

    /// The leader hands over to another voter, which hears of it a little later.
    fn hand_over(&self, rng: &mut Rng) {
        let (Some(from), to) = (self.world.leader(), self.world.any(rng)) else { return };
        if from.id == to {
            return;
        }
        oracle::counts(|counts| counts.handovers += 1);
        let world = self.world.clone();
        executor::spawn_on(from.id, async move {
            let Some(handover) = from.raft.hand_over(NodeId(to as u64)).await else { return };
            executor::spawn_on(WORLD, async move {
                world.net.pass(from.id, to, 100).await;
                if let Some(node) = world.node(to) {
                    executor::spawn_on(to, async move { node.raft.take_over(handover).await });
                }
            });
        });
    }

    fn quorum(&self) -> usize {
        self.ids().len() / 2 + 1
    }

    fn kill(&self, ids: &[usize], is_power_cut: bool, rng: &mut Rng) {
        for id in ids {
            self.world.crash(*id, is_power_cut);
        }
        for id in ids {
            self.world.restart(*id, Duration::from_micros(rng.range(1_000, 3_000_000)));
        }
    }

    /// Both ways, around a node or a side.
    fn part(&self, target: usize, is_alone: bool, rng: &mut Rng) {
        oracle::counts(|counts| counts.partitions += 1);
        let side: Vec<usize> = match is_alone {
            true => vec![target],
            false => self.ids().into_iter().filter(|_| rng.chance(500)).collect(),
        };
        let ids = self.ids();
        self.world.net.change(|paths| {
            for (from, to) in ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))) {
                paths[from][to].is_cut = side.contains(&from) != side.contains(&to);
            }
        });
    }

    fn part_one_way(&self, target: usize, rng: &mut Rng) {
        oracle::counts(|counts| counts.partitions += 1);
        let is_out = rng.chance(500);
        let others: Vec<usize> =
            self.ids().into_iter().filter(|id| *id != target && rng.chance(700)).collect();
        self.world.net.change(|paths| {
            for other in others {
                let (from, to) = if is_out { (target, other) } else { (other, target) };
                paths[from][to].is_cut = true;
            }
        });
    }

    fn slow_network(&self, rng: &mut Rng) {
        let (loss, slowest) = (rng.below(300), rng.range(2_000, 400_000));
        let ids = self.ids();
        self.world.net.change(|paths| {
            for (from, to) in ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))) {
                paths[from][to].loss_permille = loss;
                paths[from][to].delay_us.1 = slowest;
            }
        });
    }

    /// Killed; and soon after it is back the power goes for all.
    fn kill_and_cut(&self, target: usize, rng: &mut Rng) {
        self.world.crash(target, false);
        let (back, cut) = (rng.range(1_000, 30_000), rng.range(1_000, 60_000));
        self.world.restart(target, Duration::from_micros(back));
        let (world, ids) = (self.world.clone(), self.ids());
        let pauses: Vec<u64> = ids.iter().map(|_| rng.range(1_000, 1_000_000)).collect();
        executor::spawn_on(WORLD, async move {
            SimRt::sleep(Duration::from_micros(back + cut)).await;
            ids.iter().for_each(|id| world.crash(*id, true));
            for (id, pause) in ids.into_iter().zip(pauses) {
                world.restart(id, Duration::from_micros(pause));
            }
        });
    }

    fn snapshot(&self, target: usize) {
        let Some(Node { raft, .. }) = self.world.node(target) else { return };
        executor::spawn_on(target, async move {
            let _ = raft.snapshot().await;
        });
    }

    /// The disk of a node works again.
    fn repair(&self, id: usize) {
        let disk = self.world.disk(id);
        let mut disk = disk.lock().unwrap();
        disk.slow_factor = 1;
        disk.is_full = false;
        disk.failing_one_in = 0;
    }
}
