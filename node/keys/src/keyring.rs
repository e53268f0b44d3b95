//! The keyring of this node: opens and seals secrets under the generations that it holds.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use conclave_store::{
    id::{ClusterId, Generation, NodeId},
    record::Sealed,
    scope::Scope,
    state::State,
};

use super::{
    identity::Unlocked,
    seal::{Binding, GenerationKey, Purpose, SealError, Secret},
};

/// The generations and the local key of this node. Reads take no lock, because handshakes open
/// keys.
pub struct Keyring {
    /// The secrets under the unlock key, or the reason why the node is sealed.
    unlocked: Result<Unlocked, String>,
    local_scope: ClusterId,
    opened: ArcSwap<Opened>,
}

/// The opened generations.
#[derive(Clone, Default)]
struct Opened {
    cluster: Option<ClusterId>,
    current: Option<Generation>,
    generations: BTreeMap<Generation, Arc<GenerationKey>>,
}

impl Keyring {
    /// Makes a keyring without generations. `unlocked` holds the secrets under the unlock key, or
    /// the reason why the node is sealed.
    pub fn new(unlocked: Result<Unlocked, String>, local_scope: ClusterId) -> Keyring {
        Keyring { unlocked, local_scope, opened: ArcSwap::default() }
    }

    /// Returns the reason why this node is sealed, if it is.
    pub fn sealed_reason(&self) -> Option<&str> {
        self.unlocked.as_ref().err().map(String::as_str)
    }

    /// Opens the generations of `state` that are wrapped for this node. Must be called whenever
    /// they change. A generation that does not open is logged and left out.
    pub fn follow(&self, state: &State, node: NodeId) {
        let (Ok(unlocked), Some(cluster)) = (&self.unlocked, state.cluster()) else { return };
        let mut opened = Opened::clone(&self.opened.load());
        opened.cluster = Some(cluster.id);
        opened.current = Some(cluster.generation);
        for (generation, keyring) in state.generations() {
            if opened.generations.contains_key(generation) {
                continue;
            }
            let Some(wrapped) = keyring.wraps.get(&node) else { continue };
            match unlocked.sealing.unwrap(wrapped, cluster.id, *generation, node) {
                Ok(key) => {
                    opened.generations.insert(*generation, Arc::new(key));
                }
                Err(error) => {
                    tracing::error!(event = "keyring.unopened", %generation, %error);
                }
            }
        }
        self.opened.store(Arc::new(opened));
    }

    /// Installs the first generation of a new cluster, before State has it.
    pub fn found(&self, cluster: ClusterId, generation: Generation, key: GenerationKey) {
        let generations = BTreeMap::from([(generation, Arc::new(key))]);
        let opened = Opened { cluster: Some(cluster), current: Some(generation), generations };
        self.opened.store(Arc::new(opened));
    }

    /// Returns every generation of this node, so that it can wrap them for a new member.
    pub fn generations(&self) -> Vec<(Generation, Arc<GenerationKey>)> {
        let opened = self.opened.load();
        opened.generations.iter().map(|(id, key)| (*id, Arc::clone(key))).collect()
    }

    /// Seals a secret: in the shared scope under the current generation, in the local scope under
    /// this node's local key.
    pub fn seal(&self, scope: Scope, purpose: Purpose, secret: &[u8]) -> Result<Sealed, SealError> {
        let unlocked = self.unlocked.as_ref().map_err(|_| SealError::Sealed)?;
        match scope {
            Scope::Local => {
                let binding = Binding { scope: self.local_scope, purpose };
                unlocked.local.seal(Generation(0), &binding, secret)
            }
            Scope::Shared => {
                let opened = self.opened.load();
                let (Some(cluster), Some(current)) = (opened.cluster, opened.current) else {
                    return Err(SealError::Sealed);
                };
                let key = opened.generations.get(&current);
                let key = key.ok_or(SealError::GenerationMissing(current))?;
                key.seal(current, &Binding { scope: cluster, purpose }, secret)
            }
        }
    }

    /// Opens the result of [`Self::seal`]. A shared secret may come from another node.
    pub fn open(
        &self,
        scope: Scope,
        purpose: Purpose,
        sealed: &Sealed,
    ) -> Result<Secret, SealError> {
        let unlocked = self.unlocked.as_ref().map_err(|_| SealError::Sealed)?;
        match scope {
            Scope::Local => {
                unlocked.local.open(&Binding { scope: self.local_scope, purpose }, sealed)
            }
            Scope::Shared => {
                let opened = self.opened.load();
                let cluster = opened.cluster.ok_or(SealError::Sealed)?;
                let key = opened.generations.get(&sealed.generation);
                let key = key.ok_or(SealError::GenerationMissing(sealed.generation))?;
                key.open(&Binding { scope: cluster, purpose }, sealed)
            }
        }
    }
}
