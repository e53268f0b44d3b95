//! Campaign with a full disk: changes are refused with an error of their own, TLS continues,
//! nothing is lost, and the node recovers by itself once there is room.

use std::time::{Duration, Instant};

use anyhow::Context;
use conclave_api::problem::Code;

use super::{
    limits::PAGES_DEFAULT,
    scene::{Scene, Setting, breach, shorten},
};
use crate::{cluster::Started, workloads::set::is_definite};

/// Most bytes left free at first.
const ROOM_BYTES_MAX: u64 = 512 * 1024;
/// Most writes until one must be refused. Space prepared in advance has to be used up first.
const WRITES_MAX: usize = 4_000;
/// Longest time until a write must be refused.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(60);
/// Writes after the first refusal.
const MORE_WRITES: usize = 20;
/// Longest time until a node accepts changes again once there is room.
const ROOM_PATIENCE: Duration = Duration::from_secs(30);
/// Longest time until other nodes accept changes while one node's disk is full.
const OTHERS_PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);
/// Number of consecutive starts on a full disk.
const STARTS: u64 = 4;
/// Most bytes left free for such a start.
const START_ROOM_BYTES_MAX: u64 = 32 * 1024;

/// Counts of a campaign.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    pub(crate) fills: u64,
    pub(crate) writes: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) handshakes: u64,
    pub(crate) starts: u64,
    pub(crate) starts_refused: u64,
    /// Text of the first refusal.
    pub(crate) says: String,
}

/// Fills the disk of a node in each of `rounds` rounds.
pub(crate) async fn run(
    setting: Setting<'_>,
    rounds: u64,
    deadline: Instant,
) -> (Done, anyhow::Result<()>) {
    let mut done = Done::default();
    let result = all(setting, rounds, deadline, &mut done).await;
    (done, result)
}

async fn all(
    setting: Setting<'_>,
    rounds: u64,
    deadline: Instant,
    done: &mut Done,
) -> anyhow::Result<()> {
    let mut scene = Scene::set(setting, 0).await?;
    let port = scene.listen().await?;
    let wanted = scene.served().await?;
    for number in 1..=rounds {
        if Instant::now() > deadline {
            break;
        }
        let leader = scene.cluster.leader().await.unwrap_or(0);
        let place = if number % 2 == 1 { leader } else { scene.chance.place(scene.disks.len()) };
        let context = || format!("seed {}, full disk {number}", setting.seed);
        running(&mut scene, place, (port, &wanted), done).await.with_context(context)?;
        starting(&mut scene, place, done).await.with_context(context)?;
    }
    scene.judge()
}

/// Fills the disk of a node while it runs.
async fn running(
    scene: &mut Scene,
    place: usize,
    (port, wanted): (u16, &str),
    done: &mut Done,
) -> anyhow::Result<()> {
    scene.handshake(place, port, wanted)?;
    let room = scene.chance.below(ROOM_BYTES_MAX);
    let disk = scene.disks.get(place).context("no such disk")?;
    disk.leave_free(room);
    done.fills += 1;
    fill(scene, place, done).await?;
    if !scene.is_running(place) {
        let name = scene.name(place);
        scene.complain(format!("{name} ends when its disk is full"));
        scene.crash(place, None)?;
        scene.disks.get(place).context("no such disk")?.set_pages(PAGES_DEFAULT);
        return scene.start_and_check(scene.disks.len() == 1).await;
    }
    scene.handshake(place, port, wanted)?;
    done.handshakes += 1;
    if scene.disks.len() > 1 {
        let other = (place + 1) % scene.disks.len();
        let why = "although only another node's disk is full";
        if let Err(error) = goes_on(scene, other, OTHERS_PATIENCE, why).await {
            scene.complain(format!("{error:#}"));
        }
    }
    let disk = scene.disks.get(place).context("no such disk")?;
    disk.set_pages(PAGES_DEFAULT);
    goes_on(scene, place, ROOM_PATIENCE, "although there is room again").await?;
    scene.check(false).await
}

/// Writes through a node until it refuses a change because of its full disk.
async fn fill(scene: &mut Scene, place: usize, done: &mut Done) -> anyhow::Result<()> {
    let deadline = Instant::now() + REFUSAL_PATIENCE;
    let mut writer = scene.writer(place)?;
    let mut left = WRITES_MAX;
    let mut is_told = false;
    while left > 0 && Instant::now() < deadline && scene.is_running(place) {
        left -= 1;
        let Some(answer) = writer.step().await else { continue };
        done.writes += 1;
        let Err(failure) = answer else { continue };
        if !is_definite(&failure) {
            done.unknown += 1;
            continue;
        }
        if failure.code != Code::DiskFull {
            continue;
        }
        done.refused += 1;
        if !is_told {
            is_told = true;
            left = MORE_WRITES;
            done.says = format!("{} {failure}", failure.code.as_str());
        }
    }
    // In a larger cluster, a follower with a full disk may leave the writing to the others.
    if !is_told && scene.disks.len() == 1 && scene.is_running(place) {
        let name = scene.name(place);
        return Err(breach(format!(
            "{name}: no change is refused because of the full disk, after {} writes",
            done.writes
        )));
    }
    Ok(())
}

/// Waits until a change through a node succeeds.
async fn goes_on(
    scene: &mut Scene,
    place: usize,
    patience: Duration,
    why: &str,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let mut writer = scene.writer(place)?;
    loop {
        let answer = writer.step().await;
        match answer {
            Some(Ok(())) => return Ok(()),
            Some(Err(failure)) if Instant::now() > deadline => {
                let name = scene.name(place);
                let code = failure.code.as_str();
                return Err(breach(format!("{name} takes no change {why}: {code} {failure}")));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Starts a node on a full disk, and again when there is room.
async fn starting(scene: &mut Scene, place: usize, done: &mut Done) -> anyhow::Result<()> {
    let node = scene.cluster.nodes.get_mut(place).context("no such node")?;
    let is_stopped = node.stop()?;
    anyhow::ensure!(is_stopped, breach(format!("{} does not end after SIGTERM", node.name)));
    for _ in 0..STARTS {
        done.starts += 1;
        // Room for only the first steps of a start is worse than none.
        let room = scene.chance.below(START_ROOM_BYTES_MAX);
        scene.disks.get(place).context("no such disk")?.leave_free(room);
        let (started, name) = scene.try_start(place)?;
        match started {
            Started::Ended(words) => {
                done.starts_refused += 1;
                if words.contains("move data_dir away") {
                    let words = shorten(&words);
                    scene.complain(format!(
                        "{name} advises to throw its data away on a full disk: {words}"
                    ));
                }
            }
            Started::Ready => {}
            other => return Err(breach(format!("{name}: a start on a full disk: {other:?}"))),
        }
        scene.crash(place, None)?;
    }
    scene.disks.get(place).context("no such disk")?.set_pages(PAGES_DEFAULT);
    scene.start_and_check(scene.disks.len() == 1).await.context("after starts on a full disk")
}
