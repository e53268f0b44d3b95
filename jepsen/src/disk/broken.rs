//! Campaign with EIO: after a failed sync a node must not continue as if the data were durable, and
//! a start that fails to read a file must name it.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::{
    fault::{Call, Rule},
    file::Survival,
    scene::{Scene, Setting, breach, names, shorten},
};
use crate::cluster::Started;

/// Longest wait for a fault to occur.
const FAULT_PATIENCE: Duration = Duration::from_secs(3);
/// Time allowed to a node after the fault, while writers write.
const AFTER: Duration = Duration::from_millis(1_500);
const LOOK: Duration = Duration::from_millis(10);
/// Latest write or sync made to fail.
const CALLS_MAX: u64 = 60;
/// Latest read of a start made to fail.
const READS_MAX: u64 = 120;

/// Counts of a campaign.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) faults: u64,
    pub(crate) ended: u64,
    pub(crate) went_on: u64,
    pub(crate) starts_refused: u64,
    pub(crate) starts_ready: u64,
}

/// Makes disk calls fail, in each of `tries` tries.
pub(crate) async fn run(
    setting: Setting<'_>,
    tries: u64,
    deadline: Instant,
) -> (Done, anyhow::Result<()>) {
    let mut done = Done::default();
    let result = all(setting, tries, deadline, &mut done).await;
    (done, result)
}

async fn all(
    setting: Setting<'_>,
    tries: u64,
    deadline: Instant,
    done: &mut Done,
) -> anyhow::Result<()> {
    let mut scene = Scene::set(setting, 0).await?;
    for number in 1..=tries {
        if Instant::now() > deadline {
            break;
        }
        let tried = match scene.chance.below(4) {
            0 | 1 => running(&mut scene, Call::Sync, done).await,
            2 => running(&mut scene, Call::Write, done).await,
            _ => starting(&mut scene, done).await,
        };
        tried.with_context(|| format!("seed {}, fault {number}", setting.seed))?;
    }
    scene.judge()
}

/// Makes a write or sync fail while writers write. Then cuts the power, and nothing unsynced
/// survives.
async fn running(scene: &mut Scene, call: Call, done: &mut Done) -> anyhow::Result<()> {
    let all = scene.disks.len();
    let place = scene.chance.place(all);
    let count = if scene.chance.percent(50) { 1 } else { u64::MAX };
    let skip = scene.chance.below(CALLS_MAX);
    let disk = scene.disks.get(place).context("no such disk")?;
    disk.fail(Rule { call, path: String::new(), skip, count });
    scene.start_writers()?;
    let deadline = Instant::now() + FAULT_PATIENCE;
    let is_met = |scene: &Scene| scene.disks.get(place).is_some_and(|disk| disk.has_failed());
    while !is_met(scene) && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    if is_met(scene) {
        done.faults += 1;
        let deadline = Instant::now() + AFTER;
        while scene.is_running(place) && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        if scene.is_running(place) {
            done.went_on += 1;
        } else {
            done.ended += 1;
        }
    }
    scene.stop_writers().await;
    let failed = scene.disks.get(place).map(|disk| disk.failed()).unwrap_or_default();
    scene.crash(place, Some(Survival::Nothing))?;
    let failed = failed.first().cloned().unwrap_or_default();
    scene.start_and_check(all == 1).await.with_context(|| format!("after EIO for {failed}"))
}

/// Makes a read fail while a node starts.
async fn starting(scene: &mut Scene, done: &mut Done) -> anyhow::Result<()> {
    let all = scene.disks.len();
    let place = scene.chance.place(all);
    scene.crash(place, None)?;
    let skip = scene.chance.below(READS_MAX);
    let disk = scene.disks.get(place).context("no such disk")?;
    disk.fail(Rule { call: Call::Read, path: String::new(), skip, count: 1 });
    let (started, name) = scene.try_start(place)?;
    let disk = scene.disks.get(place).context("no such disk")?;
    let failed = disk.failed().first().cloned();
    match (started, failed) {
        (Started::Ready, None) => {}
        (Started::Ready, Some(_)) => {
            done.faults += 1;
            done.starts_ready += 1;
        }
        (Started::Ended(words), Some(failed)) => {
            done.faults += 1;
            done.starts_refused += 1;
            let path = failed.trim_start_matches("Read ");
            if !names(&words, disk.path(), path.as_ref()) {
                let words = shorten(&words);
                scene.complain(format!(
                    "{name} does not name {path}, which it could not read: {words}"
                ));
            }
        }
        (other, failed) => {
            return Err(breach(format!("{name}: {other:?} after EIO for {failed:?}")));
        }
    }
    scene.crash(place, None)?;
    scene.start_and_check(all == 1).await
}
