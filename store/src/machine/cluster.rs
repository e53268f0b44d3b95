//! Rule for founding a cluster.

use super::Changing;
use crate::{
    command::FoundCluster,
    outcome::{Done, Rejection},
    record::{Record, RowKey},
};

/// Founds the cluster. Rejected if State already has one.
pub(super) fn found(change: &mut Changing<'_>, found: &FoundCluster) -> Result<Done, Rejection> {
    if let Some(cluster) = change.state.cluster() {
        return Err(Rejection::ClusterExists(cluster.name.clone()));
    }
    if found.keyring.wraps.keys().ne([&found.member.id]) {
        return Err(Rejection::WrapsMismatch);
    }
    let id = found.member.id;
    change.put(RowKey::Cluster, Record::Cluster(found.cluster.clone().into()))?;
    change.put(RowKey::Member(id), Record::Member(found.member.clone().into()))?;
    change.put(
        RowKey::Generation(found.cluster.generation),
        Record::Generation(found.keyring.clone().into()),
    )?;
    Ok(Done::Member { id })
}
