//! Whole clusters in one thread each, in which a seed decides everything.
//!
//! `cargo sim --seed N` lives through one cluster's life again, `cargo sim --sweep FROM..TO`
//! through many, and `cargo sim --mutants` sees whether planted faults are found.

mod disk;
mod life;
mod machine;
mod net;
mod node;
mod oracle;
mod sweep;
#[cfg(test)]
mod tests;
mod world;

use std::{ops::Range, process::ExitCode};

use conclave_raft::mutant::Mutant;
use sweep::{Plan, mutant_named, run_mutants, run_plan};

const USAGE: &str = "\
cargo sim --seed N [--seconds S] [--nodes 3|5] [--mutant NAME] [--trace FILE] [--log]
cargo sim --sweep FROM..TO [--seconds S] [--nodes 3|5] [--mutant NAME]
cargo sim --mutants [--nodes 3|5]

NAME: acknowledge, vote, open, purge, restore, read";

fn main() -> ExitCode {
    match arguments() {
        Ok(Asked::Plan(plan)) => run_plan(&plan),
        Ok(Asked::Mutants { nodes }) => run_mutants(nodes),
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

enum Asked {
    Plan(Plan),
    Mutants { nodes: usize },
}

fn arguments() -> Result<Asked, String> {
    let mut plan = Plan {
        seeds: 0..0,
        seconds: 300,
        nodes: 3,
        mutant: Mutant::None,
        trace: None,
        has_log: false,
    };
    let mut is_mutants = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("no number: {text}"));
        match arg.as_str() {
            "--seed" => {
                let seed = number(value()?)?;
                plan.seeds = seed..seed + 1;
            }
            "--sweep" => plan.seeds = range(&value()?)?,
            "--seconds" => plan.seconds = number(value()?)?,
            "--nodes" => plan.nodes = number(value()?)? as usize,
            "--mutant" => plan.mutant = mutant_named(&value()?)?,
            "--trace" => plan.trace = Some(value()?),
            "--log" => plan.has_log = true,
            "--mutants" => is_mutants = true,
            other => return Err(format!("unknown: {other}")),
        }
    }
    if ![3, 5].contains(&plan.nodes) {
        return Err("3 or 5 nodes".to_owned());
    }
    match (is_mutants, plan.seeds.is_empty()) {
        (true, _) => Ok(Asked::Mutants { nodes: plan.nodes }),
        (false, false) => Ok(Asked::Plan(plan)),
        (false, true) => Err("which seeds?".to_owned()),
    }
}

/// `1..200`, both ends included.
fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("no range: {text}");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to): (u64, u64) =
        (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    Ok(from..to + 1)
}
