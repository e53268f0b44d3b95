//! TLS termination beside its neighbours: each server has core 0 to itself, load and upstream have
//! core 1. A handshake is TLS 1.3 with P-256, with the connection to the upstream and one byte
//! there and back.
//!
//! The machine is seldom quiet, so that each figure is taken of all servers by turns, several
//! times, and beside what passed in a second stands what passed in a second of the server's
//! processor time.

mod load;
pub(crate) mod peers;

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use conclave_tests::{Pair, has_program};
use tokio::runtime::Runtime;

use crate::measure::Figures;
use load::Way;
pub(crate) use load::{Load, Sessions, upstream};
use peers::Peer;

/// Times that everything is measured.
const ROUNDS: usize = 3;
/// Connections at once.
const IN_FLIGHT: usize = 32;
/// Connections that stand idle, if there are descriptors for them.
const IDLE: usize = 9_000;

/// Figures by name, one for each round.
type Table = BTreeMap<&'static str, Vec<f64>>;

pub(crate) fn run(time: Duration, only: Option<&str>, other: Option<&str>) {
    if !has_program("taskset") {
        return;
    }
    pin(std::process::id(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = runtime.block_on(load::upstream());
    let pair = Pair::make("shop.example");
    let peers = Peer::all(&pair, upstream, only, other);
    let mut tables: Vec<Table> = peers.iter().map(|_| Table::new()).collect();
    for _ in 0..ROUNDS {
        for (peer, table) in peers.iter().zip(&mut tables) {
            measure(&runtime, peer, table, time);
        }
    }
    for (peer, table) in peers.iter().zip(&mut tables) {
        idle(&runtime, peer, table);
    }
    print(&peers, &tables);
}

/// Keeps all threads of a process on one core.
pub(crate) fn pin(process: u32, core: usize) {
    let words = ["-a", "-p", "-c", &core.to_string(), &process.to_string()];
    let pinned = Command::new("taskset").args(words).output().unwrap();
    assert!(pinned.status.success(), "two cores are needed");
}

fn measure(runtime: &Runtime, peer: &Peer, table: &mut Table, time: Duration) {
    let mut add = |name, figure| table.entry(name).or_default().push(figure);
    let full = Load::new(peer.address, Sessions::New);
    let alone = runtime.block_on(full.handshakes(1, time));
    add("1 p50 us alone", alone.percentile(50) * 1_000.0);
    add("2 p99 us alone", alone.percentile(99) * 1_000.0);
    let mut many = |names: [&'static str; 2], load: &Load| {
        let before = peer.processor_time();
        let figures = runtime.block_on(load.handshakes(IN_FLIGHT, time));
        add(names[0], rate(&figures));
        add(names[1], count(&figures) / (peer.processor_time() - before));
    };
    many(["3 full/s", "4 full/cpu s"], &full);
    let resumed = Load::new(peer.address, Sessions::Resumed);
    many(["5 resumed/s", "6 resumed/cpu s"], &resumed);
    let share = resumed.resumed_share();
    if share < 0.9 {
        println!("{}: only {:.0} % of the sessions were resumed", peer.name, share * 100.0);
    }
    for (names, way) in
        [(["7 MB/s up", "8 MB/cpu s up"], Way::Up), (["9 MB/s down", "A MB/cpu s down"], Way::Down)]
    {
        let (before, begun) = (peer.processor_time(), Instant::now());
        let bytes = runtime.block_on(full.transfer(way, time));
        let megabytes = bytes as f64 / 1e6;
        add(names[0], megabytes / begun.elapsed().as_secs_f64());
        add(names[1], megabytes / (peer.processor_time() - before));
    }
}

fn idle(runtime: &Runtime, peer: &Peer, table: &mut Table) {
    let before = peer.resident_kib();
    let load = Load::new(peer.address, Sessions::New);
    let open = runtime.block_on(load.idle(IDLE));
    let held = (peer.resident_kib() - before) as f64 / open.len() as f64;
    table.entry("B KiB per idle connection").or_default().push(held);
    if open.len() < IDLE {
        println!("{}: only {} idle connections", peer.name, open.len());
    }
}

fn rate(figures: &Figures) -> f64 {
    figures.rate() as f64
}

fn count(figures: &Figures) -> f64 {
    figures.count() as f64
}

/// The median of each figure, beside its ratio to HAProxy's.
fn print(peers: &[Peer], tables: &[Table]) {
    let median = |figures: &Vec<f64>| {
        let mut figures = figures.clone();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let base = peers.iter().position(|peer| peer.name == "haproxy");
    println!(
        "{}",
        peers
            .iter()
            .fold(format!("{:<28}", ""), |line, peer| { format!("{line}{:>18}", peer.name) })
    );
    for name in tables[0].keys() {
        let mut line = format!("{:<28}", &name[2..]);
        for table in tables {
            let figure = median(&table[name]);
            let ratio = base.map_or(String::new(), |base| {
                format!(" ({:.2})", figure / median(&tables[base][name]))
            });
            line += &format!("{:>18}", format!("{figure:.1}{ratio}"));
        }
        println!("{line}");
    }
}
