//! Admission of new generations of the keyring.

use std::collections::BTreeMap;

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Binding, Claim, GenerationKey, Keyring, Purpose, SealError, wrap};
use conclave_store::{
    command::{Action, RotateKeyring, TurnKeyring},
    id::{Generation, NodeId},
    record::{Cluster, KeyringGeneration, Member, Proof, ProofOf, RowKey},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use serde_bytes::ByteBuf;

use super::{Admitted, View};

/// First level at which generations and members carry proofs.
pub(crate) const PROOFS_LEVEL: u32 = 3;

/// Makes the next generation current. A background task then seals all secrets anew under it.
pub fn rotate_keyring(view: &View<'_>) -> Result<Admitted, Problem> {
    let next = NextGeneration::make(view.node.keyring(), view.state, view.now, None)
        .map_err(|error| error.problem(|error| view.sealed_problem(error)))?;
    let object = format!("generation {}", next.turn.rotate.generation);
    let action = if view.state.level() < PROOFS_LEVEL {
        Action::RotateKeyring(Box::new(next.turn.rotate))
    } else {
        Action::TurnKeyring(Box::new(next.turn))
    };
    Ok(Admitted::new(action, object).expecting(view.state.expectation(RowKey::Cluster)))
}

fn cluster(state: &State) -> Result<&Cluster, Problem> {
    let none = || Problem::new(Code::NoCluster, "this node belongs to no cluster yet");
    state.cluster().ok_or_else(none)
}

/// Reason why no generation can be made.
pub(crate) enum TurnError {
    /// This node does not hold the keyring.
    Sealed(SealError),
    /// The cluster is not as it must be.
    Refused(Box<Problem>),
}

impl TurnError {
    /// Converts the error to an answer.
    pub(crate) fn problem(self, sealed: impl FnOnce(&SealError) -> Problem) -> Problem {
        match self {
            TurnError::Sealed(error) => sealed(&error),
            TurnError::Refused(problem) => *problem,
        }
    }
}

/// A generation that is not ordered yet, with its key.
pub(crate) struct NextGeneration {
    /// What to order.
    pub(crate) turn: TurnKeyring,
    /// Its key, for the wrap of a new member.
    pub(crate) key: GenerationKey,
}

impl NextGeneration {
    /// Makes a key, wraps it for all members except `without`, and proves that a holder of the
    /// present generation made it.
    pub(crate) fn make(
        keyring: &Keyring,
        state: &State,
        now: UnixMillis,
        without: Option<NodeId>,
    ) -> Result<NextGeneration, TurnError> {
        let refused = |problem: Problem| TurnError::Refused(Box::new(problem));
        let cluster = cluster(state).map_err(refused)?;
        let generation = Generation(cluster.generation.0 + 1);
        let key = GenerationKey::make();
        let (mut wraps, mut members) = (BTreeMap::new(), Vec::new());
        for (id, member) in state.members().filter(|(id, _)| Some(**id) != without) {
            check_member(keyring, state, member).map_err(refused)?;
            let wrapped = wrap(&key, &member.sealing_key, cluster.id, generation, *id);
            let wrapped = wrapped
                .map_err(|error| refused(Problem::new(Code::Internal, error.to_string())))?;
            wraps.insert(*id, ByteBuf::from(wrapped));
            members.push((*id, key.prove(cluster.id, generation, &Claim::member(member))));
        }
        let authority = keyring
            .open(Scope::Shared, Purpose::Authority, &cluster.authority_key)
            .map_err(TurnError::Sealed)?;
        let binding = Binding { scope: cluster.id, purpose: Purpose::Authority };
        let authority_key =
            key.seal(generation, &binding, authority.expose()).map_err(TurnError::Sealed)?;
        let claim = Claim::Generation(generation, key.commitment());
        let proof = keyring.prove(&claim).map_err(TurnError::Sealed)?;
        let wrapped = KeyringGeneration { wraps, made: now };
        let rotate = RotateKeyring { generation, keyring: wrapped, authority_key };
        Ok(NextGeneration { turn: TurnKeyring { rotate, proof, members }, key })
    }
}

/// Checks that a holder of the keyring let this member in. A member that came into State otherwise
/// must never get a generation.
fn check_member(keyring: &Keyring, state: &State, member: &Member) -> Result<(), Problem> {
    let current = state.cluster().map(|cluster| cluster.generation);
    let is_current = |proof: &Proof| Some(proof.generation) == current;
    let is_proved = match state.proof(ProofOf::Member(member.id)) {
        Some(proof) => is_current(&proof) && keyring.verifies(&proof, &Claim::member(member)),
        None => state.is_older_than_proofs(&RowKey::Member(member.id)),
    };
    if is_proved {
        return Ok(());
    }
    let name = &member.name;
    Err(Problem::new(Code::MemberUnproven, format!("no holder of the keyring let {name} in"))
        .why("a member gets the keyring only from members that hold it")
        .hint(format!("conclave node remove {name}    and look how it got in")))
}
