//! A machine of registers: the value of a key, and the index at which it was written. Its home,
//! which survives everything, follows a little late, as in the node.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_raft::{
    Entry, Machine, MachineFault, Staged, Stager, View,
    executor::{self, SimRt, rng::Rng, since_start, trace},
};
use openraft::AsyncRuntime;

use crate::oracle;

/// Value and index by key.
pub type Values = BTreeMap<u64, (u64, u64)>;

/// The state at some index.
#[derive(Clone, Default)]
pub struct Image {
    pub values: Values,
    pub index: u64,
    checkpoint: Option<Vec<u8>>,
}

/// An image that two sides see.
pub type Shared = Arc<Mutex<Image>>;

pub struct Registers {
    node: usize,
    state: Shared,
    home: Shared,
    persisted: Arc<AtomicU64>,
    /// Whether what was committed before the start is applied again.
    is_shown: bool,
}

/// A write of a value that nobody else writes, and some bytes that fill the log.
pub fn payload(key: u64, value: u64, filling: usize) -> Vec<u8> {
    let mut bytes = [key.to_be_bytes(), value.to_be_bytes()].concat();
    bytes.resize(16 + filling, 7);
    bytes
}

/// Key and value of a payload.
pub fn content(payload: &[u8]) -> Option<(u64, u64)> {
    let (key, rest) = payload.split_first_chunk::<8>()?;
    let (value, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*key), u64::from_be_bytes(*value)))
}

impl Registers {
    /// The machine as it is in its home, and its state for those who read.
    pub fn open(node: usize, home: &Shared) -> (Registers, Shared) {
        let image = home.lock().unwrap().clone();
        oracle::restarted(node, image.index);
        let persisted = Arc::new(AtomicU64::new(image.index));
        let state = Arc::new(Mutex::new(image));
        let home = Arc::clone(home);
        let registers =
            Registers { node, state: Arc::clone(&state), home, persisted, is_shown: false };
        (registers, state)
    }

    /// Brings the home after the state, from time to time, until the node dies.
    pub fn persist(&self, mut rng: Rng) {
        let (state, home) = (Arc::clone(&self.state), Arc::clone(&self.home));
        let (node, persisted) = (self.node, Arc::clone(&self.persisted));
        executor::spawn_on(node, async move {
            loop {
                let pause = match rng.below(100) {
                    0..3 => rng.range(500_000, 8_000_000),
                    _ => rng.range(5_000, 100_000),
                };
                SimRt::sleep(Duration::from_micros(pause)).await;
                let image = state.lock().unwrap().clone();
                SimRt::sleep(Duration::from_micros(rng.range(500, 50_000))).await;
                let mut home = home.lock().unwrap();
                if home.index < image.index {
                    trace::event(since_start(), "persist", &[node as u64, image.index]);
                    persisted.store(image.index, Ordering::Release);
                    *home = image;
                }
            }
        });
    }
}

impl Machine for Registers {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.state.lock().unwrap().checkpoint.clone()
    }

    fn persisted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.persisted)
    }

    fn apply(
        &mut self,
        entries: &[Entry],
        checkpoint: &[u8],
    ) -> Result<Vec<Vec<u8>>, MachineFault> {
        let mut state = self.state.lock().unwrap();
        let mut answers = Vec::new();
        for entry in entries {
            oracle::applied(self.node, entry);
            state.index = entry.position.index;
            if let Some(payload) = &entry.payload {
                let (key, value) = content(payload).ok_or_else(|| MachineFault("odd".into()))?;
                state.values.insert(key, (value, entry.position.index));
                answers.push(Vec::new());
            }
        }
        state.checkpoint = Some(checkpoint.to_vec());
        Ok(answers)
    }

    fn replayed(&mut self) {
        self.is_shown = true;
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(Frozen(self.state.lock().unwrap().values.clone()))
    }

    fn stager(&self) -> Arc<dyn Stager> {
        Arc::new(Stage)
    }

    fn install(&mut self, staged: Staged) -> Result<(), MachineFault> {
        let image = staged.downcast::<Image>().map_err(|_| MachineFault("odd".into()))?;
        oracle::counts(|counts| counts.snapshots += 1);
        oracle::restarted(self.node, image.index);
        trace::event(since_start(), "install", &[self.node as u64, image.index]);
        self.persisted.store(image.index, Ordering::Release);
        *self.state.lock().unwrap() = (*image).clone();
        *self.home.lock().unwrap() = *image;
        Ok(())
    }
}

struct Frozen(Values);

impl View for Frozen {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for (key, (value, index)) in &self.0 {
            for number in [key, value, index] {
                out.write_all(&number.to_be_bytes())?;
            }
        }
        Ok(())
    }
}

struct Stage;

impl Stager for Stage {
    fn stage(
        &self,
        state: &mut dyn Read,
        checkpoint: &[u8],
        index: u64,
    ) -> Result<Staged, MachineFault> {
        let mut bytes = Vec::new();
        state.read_to_end(&mut bytes).map_err(|error| MachineFault(error.to_string()))?;
        let numbers: Vec<u64> =
            bytes.as_chunks().0.iter().map(|n| u64::from_be_bytes(*n)).collect();
        let rows = numbers.as_chunks::<3>().0.iter();
        let values = rows.map(|[key, value, index]| (*key, (*value, *index))).collect();
        Ok(Box::new(Image { values, index, checkpoint: Some(checkpoint.to_vec()) }))
    }
}
