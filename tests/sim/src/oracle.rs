//! Sees all nodes at once, and says what must never be.

use std::{cell::RefCell, collections::BTreeMap};

use conclave_raft::{
    Entry, Position,
    executor::{since_start, trace},
};

use crate::machine::content;

/// Entries of which the oracle remembers what they were.
const REMEMBERED: usize = 40_000;

/// Term and leader of an entry, and a digest of what it says.
type Known = ((u64, u64), u64);

#[derive(Default)]
struct Oracle {
    /// What some node has applied at an index.
    committed: BTreeMap<u64, Known>,
    values: BTreeMap<u64, (u64, u64)>,
    /// The entry before an entry.
    before: BTreeMap<Position, Position>,
    applied: BTreeMap<usize, u64>,
    /// Highest index of a completed operation on each key.
    floors: BTreeMap<u64, u64>,
    /// Up to where each node said that it shows everything after any restart.
    settled: BTreeMap<usize, u64>,
    leaders: BTreeMap<(u64, u64), ()>,
    faults: Vec<String>,
    counts: Counts,
}

#[derive(Default, Clone, Debug)]
pub struct Counts {
    pub writes: u64,
    pub reads: u64,
    pub unknown: u64,
    pub refused: u64,
    pub leaders: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub deaths_in_a_step: u64,
    pub failed_syncs: u64,
    pub partitions: u64,
    pub messages: u64,
    pub dials: u64,
    pub snapshots: u64,
    pub learners: u64,
    pub handovers: u64,
    pub last_index: u64,
}

impl Counts {
    /// The sum of two runs.
    pub fn add(&mut self, other: &Counts) {
        let Counts {
            writes,
            reads,
            unknown,
            refused,
            leaders,
            kills,
            power_cuts,
            deaths_in_a_step,
            failed_syncs,
            partitions,
            messages,
            dials,
            snapshots,
            learners,
            handovers,
            last_index,
        } = other;
        self.writes += writes;
        self.reads += reads;
        self.unknown += unknown;
        self.refused += refused;
        self.leaders += leaders;
        self.kills += kills;
        self.power_cuts += power_cuts;
        self.deaths_in_a_step += deaths_in_a_step;
        self.failed_syncs += failed_syncs;
        self.partitions += partitions;
        self.messages += messages;
        self.dials += dials;
        self.snapshots += snapshots;
        self.learners += learners;
        self.handovers += handovers;
        self.last_index += last_index;
    }
}

thread_local! {
    static ORACLE: RefCell<Oracle> = RefCell::default();
}

fn oracle<T>(work: impl FnOnce(&mut Oracle) -> T) -> T {
    ORACLE.with_borrow_mut(work)
}

pub fn reset() {
    ORACLE.take();
}

pub fn fault(text: String) {
    trace::event(since_start(), "fault", &[]);
    oracle(|oracle| oracle.faults.push(format!("{:.3} s: {text}", since_start() as f64 / 1e9)));
}

pub fn first_fault() -> Option<String> {
    oracle(|oracle| oracle.faults.first().cloned())
}

pub fn counts<T>(work: impl FnOnce(&mut Counts) -> T) -> T {
    oracle(|oracle| work(&mut oracle.counts))
}

/// FNV: the standard library's hasher is not promised to stay the same.
fn digest(payload: Option<&[u8]>) -> u64 {
    let tag = [u8::from(payload.is_some())];
    let bytes = tag.iter().chain(payload.unwrap_or_default());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The machine of a node starts at an index: after a restart, or with a snapshot.
pub fn restarted(node: usize, index: u64) {
    oracle(|oracle| oracle.applied.insert(node, index));
}

/// State machine safety: one entry is committed at an index, applied once and in order.
pub fn applied(node: usize, entry: &Entry) {
    let (index, leader) = (entry.position.index, (entry.position.term, entry.position.node));
    let known = (leader, digest(entry.payload.as_deref()));
    trace::event(since_start(), "apply", &[node as u64, index, leader.0, leader.1, known.1]);
    let wrong = oracle(|oracle| {
        let last = oracle.applied.insert(node, index).unwrap_or(0);
        let first = *oracle.committed.entry(index).or_insert(known);
        if let Some(content) = entry.payload.as_deref().and_then(content) {
            oracle.values.insert(index, content);
        }
        oracle.counts.last_index = oracle.counts.last_index.max(index);
        if oracle.leaders.insert(leader, ()).is_none() {
            oracle.counts.leaders += 1;
        }
        if oracle.committed.len() > REMEMBERED {
            let from = index.saturating_sub(REMEMBERED as u64 / 4);
            oracle.committed = oracle.committed.split_off(&from);
            oracle.values = oracle.values.split_off(&from);
        }
        if first != known {
            Some(format!(
                "node {node} applies {leader:?} at {index}, where {:?} was applied",
                first.0
            ))
        } else if index != last + 1 && index != 0 {
            Some(format!("node {node} applies {index} after {last}"))
        } else {
            None
        }
    });
    wrong.into_iter().for_each(fault);
}

/// A node has these entries in its log. Log matching: an entry has one entry before it,
/// wherever it is; and what is committed is in the place where it was committed.
pub fn has_log(node: usize, log: &[Position]) {
    let wrong = oracle(|oracle| {
        for pair in log.windows(2) {
            let [before, entry] = [pair[0], pair[1]];
            let known = *oracle.before.entry(entry).or_insert(before);
            if known != before {
                return Some(format!("{entry:?} follows {known:?} and on node {node} {before:?}"));
            }
        }
        let shown = oracle.applied.get(&node).copied().unwrap_or(0);
        for entry in log.iter().filter(|entry| entry.index <= shown) {
            let committed = oracle.committed.get(&entry.index).map(|known| known.0);
            if committed.is_some_and(|leader| leader != (entry.term, entry.node)) {
                return Some(format!("node {node} has {entry:?}, where {committed:?} was applied"));
            }
        }
        if oracle.before.len() > REMEMBERED {
            oracle.before.clear();
        }
        None
    });
    wrong.into_iter().for_each(fault);
}

/// A node says that it shows everything up to `index` after any restart.
pub fn settled(node: usize, index: u64) {
    oracle(|oracle| {
        let settled = oracle.settled.entry(node).or_default();
        *settled = index.max(*settled);
    });
}

/// A node has started, and shows everything up to `index`.
pub fn shows(node: usize, index: u64) {
    let settled = oracle(|oracle| oracle.settled.get(&node).copied().unwrap_or(0));
    if index < settled {
        fault(format!("node {node} starts with {index} after it had settled {settled}"));
    }
}

/// An operation on a key begins; it must see at least this index.
pub fn begins(key: u64) -> u64 {
    oracle(|oracle| oracle.floors.get(&key).copied().unwrap_or(0))
}

pub fn wrote(key: u64, value: u64, floor: u64, index: u64) {
    trace::event(since_start(), "wrote", &[key, value, index]);
    let wrong = oracle(|oracle| {
        oracle.counts.writes += 1;
        let top = oracle.floors.entry(key).or_default();
        *top = index.max(*top);
        if index <= floor {
            Some(format!("a write of key {key} got {index}, but {floor} was done before it began"))
        } else if oracle.values.get(&index) != Some(&(key, value)) {
            Some(format!(
                "the write {key}={value} was acknowledged at {index}, where {:?} is",
                oracle.values.get(&index)
            ))
        } else {
            None
        }
    });
    wrong.into_iter().for_each(fault);
}

pub fn read(node: usize, key: u64, floor: u64, seen: Option<(u64, u64)>) {
    let (value, index) = seen.unwrap_or((0, 0));
    trace::event(since_start(), "read", &[node as u64, key, value, index]);
    let wrong = oracle(|oracle| {
        oracle.counts.reads += 1;
        let top = oracle.floors.entry(key).or_default();
        *top = index.max(*top);
        if index < floor {
            Some(format!("node {node} reads key {key} as of {index}, but {floor} was done before"))
        } else if index > 0 && oracle.values.get(&index).is_some_and(|v| *v != (key, value)) {
            Some(format!("node {node} reads {key}={value} as of {index}, where something else is"))
        } else {
            None
        }
    });
    wrong.into_iter().for_each(fault);
}
