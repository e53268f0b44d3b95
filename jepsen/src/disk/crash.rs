//! Campaign with crashes at random points: in the middle of any write, sync or rename, also during
//! a start.

use std::time::{Duration, Instant};

use super::{
    file::Survival,
    ledger::Counts,
    scene::{Scene, Setting},
};

/// Longest wait for the call of a crash point.
const POINT_PATIENCE: Duration = Duration::from_secs(3);
/// Probability of a crash during a start, in percent.
const IN_START_PERCENT: u64 = 25;
/// Latest disk call of a start at which it crashes.
const START_CALLS_MAX: u64 = 80;
/// Range of the disk call at which a run crashes: at most twice this power of two.
const RUN_CALLS_BITS_MAX: u64 = 9;
/// Probability of slow syncs in a run, in percent. With them, more writes wait for one sync.
const SLOW_PERCENT: u64 = 20;
/// Longest delay of a slow sync, in milliseconds.
const SYNC_MS_MAX: u64 = 30;
/// Polling interval for a frozen disk.
const LOOK: Duration = Duration::from_millis(5);

/// Kinds of crashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds {
    /// SIGKILL alone: written data stays in the page cache.
    pub(crate) kill: bool,
    /// SIGKILL followed by a power cut.
    pub(crate) power: bool,
}

/// Counts of a campaign.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) points: u64,
    pub(crate) in_start: u64,
    pub(crate) cuts: u64,
    pub(crate) all_nodes: u64,
    pub(crate) calls: u64,
    pub(crate) counts: Counts,
}

impl Done {
    pub(crate) fn add(&mut self, other: Done) {
        self.points += other.points;
        self.in_start += other.in_start;
        self.cuts += other.cuts;
        self.all_nodes += other.all_nodes;
        self.calls += other.calls;
        self.counts.acknowledged += other.counts.acknowledged;
        self.counts.refused += other.counts.refused;
        self.counts.unknown += other.counts.unknown;
    }
}

/// Crashes one scene repeatedly. Returns the counts even if a promise was broken.
pub(crate) async fn run(
    setting: Setting<'_>,
    (lane, points): (u64, u64),
    kinds: Kinds,
    deadline: Instant,
) -> (Done, anyhow::Result<Option<Scene>>) {
    let mut done = Done::default();
    let mut scene = match Scene::set(setting, lane).await {
        Ok(scene) => scene,
        Err(error) => return (done, Err(error)),
    };
    let mut result = Ok(());
    while result.is_ok() && done.points < points && Instant::now() < deadline {
        let number = done.points + 1;
        result = point(&mut scene, kinds, &mut done).await.map_err(|error| {
            error.context(format!("seed {}, lane {lane}, crash point {number}", setting.seed))
        });
    }
    scene.stop_writers().await;
    if result.is_ok() {
        result = scene.start_and_check(false).await;
    }
    done.counts = scene.plan.ledger.counts();
    done.calls = scene.disks.iter().map(super::device::Disk::counted).sum();
    (done, result.map(|()| Some(scene)))
}

async fn point(scene: &mut Scene, kinds: Kinds, done: &mut Done) -> anyhow::Result<()> {
    done.points += 1;
    let all = scene.disks.len();
    let is_all = all == 1 || scene.chance.percent(50);
    let victims: Vec<usize> =
        if is_all { (0..all).collect() } else { vec![scene.chance.place(all)] };
    let is_cut = kinds.power && (!kinds.kill || scene.chance.percent(75));
    done.cuts += u64::from(is_cut);
    done.all_nodes += u64::from(is_all);
    let delay =
        if scene.chance.percent(SLOW_PERCENT) { scene.chance.below(SYNC_MS_MAX) } else { 0 };
    for disk in &scene.disks {
        disk.delay_syncs(Duration::from_millis(delay));
    }
    scene.start_writers()?;
    arm(scene, &victims);
    wait(scene, &victims).await;
    if is_all {
        // All nodes share one power supply, so the disks not yet frozen stop here too.
        for disk in &scene.disks {
            disk.freeze();
        }
    } else {
        for victim in &victims {
            if let Some(disk) = scene.disks.get(*victim) {
                disk.freeze();
            }
        }
    }
    if is_all {
        scene.stop_writers().await;
    }
    for victim in &victims {
        let survival = is_cut.then(|| Survival::any(&mut scene.chance));
        scene.crash(*victim, survival)?;
    }
    crash_in_start(scene, &victims, is_cut, done)?;
    scene.stop_writers().await;
    scene.start_and_check(is_all).await
}

/// Sets the crash points of a run. The distribution is logarithmic, so that near ones are as likely
/// as far ones.
fn arm(scene: &mut Scene, victims: &[usize]) {
    for victim in victims {
        let bits = scene.chance.below(RUN_CALLS_BITS_MAX + 1);
        let call = (1 << bits) + scene.chance.below(1 << bits);
        if let Some(disk) = scene.disks.get(*victim) {
            disk.crash_at(call);
        }
    }
}

/// Waits until the disk of a victim is frozen.
async fn wait(scene: &Scene, victims: &[usize]) {
    let deadline = Instant::now() + POINT_PATIENCE;
    let is_frozen =
        || victims.iter().any(|one| scene.disks.get(*one).is_some_and(|disk| disk.is_frozen()));
    while !is_frozen() && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

/// Randomly crashes the start after a crash too, possibly several times in a row.
fn crash_in_start(
    scene: &mut Scene,
    victims: &[usize],
    is_cut: bool,
    done: &mut Done,
) -> anyhow::Result<()> {
    for victim in victims {
        while scene.chance.percent(IN_START_PERCENT) {
            let call = 1 + scene.chance.below(START_CALLS_MAX);
            if let Some(disk) = scene.disks.get(*victim) {
                disk.crash_at(call);
            }
            // A start with fewer calls becomes ready, and is crashed then.
            if !scene.start(*victim)? {
                done.in_start += 1;
            }
            let survival = is_cut.then(|| Survival::any(&mut scene.chance));
            scene.crash(*victim, survival)?;
        }
    }
    Ok(())
}
