//! Fault-injection tests on real processes: runs a cluster, injects faults, records a history and
//! judges it.
#![allow(clippy::print_stdout, reason = "a verdict is for people")]

mod chance;
mod check;
mod cluster;
mod disk;
mod handshake;
mod history;
mod nemesis;
mod upgrade;
mod workloads;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::{
    chance::Chance,
    check::Verdict,
    cluster::Cluster,
    history::History,
    nemesis::{Nemesis, Victims},
};

/// Tries to make Conclave lose acknowledged writes.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a cluster, writes through all nodes, injects faults, reads everything back.
    Run(Run),
    /// Puts the nodes' data on a disk that loses and tears writes, fills up and flips bits, with
    /// faults at random points.
    Disk(disk::Disk),
    /// Upgrades a cluster of an earlier release while it is written to and read from.
    Upgrade(upgrade::Upgrade),
}

#[derive(clap::Args)]
struct Run {
    /// Number of nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Seconds of faults; fewer if the rounds are over earlier.
    #[arg(long, default_value_t = 60)]
    time: u64,
    /// Rounds of faults.
    #[arg(long, default_value_t = u32::MAX)]
    rounds: u32,
    /// The workload.
    #[arg(long, default_value = "set", value_parser = ["set"])]
    workload: String,
    /// Kinds of faults: kill, pause, term.
    #[arg(long, value_delimiter = ',', default_value = "kill,pause,term")]
    nemesis: Vec<Nemesis>,
    /// Nodes hit by a fault.
    #[arg(long, value_enum, default_value = "any")]
    victims: Victims,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Directory for logs, data and history.
    #[arg(long)]
    store: PathBuf,
    /// The conclave binary; by default the one beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
}

fn main() -> ExitCode {
    let verdict = match Args::parse().command {
        Command::Run(run) => {
            let runtime = tokio::runtime::Runtime::new();
            runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(judge(&run)))
        }
        Command::Disk(disk) => disk::judge(&disk),
        Command::Upgrade(upgrade) => {
            let runtime = tokio::runtime::Runtime::new();
            let judged = runtime.map_err(anyhow::Error::from);
            judged.and_then(|runtime| runtime.block_on(upgrade::judge(&upgrade)))
        }
    };
    match verdict {
        Ok(Verdict::Valid) => {
            println!("valid");
            ExitCode::SUCCESS
        }
        Ok(Verdict::Invalid(why)) => {
            println!("INVALID: {why}");
            ExitCode::from(1)
        }
        Ok(Verdict::Skipped(why)) => {
            println!("SKIPPED: {why}");
            ExitCode::SUCCESS
        }
        Ok(Verdict::Unknown(why)) => {
            println!("unknown: {why}");
            ExitCode::from(2)
        }
        Err(error) => {
            println!("unknown: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns the path of the program to test: the named one, or the one beside this program.
fn binary(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let binary = match named {
        Some(named) => std::path::absolute(named)?,
        None => std::env::current_exe()?.with_file_name("conclave"),
    };
    anyhow::ensure!(binary.exists(), "{} is missing: cargo build -p conclave", binary.display());
    Ok(binary)
}

async fn judge(run: &Run) -> anyhow::Result<Verdict> {
    std::fs::create_dir_all(&run.store).context("the store cannot be made")?;
    let binary = binary(run.binary.as_deref())?;
    let history = Arc::new(History::create(&run.store.join("history.jsonl"))?);
    let mut cluster = Cluster::start(&binary, &run.store, run.nodes).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = workloads::set::start(&cluster, &history, &stop, ("w", 1));
    let started = Instant::now();
    let mut chance = Chance::new(run.seed);
    let mut rounds = 0;
    while rounds < run.rounds && started.elapsed() < Duration::from_secs(run.time) {
        nemesis::round((&run.nemesis, run.victims), &mut chance, &mut cluster, &history).await?;
        rounds += 1;
    }
    stop.store(true, Ordering::Relaxed);
    cluster.start_all()?;
    for writer in writers {
        writer.await?;
    }
    let found = workloads::set::read_back(&cluster, &history).await?;
    let verdict = check::set(&history.events(), &found);
    let acknowledged = history.count("ok");
    println!(
        "{rounds} rounds, {acknowledged} acknowledged writes, {} refused, {} unknown",
        history.count("fail"),
        history.count("info")
    );
    Ok(verdict)
}
