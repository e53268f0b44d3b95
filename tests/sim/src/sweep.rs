//! One life after another, on all cores.

use std::{
    fs,
    ops::Range,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use conclave_raft::{
    executor::{self, trace},
    mutant::{self, Mutant},
};

use crate::{
    life::live,
    oracle::{self, Counts},
    world::Options,
};

/// Which lives are lived.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seeds: Range<u64>,
    pub seconds: u64,
    pub nodes: usize,
    pub mutant: Mutant,
    /// A file for everything that happens, for one seed.
    pub trace: Option<String>,
    /// Whether the log of the nodes is shown.
    pub has_log: bool,
}

/// Faults with their names, and within how many lives of how many seconds they are found.
const MUTANTS: [(&str, Mutant, u64, u64); 6] = [
    ("acknowledge", Mutant::AcknowledgeBeforeSync, 40, 600),
    ("vote", Mutant::VoteNotPersisted, 10, 300),
    ("open", Mutant::NoSyncAtOpen, 200, 600),
    ("purge", Mutant::PurgeBeforeDurable, 40, 300),
    ("restore", Mutant::LeaderRestore, 20, 600),
    ("read", Mutant::ReadWithoutQuorum, 10, 300),
];

/// The fault of that name.
pub fn mutant_named(name: &str) -> Result<Mutant, String> {
    let found = MUTANTS.iter().find(|(known, ..)| *known == name);
    found.map(|(_, mutant, ..)| *mutant).ok_or_else(|| format!("no mutant: {name}"))
}

fn name_of(mutant: Mutant) -> Option<&'static str> {
    MUTANTS.iter().find(|(_, known, ..)| *known == mutant).map(|(name, ..)| *name)
}

/// How a life ended.
pub struct Ended {
    seed: u64,
    pub fault: Option<String>,
    pub hash: u64,
    pub events: u64,
    nanos: u64,
    counts: Counts,
}

/// What came of many lives.
#[derive(Default)]
struct Sum {
    lives: u64,
    faults: Vec<(u64, String)>,
    simulated: f64,
    counts: Counts,
}

impl Plan {
    pub fn life(&self, seed: u64, dir: PathBuf) -> Ended {
        trace::reset(self.trace.as_deref());
        oracle::reset();
        mutant::plant(self.mutant);
        let options = Options { nodes: self.nodes, seed, seconds: self.seconds, dir };
        let ended = executor::run(seed, async move {
            live(options).await;
            executor::since_start()
        });
        let fault = oracle::first_fault().or(ended.as_ref().err().cloned());
        let (hash, events) = trace::result();
        let nanos = ended.unwrap_or_default();
        Ended { seed, fault, hash, events, nanos, counts: oracle::counts(|counts| counts.clone()) }
    }

    /// The line that repeats a life.
    fn repeat(&self, seed: u64) -> String {
        let mutant = name_of(self.mutant).map_or(String::new(), |name| format!(" --mutant {name}"));
        format!("cargo sim --seed {seed} --seconds {} --nodes {}{mutant}", self.seconds, self.nodes)
    }

    /// Lives through all seeds; ends with the first fault if `is_short`.
    fn run(&self, is_short: bool, tell: &(dyn Fn(&Ended) + Sync)) -> Sum {
        let (next, sum) = (AtomicU64::new(self.seeds.start), Mutex::new(Sum::default()));
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let threads = threads.min(self.seeds.end - self.seeds.start);
        std::thread::scope(|scope| {
            for number in 0..threads {
                let (next, sum) = (&next, &sum);
                scope.spawn(move || {
                    let dir = directory(number);
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end {
                            break;
                        }
                        let ended = self.life(seed, dir.clone());
                        tell(&ended);
                        let mut sum = sum.lock().expect("no panic");
                        sum.lives += 1;
                        sum.simulated += ended.nanos as f64 / 1e9;
                        sum.counts.add(&ended.counts);
                        if let Some(fault) = ended.fault {
                            sum.faults.push((seed, fault));
                            if is_short {
                                next.store(self.seeds.end, Ordering::Relaxed);
                            }
                        }
                    }
                    let _ = fs::remove_dir_all(&dir);
                });
            }
        });
        sum.into_inner().expect("no panic")
    }
}

/// Files of snapshots of one thread.
fn directory(thread: u64) -> PathBuf {
    std::env::temp_dir().join(format!("conclave-sim-{}-{thread}", std::process::id()))
}

fn start_log(has_log: bool) {
    if has_log {
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr);
        let format = format.without_time();
        format.with_env_filter("info,openraft=debug").init();
    } else {
        // A panic ends a life with a fault, and the fault is told.
        std::panic::set_hook(Box::new(|_| {}));
    }
}

/// Lives through a plan and tells what came of it.
pub fn run_plan(plan: &Plan) -> ExitCode {
    start_log(plan.has_log);
    let began = Instant::now();
    let is_one = plan.seeds.end - plan.seeds.start == 1;
    let sum = plan.run(false, &|ended| {
        if let Some(fault) = &ended.fault {
            println!("seed {}: {fault}\n    {}", ended.seed, plan.repeat(ended.seed));
        }
        if is_one {
            println!("seed {} hash {:016x} events {}", ended.seed, ended.hash, ended.events);
        }
    });
    print(&sum, began.elapsed());
    if sum.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(sum: &Sum, took: Duration) {
    println!("{:?}", sum.counts);
    println!(
        "{} lives, {:.2} h simulated in {:.1} s: {:.0} times as fast; {} faults",
        sum.lives,
        sum.simulated / 3600.0,
        took.as_secs_f64(),
        sum.simulated / took.as_secs_f64(),
        sum.faults.len()
    );
}

/// Plants each fault, and sees that it is found; and that none is found without one.
pub fn run_mutants(nodes: usize) -> ExitCode {
    start_log(false);
    let mut is_fine = true;
    for (name, mutant, lives, seconds) in MUTANTS {
        let began = Instant::now();
        let seeds = 1..lives + 1;
        let plan = Plan { seeds, seconds, nodes, mutant, trace: None, has_log: false };
        let sum = plan.run(true, &|_| {});
        let took = began.elapsed().as_secs_f64();
        match sum.faults.first() {
            Some((seed, fault)) => println!(
                "{name}: found in {} lives, {:.0} s simulated, {took:.1} s: {fault}\n    {}",
                sum.lives,
                sum.simulated,
                plan.repeat(*seed)
            ),
            None => {
                is_fine = false;
                println!("{name}: NOT found in {lives} lives of {seconds} s, {took:.1} s");
            }
        }
    }
    let (seeds, mutant) = (1..41, Mutant::None);
    let plan = Plan { seeds, seconds: 300, nodes, mutant, trace: None, has_log: false };
    let sum = plan.run(false, &|ended| {
        if let Some(fault) = &ended.fault {
            println!("no mutant, seed {}: {fault}\n    {}", ended.seed, plan.repeat(ended.seed));
        }
    });
    println!("no mutant: {} faults in {} lives", sum.faults.len(), sum.lives);
    if is_fine && sum.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
