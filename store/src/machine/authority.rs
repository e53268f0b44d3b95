//! Rules for the cluster's authority.

use super::Changing;
use crate::{
    command::RotateAuthority,
    outcome::{Done, Rejection},
    record::{EarlierAuthority, Record, RowKey},
};

/// Replaces the authority. The one before stays trusted, so only one can be replaced at a time.
/// Join tokens name their authority, so none made before can be used.
pub(super) fn rotate(
    change: &mut Changing<'_>,
    rotate: &RotateAuthority,
) -> Result<Done, Rejection> {
    let mut cluster = change.state.cluster().cloned().ok_or(Rejection::NoCluster)?;
    if change.state.earlier_authority().is_some() {
        return Err(Rejection::AuthorityTurning);
    }
    let earlier = EarlierAuthority {
        authority_der: cluster.authority_der.clone().into(),
        cross_der: rotate.cross_der.clone(),
    };
    let tokens: Vec<_> = change.state.join_tokens().map(|(id, _)| *id).collect();
    for id in tokens {
        change.remove(&RowKey::JoinToken(id))?;
    }
    cluster.authority_der = rotate.authority_der.to_vec();
    cluster.authority_key = rotate.authority_key.clone();
    change.put(RowKey::Cluster, Record::Cluster(cluster.into()))?;
    change.put(RowKey::EarlierAuthority, Record::EarlierAuthority(earlier.into()))?;
    Ok(Done::Changed)
}

/// Ends the trust in the authority before the present one.
pub(super) fn forget(change: &mut Changing<'_>) -> Result<Done, Rejection> {
    change.state.cluster().ok_or(Rejection::NoCluster)?;
    change.remove(&RowKey::EarlierAuthority)?;
    Ok(Done::Changed)
}
