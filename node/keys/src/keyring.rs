//! The keyring of this node: opens and seals secrets under the generations that it holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use conclave_store::{
    id::{ClusterId, Generation, NodeId},
    record::{Proof, ProofOf, RowKey, Sealed},
    scope::Scope,
    state::State,
};

use super::{
    proof::Claim,
    seal::{Binding, GenerationKey, Purpose, SealError, Secret},
    stored::Unlocked,
};

/// The generations and the local key of this node. Reads take no lock, because handshakes open
/// keys.
pub struct Keyring {
    local_scope: ClusterId,
    opened: ArcSwap<Opened>,
    /// Serialises changes of `opened`.
    changing: Mutex<()>,
}

/// The opened secrets.
#[derive(Clone)]
struct Opened {
    /// The secrets under the unlock key, or the reason why the node is sealed.
    unlocked: Result<Arc<Unlocked>, String>,
    cluster: Option<ClusterId>,
    current: Option<Generation>,
    generations: BTreeMap<Generation, Arc<GenerationKey>>,
}

impl Opened {
    fn of(unlocked: Result<Unlocked, String>) -> Opened {
        let (unlocked, generations) = (unlocked.map(Arc::new), BTreeMap::new());
        Opened { unlocked, cluster: None, current: None, generations }
    }

    fn unlocked(&self) -> Result<&Unlocked, SealError> {
        self.unlocked.as_deref().map_err(|_| SealError::Sealed)
    }

    /// Returns whether the key of a generation was made by a holder of the one before. What is
    /// older than the rule needs no proof.
    fn accepts(&self, state: &State, generation: Generation, key: &GenerationKey) -> bool {
        let Some(proof) = state.proof(ProofOf::Generation(generation)) else {
            return state.is_older_than_proofs(&RowKey::Generation(generation));
        };
        let claim = Claim::Generation(generation, key.commitment());
        let before = self.generations.get(&proof.generation).zip(self.cluster);
        before.is_some_and(|(before, cluster)| before.verifies(cluster, &proof, &claim))
    }
}

impl Keyring {
    /// Makes a keyring without generations. `unlocked` holds the secrets under the unlock key, or
    /// the reason why the node is sealed.
    pub fn new(unlocked: Result<Unlocked, String>, local_scope: ClusterId) -> Keyring {
        let opened = ArcSwap::from_pointee(Opened::of(unlocked));
        Keyring { local_scope, opened, changing: Mutex::default() }
    }

    /// Returns the reason why this node is sealed, if it is.
    pub fn sealed_reason(&self) -> Option<String> {
        self.opened.load().unlocked.as_ref().err().cloned()
    }

    /// Returns whether this node is sealed; lock-free.
    pub fn is_sealed(&self) -> bool {
        self.opened.load().unlocked.is_err()
    }

    /// Returns the secrets under the unlock key, to seal them anew; none: this node is sealed.
    pub fn unlocked(&self) -> Option<Arc<Unlocked>> {
        self.opened.load().unlocked.as_ref().ok().cloned()
    }

    /// Takes the secrets under the unlock key. [`Self::follow`] opens the generations with them.
    pub fn unseal(&self, unlocked: Unlocked) {
        let _one = self.change();
        self.opened.store(Arc::new(Opened::of(Ok(unlocked))));
    }

    /// Forgets all secrets. What handshakes hold already is not wiped before they end.
    pub fn forget(&self, reason: String) {
        let _one = self.change();
        self.opened.store(Arc::new(Opened::of(Err(reason))));
    }

    /// Returns whether this unsealed keyring has not followed `state` yet.
    pub fn is_behind(&self, state: &State) -> bool {
        let opened = self.opened.load();
        let Some(cluster) = state.cluster().filter(|_| opened.unlocked.is_ok()) else {
            return false;
        };
        opened.cluster != Some(cluster.id) || opened.current < Some(cluster.generation)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the generations of `state` that are wrapped for this node, and forgets those that have
    /// left. Must be called whenever they change. A generation that does not open, or that no
    /// holder of the one before has proved, is logged and left out.
    pub fn follow(&self, state: &State, node: NodeId) {
        let _one = self.change();
        let before = self.opened.load();
        let (Ok(unlocked), Some(cluster)) = (&before.unlocked, state.cluster()) else { return };
        let mut opened = Opened::clone(&before);
        if opened.cluster == Some(cluster.id) && opened.current > Some(cluster.generation) {
            // An older State, read just before the newer one was published.
            return;
        }
        if opened.cluster != Some(cluster.id) {
            // Left from a cluster that this node tried to found.
            opened.generations.clear();
        }
        opened.cluster = Some(cluster.id);
        opened.current = Some(cluster.generation);
        opened.generations.retain(|generation, _| state.generation(generation).is_some());
        let oldest = state.generations().next().map(|(generation, _)| *generation);
        for (generation, keyring) in state.generations() {
            if opened.generations.contains_key(generation) {
                continue;
            }
            let Some(wrapped) = keyring.wraps.get(&node) else { continue };
            match unlocked.sealing.unwrap(wrapped, cluster.id, *generation, node) {
                Ok(key)
                    if oldest == Some(*generation) || opened.accepts(state, *generation, &key) =>
                {
                    opened.generations.insert(*generation, Arc::new(key));
                }
                Ok(_) => {
                    tracing::error!(
                        event = "keyring.unproven", %generation,
                        "no holder of the keyring has made this generation: it is not used"
                    );
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
        let _one = self.change();
        let generations = BTreeMap::from([(generation, Arc::new(key))]);
        let unlocked = self.opened.load().unlocked.clone();
        let (cluster, current) = (Some(cluster), Some(generation));
        let opened = Opened { unlocked, cluster, current, generations };
        self.opened.store(Arc::new(opened));
    }

    /// Returns every generation of this node, so that it can wrap them for a new member.
    pub fn generations(&self) -> Vec<(Generation, Arc<GenerationKey>)> {
        let opened = self.opened.load();
        opened.generations.iter().map(|(id, key)| (*id, Arc::clone(key))).collect()
    }

    /// Proves a claim under the current generation.
    pub fn prove(&self, claim: &Claim<'_>) -> Result<Proof, SealError> {
        let opened = self.opened.load();
        let (cluster, current) = opened.cluster.zip(opened.current).ok_or(SealError::Sealed)?;
        let key = opened.generations.get(&current);
        let key = key.ok_or(SealError::GenerationMissing(current))?;
        Ok(key.prove(cluster, current, claim))
    }

    /// Returns whether a member that held the keyring has proved the claim, by any generation that
    /// this node holds.
    pub fn verifies(&self, proof: &Proof, claim: &Claim<'_>) -> bool {
        let opened = self.opened.load();
        let (key, cluster) = (opened.generations.get(&proof.generation), opened.cluster);
        key.zip(cluster).is_some_and(|(key, cluster)| key.verifies(cluster, proof, claim))
    }

    /// Returns the current generation, if this node holds it.
    pub fn current(&self) -> Option<Generation> {
        let opened = self.opened.load();
        opened.current.filter(|current| opened.generations.contains_key(current))
    }

    /// Returns the key of this node's local scope and the id of that scope, for a backup of it.
    pub fn local(&self) -> Option<(ClusterId, GenerationKey)> {
        let opened = self.opened.load();
        Some((self.local_scope, opened.unlocked().ok()?.local.clone()))
    }

    /// Seals a secret: in the shared scope under the current generation, in the local scope under
    /// this node's local key.
    pub fn seal(&self, scope: Scope, purpose: Purpose, secret: &[u8]) -> Result<Sealed, SealError> {
        let opened = self.opened.load();
        let unlocked = opened.unlocked()?;
        match scope {
            Scope::Local => {
                let binding = Binding { scope: self.local_scope, purpose };
                unlocked.local.seal(Generation(0), &binding, secret)
            }
            Scope::Shared => {
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
        let opened = self.opened.load();
        let unlocked = opened.unlocked()?;
        match scope {
            Scope::Local => {
                unlocked.local.open(&Binding { scope: self.local_scope, purpose }, sealed)
            }
            Scope::Shared => {
                let cluster = opened.cluster.ok_or(SealError::Sealed)?;
                let key = opened.generations.get(&sealed.generation);
                let key = key.ok_or(SealError::GenerationMissing(sealed.generation))?;
                key.open(&Binding { scope: cluster, purpose }, sealed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use conclave_store::{
        command::{Action, Command, FoundCluster, RotateKeyring, TurnKeyring},
        id::{ClusterName, LogIndex, NodeName, OperationId},
        machine,
        outcome::Outcome,
        record::{Cluster, KeyringGeneration, Member, MemberRole, Principal},
        time::UnixMillis,
    };

    use super::*;
    use crate::wrap::{SealingKey, wrap};

    const NODE: NodeId = NodeId(1);
    const CLUSTER: ClusterId = ClusterId([8; 16]);

    fn done(state: &State, action: Action) -> State {
        let number = state.row_count() + 1;
        let command = Command {
            operation: OperationId::parse(&format!("op{number}")).unwrap(),
            principal: Principal::Node(NODE),
            request: [0; 32],
            time: UnixMillis(1),
            reason: None,
            expects: Vec::new(),
            action,
            origin: None,
        };
        let applied = machine::apply(state, LogIndex(number), &command);
        assert!(matches!(applied.outcome, Outcome::Done(_)), "{:?}", applied.outcome);
        applied.state
    }

    fn wrapped(key: &GenerationKey, sealing: &SealingKey, number: u64) -> KeyringGeneration {
        let wrapped = wrap(key, &sealing.public(), CLUSTER, Generation(number), NODE).unwrap();
        KeyringGeneration { wraps: BTreeMap::from([(NODE, wrapped.into())]), made: UnixMillis(1) }
    }

    fn sealed(number: u64) -> Sealed {
        Sealed { generation: Generation(number), nonce: [0; 12], ciphertext: vec![0; 48] }
    }

    fn founded(key: &GenerationKey, sealing: &SealingKey) -> State {
        let cluster = Cluster {
            id: CLUSTER,
            name: ClusterName::parse("test").unwrap(),
            authority_der: vec![1],
            authority_key: sealed(1),
            generation: Generation(1),
            node_last: NODE,
            founded: UnixMillis(1),
        };
        let member = Member {
            id: NODE,
            name: NodeName::parse("node-1").unwrap(),
            role: MemberRole::Voter,
            identity_der: vec![1],
            sealing_key: sealing.public(),
            address: "127.0.0.1:1".to_owned(),
            joined: UnixMillis(1),
        };
        let found = FoundCluster { cluster, member, keyring: wrapped(key, sealing, 1) };
        let state = done(&State::default(), Action::FoundCluster(Box::new(found)));
        done(&state, Action::SetLevel(3))
    }

    #[test]
    fn a_generation_that_no_holder_of_the_keyring_made_is_not_used() {
        let (first, second) = (GenerationKey::make(), GenerationKey::make());
        let claim = Claim::Generation(Generation(2), second.commitment());
        let right = first.prove(CLUSTER, Generation(1), &claim);
        let other = Claim::Generation(Generation(2), GenerationKey::make().commitment());
        let of_another_key = first.prove(CLUSTER, Generation(1), &other);
        let by_a_stranger = GenerationKey::make().prove(CLUSTER, Generation(1), &claim);
        for (proof, is_used) in [(right, true), (of_another_key, false), (by_a_stranger, false)] {
            let sealing = SealingKey::make();
            let mut state = founded(&first, &sealing);
            let wraps = wrapped(&second, &sealing, 2);
            let unlocked = Unlocked { sealing, local: GenerationKey::make() };
            let keyring = Keyring::new(Ok(unlocked), CLUSTER);
            keyring.follow(&state, NODE);
            assert_eq!(keyring.current(), Some(Generation(1)));
            let rotate = RotateKeyring {
                generation: Generation(2),
                keyring: wraps,
                authority_key: sealed(2),
            };
            let members = vec![(NODE, proof)];
            state =
                done(&state, Action::TurnKeyring(Box::new(TurnKeyring { rotate, proof, members })));
            keyring.follow(&state, NODE);
            assert_eq!(keyring.current(), is_used.then_some(Generation(2)));
            // Nothing is sealed under a key that a stranger may know.
            let purpose = Purpose::Authority;
            assert_eq!(keyring.seal(Scope::Shared, purpose, b"secret").is_ok(), is_used);
        }
    }

    #[test]
    fn an_older_state_takes_no_generation_back() {
        let (first, second) = (GenerationKey::make(), GenerationKey::make());
        let sealing = SealingKey::make();
        let older = founded(&first, &sealing);
        let claim = Claim::Generation(Generation(2), second.commitment());
        let proof = first.prove(CLUSTER, Generation(1), &claim);
        let rotate = RotateKeyring {
            generation: Generation(2),
            keyring: wrapped(&second, &sealing, 2),
            authority_key: sealed(2),
        };
        let members = vec![(NODE, proof)];
        let turn = TurnKeyring { rotate, proof, members };
        let newer = done(&older, Action::TurnKeyring(Box::new(turn)));
        let unlocked = Unlocked { sealing, local: GenerationKey::make() };
        let keyring = Keyring::new(Ok(unlocked), CLUSTER);
        keyring.follow(&older, NODE);
        assert!(keyring.is_behind(&newer));
        keyring.follow(&newer, NODE);
        keyring.follow(&older, NODE);
        assert_eq!(keyring.current(), Some(Generation(2)));
        assert!(!keyring.is_behind(&older) && !keyring.is_behind(&newer));
    }

    #[test]
    fn a_keyring_that_forgot_opens_nothing_until_it_is_unsealed_and_follows() {
        let first = GenerationKey::make();
        let sealing = SealingKey::make();
        let (state, bytes) = (founded(&first, &sealing), sealing.expose());
        let local = GenerationKey::make();
        let secrets = |sealing| Unlocked { sealing, local: local.clone() };
        let keyring = Keyring::new(Ok(secrets(sealing)), CLUSTER);
        assert!(keyring.is_behind(&state));
        keyring.follow(&state, NODE);
        assert!(!keyring.is_behind(&state));
        let purpose = Purpose::Authority;
        let scopes = [Scope::Shared, Scope::Local];
        let sealed = scopes.map(|scope| keyring.seal(scope, purpose, b"secret").unwrap());
        keyring.forget("by hand".to_owned());
        // A change of the cluster gives nothing back.
        keyring.follow(&state, NODE);
        assert_eq!(keyring.sealed_reason().as_deref(), Some("by hand"));
        assert!(keyring.is_sealed() && keyring.local().is_none() && keyring.unlocked().is_none());
        assert!(keyring.generations().is_empty() && !keyring.is_behind(&state));
        let claim = Claim::Generation(Generation(2), [1; 32]);
        assert!(keyring.prove(&claim).is_err());
        for (scope, sealed) in scopes.into_iter().zip(&sealed) {
            assert!(keyring.open(scope, purpose, sealed).is_err());
        }
        keyring.unseal(secrets(SealingKey::from_bytes(&bytes).unwrap()));
        assert!(keyring.is_behind(&state));
        keyring.follow(&state, NODE);
        for (scope, sealed) in scopes.into_iter().zip(&sealed) {
            assert_eq!(keyring.open(scope, purpose, sealed).unwrap().expose(), b"secret");
        }
    }

    #[test]
    fn the_key_of_a_cluster_that_was_not_founded_is_forgotten() {
        let (lost, first) = (GenerationKey::make(), GenerationKey::make());
        let sealing = SealingKey::make();
        let state = founded(&first, &sealing);
        let unlocked = Unlocked { sealing, local: GenerationKey::make() };
        let keyring = Keyring::new(Ok(unlocked), CLUSTER);
        keyring.found(ClusterId([9; 16]), Generation(1), lost);
        keyring.follow(&state, NODE);
        let held = keyring.generations();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].1.expose(), first.expose());
    }
}
