//! Which private keys a member could open, also after it has left.

use conclave_api::node::Exposed;
use conclave_store::{record::DepartedMember, state::State, time::UnixMillis};
use conclave_system::clock;

/// Returns the keys that domains still have and that a member could open: those that were there
/// when it left, or all if it is still a member. None if no member has, or had, this name.
pub fn exposed(state: &State, name: &str) -> Option<Vec<Exposed>> {
    let is_member = state.members().any(|(_, member)| member.name.as_str() == name);
    let of_name = |one: &&DepartedMember| one.name.as_str() == name;
    let departed = state.departed_members().map(|(_, one)| one).filter(of_name);
    let left = departed.map(|one| one.left).max();
    let until = if is_member { UnixMillis(u64::MAX) } else { left? };
    let credentials = state.domains().flat_map(|domain| {
        let issuer = state.smime_issuer(domain.id).map(|issuer| &issuer.key);
        let keys = domain.credentials.iter().map(|one| &one.key).chain(issuer);
        keys.map(move |key| (&domain.name, key))
    });
    let exposed = credentials.filter(|(_, key)| key.assigned <= until).map(|(name, key)| Exposed {
        domain: name.to_string(),
        algorithm: key.algorithm.clone(),
        sha256: key.public_key.to_string(),
        assigned: clock::rfc3339(key.assigned),
    });
    Some(exposed.collect())
}
