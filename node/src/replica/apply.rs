//! Applying committed commands: the rule, the disk, the live index, in this order.

use std::{
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use conclave_disk::DiskOptions;
use conclave_raft::{Checkpoint, Entry, Machine, MachineFault, View};
use conclave_store::{
    change::Change,
    id::{LogIndex, NodeId},
    machine,
    record::RowKey,
    snapshot,
    state::State,
    wire,
};
use conclave_store_sled::{OpenError, StateDisk};

use super::Published;
use crate::{
    keys::Keyring,
    live::{Live, Scope},
};

/// Why the State cannot be opened.
pub(crate) type ApplierError = OpenError;

/// The machine of the cluster's State.
pub(crate) struct Applier {
    id: NodeId,
    disk: StateDisk,
    state: State,
    checkpoint: Option<Vec<u8>>,
    published: Arc<Published>,
    keyring: Arc<Keyring>,
    live: Live,
}

impl Applier {
    /// Opens the State in `dir` and shows it: this node serves at once what it knows.
    pub(crate) fn open(
        dir: &Path,
        id: NodeId,
        published: Arc<Published>,
        keyring: Arc<Keyring>,
        live: Live,
    ) -> Result<Applier, ApplierError> {
        let loaded = StateDisk::open(dir, DiskOptions::default())?;
        let applier = Applier {
            id,
            disk: loaded.disk,
            state: loaded.state,
            checkpoint: loaded.checkpoint,
            published,
            keyring,
            live,
        };
        applier.show();
        Ok(applier)
    }

    /// Publishes the whole State, as of the last command that changed it.
    fn show(&self) {
        let index = self.state.rows().map(|(_, row)| row.changed_at).max().unwrap_or_default();
        self.keyring.follow(&self.state, self.id);
        self.published.store(self.state.clone());
        self.live.rebuild(Scope::Shared, &self.state, index);
    }

    fn apply_one(&mut self, entry: &Entry) -> Result<(Vec<u8>, Vec<Change>), MachineFault> {
        let payload = entry.payload.as_deref().unwrap_or_default();
        let index = LogIndex(entry.position.index);
        // A command that this program cannot read must not be skipped: the others may have
        // applied it.
        let command = wire::decode_command(payload)
            .map_err(|error| MachineFault(format!("command {index} cannot be read: {error}")))?;
        let applied = machine::apply(&self.state, index, &command);
        let outcome = wire::encode_outcome(&applied.outcome)
            .map_err(|error| MachineFault(format!("outcome of {index}: {error}")))?;
        self.state = applied.state;
        Ok((outcome, applied.changes))
    }
}

impl Machine for Applier {
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            bytes: self.checkpoint.clone(),
            row_count: self.state.row_count(),
            digest: self.state.digest(),
        }
    }

    fn apply(
        &mut self,
        entries: &[Entry],
        checkpoint: &[u8],
    ) -> Result<Vec<Vec<u8>>, MachineFault> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.payload.is_some()) {
            let (outcome, changed) = self.apply_one(entry)?;
            outcomes.push(outcome);
            changes.push((LogIndex(entry.position.index), changed));
        }
        let all = changes.iter().flat_map(|(_, changes)| changes);
        self.disk
            .commit(all, checkpoint, &self.state)
            .map_err(|fault| MachineFault(format!("the state cannot be stored: {fault}")))?;
        self.checkpoint = Some(checkpoint.to_vec());
        let index = LogIndex(entries.last().map_or(0, |entry| entry.position.index));
        let keys_changed =
            |change: &Change| matches!(change.key, RowKey::Cluster | RowKey::Generation(_));
        if changes.iter().flat_map(|(_, changes)| changes).any(keys_changed) {
            self.keyring.follow(&self.state, self.id);
        }
        self.published.store(self.state.clone());
        self.live.advance(Scope::Shared, &self.state, &changes, index);
        Ok(outcomes)
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(Frozen(self.state.clone()))
    }

    fn install(&mut self, input: &mut dyn Read, checkpoint: &[u8]) -> Result<(), MachineFault> {
        let state = snapshot::read(input)
            .map_err(|error| MachineFault(format!("the snapshot cannot be read: {error}")))?;
        self.disk
            .replace(&state, checkpoint)
            .map_err(|fault| MachineFault(format!("the state cannot be stored: {fault}")))?;
        self.state = state;
        self.checkpoint = Some(checkpoint.to_vec());
        self.show();
        Ok(())
    }
}

/// A State that does not change any more.
struct Frozen(State);

impl View for Frozen {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        snapshot::write(&self.0, out)
    }
}
