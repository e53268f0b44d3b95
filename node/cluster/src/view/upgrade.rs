//! How far a rolling upgrade is.

use std::collections::BTreeMap;

use conclave_api::{
    API_VERSION,
    cluster::{Upgrade, UpgradeNode},
};
use conclave_store::{id::NodeId, record::LEVEL_MAX, state::State};

use crate::replica::{known_level, version_of};

/// Returns the highest level that every member knows; the present one if a member does not answer.
pub(crate) fn possible_level(state: &State, versions: &BTreeMap<NodeId, Option<String>>) -> u32 {
    let known = |id: &NodeId| versions.get(id)?.as_deref().map(known_level);
    let lowest = state.members().map(|(id, _)| known(id)).min().flatten();
    // The answering program can order no level that it does not know.
    lowest.unwrap_or(state.level()).min(LEVEL_MAX).max(state.level())
}

/// Compares the level of the cluster with what its members know.
pub fn upgrade(
    state: &State,
    versions: &BTreeMap<NodeId, Option<String>>,
    is_automatic: bool,
) -> Upgrade {
    let level = state.level();
    let nodes: Vec<UpgradeNode> = state
        .members()
        .map(|(id, member)| {
            let version = versions.get(id).cloned().flatten();
            let level = version.as_deref().map(known_level);
            UpgradeNode { name: member.name.to_string(), version, level }
        })
        .collect();
    Upgrade {
        api_version: API_VERSION.to_owned(),
        kind: "Upgrade".to_owned(),
        level,
        since: version_of(level),
        possible: possible_level(state, versions),
        automatic: is_automatic,
        finalized: nodes.iter().all(|node| node.level.is_none_or(|known| known <= level)),
        nodes,
    }
}
