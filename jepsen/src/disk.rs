//! The command `conclave-jepsen disk`: nodes on disks that lose and tear writes, fill up and flip
//! bits.

mod broken;
mod content;
mod crash;
mod device;
mod directory;
mod fault;
mod file;
mod flip;
mod full;
mod ledger;
mod limits;
mod mount;
mod scene;
#[cfg(test)]
mod tests;
mod value;
mod volume;
mod writer;

use std::{
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::ValueEnum;

use self::{
    crash::Kinds,
    device::Disk as Mount,
    scene::{Breach, Setting},
    value::Size,
};
use crate::check::Verdict;

/// Fault of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL in the middle of a disk call.
    Crash,
    /// The same, followed by a power cut.
    Power,
    /// Reads, writes and syncs fail.
    Eio,
    /// The disk is full.
    Enospc,
    /// Single bits are flipped.
    Flip,
}

/// Fewest and most tries of a fault. In between, the number is proportional to the crash points.
const TRIES_MIN: u64 = 8;
const TRIES_MAX: u64 = 100;
const FLIPS_MAX: u64 = 200;
const ROUNDS_MIN: u64 = 1;
const ROUNDS_MAX: u64 = 10;

/// Arguments of `conclave-jepsen disk`.
#[derive(Debug, clap::Args)]
pub(crate) struct Disk {
    /// Number of crash points. The tries of other faults are proportional to it.
    #[arg(long, default_value_t = 1_000)]
    crash_points: u64,
    /// Number of nodes, usually 1 or 3.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Sizes of the written values.
    #[arg(long, value_delimiter = ',', default_value = "mixed")]
    values: Vec<Size>,
    /// Faults of the disk.
    #[arg(long, value_delimiter = ',', default_value = "crash,power,eio,enospc,flip")]
    faults: Vec<Fault>,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Clusters run at the same time. By default two if each has one node, otherwise one.
    #[arg(long)]
    lanes: Option<u64>,
    /// Directory for logs and broken disks.
    #[arg(long)]
    store: PathBuf,
    /// The conclave binary; by default the one beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Make everything written before the first fault durable, synced or not, as the system does
    /// within half a minute.
    #[arg(long)]
    settle: bool,
    /// Log level of the nodes, as `[log] level` in their configuration: "warn,openraft=debug".
    #[arg(long)]
    log: Option<String>,
    /// Time limit in seconds. Whatever is not done by then is left out.
    #[arg(long, default_value_t = 3_600)]
    time: u64,
    /// If no disk can be mounted, end with "unknown" instead of skipping. CONCLAVE_TEST_ALL=1 does
    /// the same.
    #[arg(long)]
    require: bool,
}

/// Runs the campaign.
pub(crate) fn judge(disk: &Disk) -> anyhow::Result<Verdict> {
    std::fs::create_dir_all(&disk.store).context("the store cannot be made")?;
    let binary = crate::binary(disk.binary.as_deref())?;
    if let Err(error) = Mount::mount(&disk.store.join("probe")) {
        let is_required = disk.require || std::env::var_os("CONCLAVE_TEST_ALL").is_some();
        let why = format!("{error:#}; it needs /dev/fuse, and root or fusermount3 (Debian: fuse3)");
        return Ok(if is_required { Verdict::Unknown(why) } else { Verdict::Skipped(why) });
    }
    let setting = Setting {
        binary: &binary,
        store: &disk.store,
        nodes: disk.nodes,
        sizes: &disk.values,
        seed: disk.seed,
        settles: disk.settle,
        log: disk.log.as_deref(),
    };
    let deadline = Instant::now() + Duration::from_secs(disk.time);
    match run(disk, setting, deadline) {
        Ok(()) => Ok(Verdict::Valid),
        Err(error) if error.chain().any(|cause| cause.is::<Breach>()) => {
            Ok(Verdict::Invalid(format!("{error:#}")))
        }
        Err(error) => Err(error),
    }
}

fn run(disk: &Disk, setting: Setting<'_>, deadline: Instant) -> anyhow::Result<()> {
    let has = |fault: Fault| disk.faults.contains(&fault);
    let kinds = Kinds { kill: has(Fault::Crash), power: has(Fault::Power) };
    if kinds.kill || kinds.power {
        let store = disk.store.join("crash");
        crashes(disk, Setting { store: &store, ..setting }, kinds, deadline)?;
    }
    let runtime = runtime()?;
    let store = |phase: &str| disk.store.join(phase);
    if has(Fault::Eio) {
        let store = store("eio");
        let setting = Setting { store: &store, ..setting };
        let tries = (disk.crash_points / 10).clamp(TRIES_MIN, TRIES_MAX);
        let started = Instant::now();
        let (done, result) = runtime.block_on(broken::run(setting, tries, deadline));
        println!(
            "eio: {} faults in {} s; writes and syncs: {} nodes ended, {} went on; reads while \
             starting: {} refused, {} ready; {}",
            done.faults,
            started.elapsed().as_secs(),
            done.ended,
            done.went_on,
            done.starts_refused,
            done.starts_ready,
            told(&result)
        );
        result?;
    }
    if has(Fault::Enospc) {
        let store = store("enospc");
        let setting = Setting { store: &store, ..setting };
        let rounds = (disk.crash_points / 100).clamp(ROUNDS_MIN, ROUNDS_MAX);
        let started = Instant::now();
        let (done, result) = runtime.block_on(full::run(setting, rounds, deadline));
        println!(
            "enospc: {} times full in {} s; {} writes, {} refused ({}), {} unknown; {} handshakes \
             meanwhile; {} starts on a full disk, {} refused; {}",
            done.fills,
            started.elapsed().as_secs(),
            done.writes,
            done.refused,
            if done.says.is_empty() { "-" } else { &done.says },
            done.unknown,
            done.handshakes,
            done.starts,
            done.starts_refused,
            told(&result)
        );
        result?;
    }
    if has(Fault::Flip) {
        let store = store("flip");
        let setting = Setting { store: &store, ..setting };
        let flips = disk.crash_points.clamp(TRIES_MIN, FLIPS_MAX);
        let started = Instant::now();
        let (done, result) = runtime.block_on(flip::run(setting, flips, deadline));
        println!(
            "flip: {} bits in {} s; {} starts with all data, {} refused with the file's name; {}",
            done.flips,
            started.elapsed().as_secs(),
            done.recovered,
            done.refused,
            told(&result)
        );
        result?;
    }
    Ok(())
}

fn told(result: &anyhow::Result<()>) -> &'static str {
    if result.is_ok() { "0 lost" } else { "BROKEN" }
}

/// Runs the crash points in parallel lanes.
fn crashes(
    disk: &Disk,
    setting: Setting<'_>,
    kinds: Kinds,
    deadline: Instant,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let lanes = disk.lanes.unwrap_or(if disk.nodes == 1 { 2 } else { 1 }).max(1);
    let total = Mutex::new((crash::Done::default(), Ok(())));
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let share = disk.crash_points / lanes + u64::from(lane < disk.crash_points % lanes);
            let total = &total;
            scope.spawn(move || {
                let ran = runtime().map(|runtime| {
                    runtime.block_on(crash::run(setting, (lane, share), kinds, deadline))
                });
                let (done, result) =
                    ran.unwrap_or_else(|error| (crash::Done::default(), Err(error)));
                let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                total.0.add(done);
                if let Err(error) = result {
                    total.1 = Err(error);
                }
            });
        }
    });
    let (done, result) = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "crash: {} points ({} with a power cut, {} of all nodes, {} more while starting) in {} s; \
         {} disk calls; writes: {} acknowledged, {} refused, {} unknown; {}",
        done.points,
        done.cuts,
        done.all_nodes,
        done.in_start,
        started.elapsed().as_secs(),
        done.calls,
        done.counts.acknowledged,
        done.counts.refused,
        done.counts.unknown,
        told(&result),
    );
    result
}

/// Creates the runtime for the tasks of one lane. It has a thread of its own, because the lane's
/// thread may block on processes.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}
