//! Rules for join tokens and for joining with one.

use super::{Changing, check_count, keyring};
use crate::{
    command::RedeemJoinToken,
    id::{Fingerprint, NodeId, TokenId},
    limits::{MEMBERS_MAX, TOKENS_MAX},
    outcome::{Done, Rejection},
    record::{JoinToken, Record, RowKey, TokenUse},
};

/// Adds a join token and removes those that expired more than a day ago.
pub(super) fn create(
    change: &mut Changing<'_>,
    id: TokenId,
    token: &JoinToken,
) -> Result<Done, Rejection> {
    change.state.cluster().ok_or(Rejection::NoCluster)?;
    let forget_before = change.command.time.0.saturating_sub(24 * 60 * 60 * 1000);
    let over: Vec<TokenId> = change
        .state
        .join_tokens()
        .filter(|(_, token)| token.expires.0 < forget_before)
        .map(|(id, _)| *id)
        .collect();
    for id in over {
        change.remove(&RowKey::JoinToken(id))?;
    }
    check_count("join tokens", change.state.join_tokens().count() + 1, TOKENS_MAX)?;
    change.put(RowKey::JoinToken(id), Record::JoinToken(token.clone().into()))?;
    Ok(Done::Changed)
}

/// Returns the member that has used the token already, if it is the same node by its identity key:
/// its retry gets the answer of the first try. Rejects a token that cannot be used.
pub(super) fn used(
    change: &Changing<'_>,
    id: TokenId,
    identity: Fingerprint,
) -> Result<Option<NodeId>, Rejection> {
    let token = change.state.join_token(&id).ok_or(Rejection::JoinTokenUnknown(id))?;
    match &token.used {
        Some(used) if used.identity == identity => return Ok(Some(used.node)),
        Some(used) => return Err(Rejection::JoinTokenUsed { token: id, node: used.node }),
        None => {}
    }
    if change.command.time > token.expires {
        return Err(Rejection::JoinTokenExpired { token: id, expired: token.expires });
    }
    Ok(None)
}

/// Marks a token as used by a new member.
pub(super) fn spend(
    change: &mut Changing<'_>,
    id: TokenId,
    node: NodeId,
    identity: Fingerprint,
) -> Result<(), Rejection> {
    let token = change.state.join_token(&id).cloned();
    let mut token = token.ok_or(Rejection::JoinTokenUnknown(id))?;
    token.used = Some(TokenUse { node, identity });
    change.put(RowKey::JoinToken(id), Record::JoinToken(token.into()))
}

/// Uses the token and adds the member in one step, below level 3.
pub(super) fn redeem(
    change: &mut Changing<'_>,
    redeem: &RedeemJoinToken,
) -> Result<Done, Rejection> {
    let mut cluster = change.state.cluster().cloned().ok_or(Rejection::NoCluster)?;
    let identity = Fingerprint::of(&redeem.member.identity_der);
    if let Some(id) = used(change, redeem.token, identity)? {
        return Ok(Done::Member { id });
    }
    check_member(change, redeem, cluster.node_last)?;
    let id = redeem.member.id;
    keyring::add_wraps(change, id, &redeem.wraps)?;
    spend(change, redeem.token, id, identity)?;
    cluster.node_last = id;
    change.put(RowKey::Cluster, Record::Cluster(cluster.into()))?;
    change.put(RowKey::Member(id), Record::Member(redeem.member.clone().into()))?;
    Ok(Done::Member { id })
}

fn check_member(
    change: &Changing<'_>,
    redeem: &RedeemJoinToken,
    node_last: NodeId,
) -> Result<(), Rejection> {
    let member = &redeem.member;
    check_count("members", change.state.members().count() + 1, MEMBERS_MAX)?;
    if change.state.members().any(|(_, other)| other.name == member.name) {
        return Err(Rejection::NodeNameTaken(member.name.clone()));
    }
    // Admission chose the number; another join may have taken it since.
    if member.id.0 == node_last.0 + 1 { Ok(()) } else { Err(Rejection::WrapsMismatch) }
}
