//! The state machine for Raft: applies committed commands to State and updates the live index. A
//! thread writes State to its home in the background.

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use conclave_disk::DiskOptions;
use conclave_edge::live::Live;
use conclave_keys::Keyring;
use conclave_raft::{Entry, Machine, MachineFault, Staged, Stager, View, checkpoint_index};
use conclave_store::{
    change::Change,
    id::{LogIndex, NodeId},
    machine,
    record::RowKey,
    scope::Scope,
    snapshot,
    state::State,
    wire,
};
use conclave_store_sled::{Home, OpenError, Stage, Turn, migrate};
use tokio::sync::watch;

use super::Published;

/// Shortest pause between two writes to the home. Each write costs a few device syncs.
const HOME_EVERY: Duration = Duration::from_millis(50);
/// The home's thread works at most 1/`HOME_SHARE` of the time.
const HOME_SHARE: u32 = 4;
/// Poll interval of the applying thread while it waits for the home.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Error of opening the State.
pub(crate) type ApplierError = OpenError;

/// The state machine of the shared scope.
pub(crate) struct Applier {
    id: NodeId,
    home: Home,
    /// The fault of the home, once it can no longer be written.
    home_fault: watch::Receiver<Option<String>>,
    state: State,
    checkpoint: Option<Vec<u8>>,
    published: Arc<Published>,
    keyring: Arc<Keyring>,
    live: Live,
    /// Whether changes are published. While the log is replayed they are not, because State is then
    /// older than what this node has reported as served.
    is_shown: bool,
}

impl Applier {
    /// Opens the State in `dir`. Migrates a State of version 0.1.0 from `old` first.
    pub(crate) fn open(
        old: &Path,
        dir: &Path,
        id: NodeId,
        published: Arc<Published>,
        keyring: Arc<Keyring>,
        live: Live,
    ) -> Result<Applier, ApplierError> {
        migrate(old, dir, &DiskOptions::default(), checkpoint_index)?;
        let loaded = Home::open(dir, DiskOptions::default())?;
        let home_fault = keep_home(loaded.home.clone());
        // Raft identifies peers by this State while the log is replayed.
        published.store(loaded.state.clone());
        Ok(Applier {
            id,
            home: loaded.home,
            home_fault,
            state: loaded.state,
            checkpoint: loaded.checkpoint,
            published,
            keyring,
            live,
            is_shown: false,
        })
    }

    /// Returns the home of the State.
    pub(crate) fn home(&self) -> Home {
        self.home.clone()
    }

    /// Waits while too many changes wait for the home, so that memory stays bounded.
    fn wait_for_home(&self) -> Result<(), MachineFault> {
        loop {
            if let Some(fault) = self.home_fault.borrow().clone() {
                return Err(MachineFault(format!("state.v2/db cannot be written: {fault}")));
            }
            if !self.home.is_full() {
                return Ok(());
            }
            std::thread::park_timeout(FULL_PAUSE);
        }
    }

    /// Publishes the whole State, at the index of the last command that changed it.
    fn show(&self) {
        let index = self.state.rows().map(|(_, row)| row.changed_at).max().unwrap_or_default();
        self.keyring.follow(&self.state, self.id);
        self.published.store(self.state.clone());
        self.live.rebuild(Scope::Shared, &self.state, index);
    }

    /// Applies the commands of an entry in order. Returns the encoded outcomes and the changes.
    fn apply_entry(&mut self, entry: &Entry) -> Result<(Vec<u8>, Vec<Change>), MachineFault> {
        let payload = entry.payload.as_deref().unwrap_or_default();
        let index = LogIndex(entry.position.index);
        // An unreadable command must not be skipped: other members may have applied it, and States
        // would differ.
        let unreadable =
            |error: wire::WireError| MachineFault(format!("entry {index} cannot be read: {error}"));
        let commands = wire::decode_entry(payload).map_err(unreadable)?;
        let (mut outcomes, mut changes) = (Vec::new(), Vec::new());
        for command in &commands {
            let applied = machine::apply(&self.state, index, command);
            outcomes.push(wire::encode_outcome(&applied.outcome).map_err(unreadable)?);
            changes.extend(applied.changes);
            self.state = applied.state;
        }
        let answer = match wire::is_shared_entry(payload) {
            true => wire::encode_outcomes(&outcomes).map_err(unreadable)?,
            false => outcomes.pop().unwrap_or_default(),
        };
        Ok((answer, changes))
    }
}

impl Machine for Applier {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.checkpoint.clone()
    }

    fn persisted(&self) -> Arc<AtomicU64> {
        self.home.persisted()
    }

    fn apply(
        &mut self,
        entries: &[Entry],
        checkpoint: &[u8],
    ) -> Result<Vec<Vec<u8>>, MachineFault> {
        self.wait_for_home()?;
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.payload.is_some()) {
            let (outcome, changed) = self.apply_entry(entry)?;
            outcomes.push(outcome);
            changes.push((LogIndex(entry.position.index), changed));
        }
        let index = entries.last().map_or(0, |entry| entry.position.index);
        let all = changes.iter().flat_map(|(_, changes)| changes);
        self.home.put(all, checkpoint, index, &self.state);
        self.checkpoint = Some(checkpoint.to_vec());
        if !self.is_shown {
            return Ok(outcomes);
        }
        let keys_changed = |change: &Change| {
            matches!(change.key, RowKey::Cluster | RowKey::Generation(_) | RowKey::Proof(_))
        };
        if changes.iter().flat_map(|(_, changes)| changes).any(keys_changed) {
            self.keyring.follow(&self.state, self.id);
        }
        self.published.store(self.state.clone());
        self.live.advance(Scope::Shared, &self.state, &changes, LogIndex(index));
        Ok(outcomes)
    }

    fn replayed(&mut self) {
        self.is_shown = true;
        self.show();
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(Frozen(self.state.clone()))
    }

    fn stager(&self) -> Arc<dyn Stager> {
        Arc::new(Staging(self.home.clone()))
    }

    fn install(&mut self, staged: Staged) -> Result<(), MachineFault> {
        let stage: Box<Stage> =
            staged.downcast().map_err(|_| MachineFault("not a staged state".to_owned()))?;
        let (state, checkpoint) = self
            .home
            .install(*stage)
            .map_err(|fault| MachineFault(format!("state.v2/db cannot be written: {fault}")))?;
        self.state = state;
        self.checkpoint = Some(checkpoint);
        self.show();
        Ok(())
    }
}

/// Stages a snapshot of another node beside the current State.
struct Staging(Home);

impl Stager for Staging {
    fn stage(
        &self,
        input: &mut dyn Read,
        checkpoint: &[u8],
        index: u64,
    ) -> Result<Staged, MachineFault> {
        let state = snapshot::read(input)
            .map_err(|error| MachineFault(format!("the snapshot cannot be read: {error}")))?;
        let staged = self.0.stage(state, checkpoint, index);
        let staged = staged
            .map_err(|error| MachineFault(format!("the snapshot cannot be stored: {error}")))?;
        Ok(Box::new(staged))
    }
}

/// Starts the thread that writes changes to the home. It ends after a last turn when the home has
/// no other users, or on a fault, which it sends to the returned channel.
fn keep_home(home: Home) -> watch::Receiver<Option<String>> {
    let (failed, fault) = watch::channel(None);
    let run = move || {
        let mut is_full = false;
        loop {
            let started = Instant::now();
            // Checked before the turn, so that no change can be put after the last turn.
            let is_last = home.is_unused() || failed.is_closed();
            match home.turn() {
                Ok(turn) => tell_room(turn, &mut is_full),
                Err(fault) => {
                    tracing::error!(event = "state.disk_failed", error = %fault, "the state's disk failed");
                    failed.send_replace(Some(fault.to_string()));
                    return;
                }
            }
            if is_last {
                return;
            }
            std::thread::park_timeout(HOME_EVERY.max(started.elapsed() * (HOME_SHARE - 1)));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("state-home".to_owned()).spawn(run) {
        tracing::error!(event = "state.disk_failed", %error, "no thread for the state's disk");
    }
    fault
}

/// Logs once when the disk becomes full, and once when it has room again.
fn tell_room(turn: Turn, is_full: &mut bool) {
    match turn {
        Turn::NoRoom { free, wanted } if !*is_full => {
            *is_full = true;
            tracing::warn!(
                event = "state.disk_full",
                free,
                wanted,
                "no space left on the disk: the state waits for room, TLS goes on"
            );
        }
        Turn::Written if *is_full => {
            *is_full = false;
            tracing::info!(event = "state.disk_has_room", "the state is written again");
        }
        _ => {}
    }
}

/// An immutable State for a snapshot.
struct Frozen(State);

impl View for Frozen {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        snapshot::write(&self.0, out)
    }
}
