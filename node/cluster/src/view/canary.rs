//! Canaries, for the status and for domains.

use conclave_api::canary::Canary as ApiCanary;
use conclave_store::{
    id::{DomainName, Fingerprint},
    record::Canary,
    state::State,
};
use conclave_system::clock;

/// Converts all canaries of the cluster.
pub fn canaries(state: &State) -> Vec<ApiCanary> {
    state.canaries().map(|(name, canary)| convert(state, name, canary)).collect()
}

/// Converts the canary of a domain.
pub(super) fn canary(state: &State, name: &DomainName) -> Option<ApiCanary> {
    state.canary(name).map(|canary| convert(state, name, canary))
}

fn convert(state: &State, name: &DomainName, canary: &Canary) -> ApiCanary {
    let node = state.member(&canary.node).map(|member| member.name.to_string());
    let sha256 = canary.domain.certificates().map(|one| Fingerprint::of(&one.der).to_string());
    ApiCanary {
        domain: name.to_string(),
        node: node.unwrap_or_else(|| format!("node {}", canary.node)),
        since: clock::rfc3339(canary.since),
        until: clock::rfc3339(canary.until),
        certificates: sha256.collect(),
    }
}
