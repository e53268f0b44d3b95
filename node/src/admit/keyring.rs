//! Admission of keyring rotations.

use std::collections::BTreeMap;

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Binding, GenerationKey, Purpose, wrap};
use conclave_store::{
    command::{Action, RotateKeyring},
    id::Generation,
    record::{KeyringGeneration, RowKey},
    scope::Scope,
};
use serde_bytes::ByteBuf;

use super::{Admitted, View};

/// Makes the next generation: a new key, wrapped for each member, and the authority's key sealed
/// under it. Existing secrets stay sealed under their generations and still open.
pub(crate) fn rotate_keyring(view: &View<'_>) -> Result<Admitted, Problem> {
    let cluster = view
        .state
        .cluster()
        .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster yet"))?;
    let generation = Generation(cluster.generation.0 + 1);
    let key = GenerationKey::make();
    let mut wraps = BTreeMap::new();
    for (id, member) in view.state.members() {
        let wrapped = wrap(&key, &member.sealing_key, cluster.id, generation, *id)
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        wraps.insert(*id, ByteBuf::from(wrapped));
    }
    let authority = view
        .node
        .keyring()
        .open(Scope::Shared, Purpose::Authority, &cluster.authority_key)
        .map_err(|error| view.sealed_problem(&error))?;
    let binding = Binding { scope: cluster.id, purpose: Purpose::Authority };
    let authority_key = key
        .seal(generation, &binding, authority.expose())
        .map_err(|error| view.sealed_problem(&error))?;
    let keyring = KeyringGeneration { wraps, made: view.now };
    let rotate = RotateKeyring { generation, keyring, authority_key };
    let expectation = view.state.expectation(RowKey::Cluster);
    Ok(Admitted::new(Action::RotateKeyring(Box::new(rotate)), format!("generation {generation}"))
        .expecting(expectation))
}
