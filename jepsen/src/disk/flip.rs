//! Campaign with flipped bits: a node must recover with all acknowledged writes, or refuse to start
//! and name the file.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    scene::{Scene, Setting, breach, names, shorten},
    volume::Volume,
};
use crate::{chance::Chance, cluster::Started};

/// Time in which the marker follows the log. A bit flipped in the last group of the log that the
/// marker does not know yet cannot be told from a torn write.
const MARKER_FOLLOWS: Duration = Duration::from_millis(600);
/// Writes before the first flip.
const WRITES: usize = 120;
/// Number of attempts to find a byte that is not zero: most bytes of a file prepared in advance
/// are.
const PLACES: u64 = 32;

/// Counts of a campaign.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) flips: u64,
    pub(crate) recovered: u64,
    pub(crate) refused: u64,
}

/// Flips one bit in each of `flips` tries.
pub(crate) async fn run(
    setting: Setting<'_>,
    flips: u64,
    deadline: Instant,
) -> (Done, anyhow::Result<()>) {
    let mut done = Done::default();
    let result = all(setting, flips, deadline, &mut done).await;
    (done, result)
}

async fn all(
    setting: Setting<'_>,
    flips: u64,
    deadline: Instant,
    done: &mut Done,
) -> anyhow::Result<()> {
    let mut scene = Scene::set(Setting { nodes: 1, ..setting }, 0).await?;
    scene.write(WRITES).await?;
    tokio::time::sleep(MARKER_FOLLOWS).await;
    scene.crash(0, None)?;
    let killed = image(&scene)?;
    scene.start_and_check(true).await?;
    scene.cluster.nodes.first_mut().context("no node")?.stop()?;
    let images = [killed, image(&scene)?];
    for number in 1..=flips {
        if Instant::now() > deadline {
            break;
        }
        let image = images.get(scene.chance.place(images.len())).context("no image")?;
        flip(&mut scene, image, done)
            .await
            .with_context(|| format!("seed {}, flip {number}", setting.seed))?;
    }
    scene.judge()
}

fn image(scene: &Scene) -> anyhow::Result<Volume> {
    Ok(scene.disks.first().context("no disk")?.image())
}

async fn flip(scene: &mut Scene, image: &Volume, done: &mut Done) -> anyhow::Result<()> {
    let disk = scene.disks.first().context("no disk")?;
    disk.restore(image);
    let (path, offset) = place(image, &mut scene.chance).context("the disk is empty")?;
    let bit = u32::try_from(scene.chance.below(8)).unwrap_or(0);
    disk.flip(&path, offset, bit);
    let mount = disk.path().to_owned();
    done.flips += 1;
    let (started, _) = scene.try_start(0)?;
    let result = match started {
        Started::Ready => {
            done.recovered += 1;
            scene.check(true).await
        }
        Started::Ended(words) if names(&words, &mount, &path) => {
            done.refused += 1;
            Ok(())
        }
        Started::Ended(words) => {
            let (words, path) = (shorten(&words), path.display());
            scene.complain(format!(
                "bit {bit} of byte {offset} of {path}: the refusal does not name it: {words}"
            ));
            Ok(())
        }
        other => Err(breach(format!("the start ends with {other:?}"))),
    };
    scene.crash(0, None)?;
    result.with_context(|| format!("bit {bit} of byte {offset} of {}", path.display()))
}

/// Chooses a file, each with equal probability, and an offset in it, most often one in use.
fn place(image: &Volume, chance: &mut Chance) -> Option<(PathBuf, u64)> {
    let files: Vec<_> = image.files();
    let files: Vec<_> = files
        .into_iter()
        .filter_map(|(path, number)| Some((path, image.file(number).ok()?)))
        .filter(|(_, file)| file.durable().size() > 0)
        .collect();
    let (path, file) = files.get(chance.place(files.len()))?;
    let size = file.durable().size();
    let mut offset = chance.below(size);
    for _ in 0..PLACES {
        if file.durable().read(offset, 1) != [0] {
            break;
        }
        // The used part of a file is often small and at its beginning.
        let bound = 1 + chance.below(size);
        offset = chance.below(bound);
    }
    Some((path.clone(), offset))
}
