//! Rules for join tokens and for joining with one.

use super::{Changing, check_count};
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

/// Uses the token and adds the member in one step. A retry of the same node, by its identity key,
/// gets the answer of the first try.
pub(super) fn redeem(
    change: &mut Changing<'_>,
    redeem: &RedeemJoinToken,
) -> Result<Done, Rejection> {
    let mut cluster = change.state.cluster().cloned().ok_or(Rejection::NoCluster)?;
    let mut token = change
        .state
        .join_token(&redeem.token)
        .cloned()
        .ok_or(Rejection::JoinTokenUnknown(redeem.token))?;
    let identity = Fingerprint::of(&redeem.member.identity_der);
    match &token.used {
        Some(used) if used.identity == identity => return Ok(Done::Member { id: used.node }),
        Some(used) => {
            return Err(Rejection::JoinTokenUsed { token: redeem.token, node: used.node });
        }
        None => {}
    }
    if change.command.time > token.expires {
        return Err(Rejection::JoinTokenExpired { token: redeem.token, expired: token.expires });
    }
    check_member(change, redeem, cluster.node_last)?;
    let id = redeem.member.id;
    for (generation, wrap) in &redeem.wraps {
        let mut keyring =
            change.state.generation(generation).cloned().ok_or(Rejection::WrapsMismatch)?;
        keyring.wraps.insert(id, wrap.clone());
        change.put(RowKey::Generation(*generation), Record::Generation(keyring.into()))?;
    }
    token.used = Some(TokenUse { node: id, identity });
    cluster.node_last = id;
    change.put(RowKey::JoinToken(redeem.token), Record::JoinToken(token.into()))?;
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
    let is_next = member.id.0 == node_last.0 + 1;
    let generations = change.state.generations().map(|(generation, _)| generation);
    if !is_next || !redeem.wraps.iter().map(|(generation, _)| generation).eq(generations) {
        return Err(Rejection::WrapsMismatch);
    }
    Ok(())
}
