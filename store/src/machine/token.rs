//! Rules for access tokens of the admin API.

use super::{Changing, audit, check_count, too_many};
use crate::{
    command::{GrantToken, RevokeTokens},
    id::{TokenId, UserId},
    limits::{GRANT_LIMITS_MAX, SESSIONS_MAX, TOKENS_MAX},
    outcome::{Done, Rejection},
    record::{AccessToken, Grant, Principal, Proof, ProofOf, Record, RowKey},
};

/// Adds an access token.
pub(super) fn create(
    change: &mut Changing<'_>,
    id: TokenId,
    token: &AccessToken,
) -> Result<Done, Rejection> {
    check_count("access tokens", change.state.access_tokens().count() + 1, TOKENS_MAX)?;
    change.put(RowKey::AccessToken(id), Record::AccessToken(token.clone().into()))?;
    Ok(Done::Changed)
}

/// Adds an access token with its proof.
pub(super) fn add(
    change: &mut Changing<'_>,
    id: TokenId,
    token: &AccessToken,
    proof: Proof,
) -> Result<Done, Rejection> {
    create(change, id, token)?;
    change.put(RowKey::Proof(ProofOf::AccessToken(id)), Record::Proof(proof))?;
    Ok(Done::Changed)
}

/// Adds an access token with a grant. The token of a login makes room for itself.
pub(super) fn grant(change: &mut Changing<'_>, grant: &GrantToken) -> Result<Done, Rejection> {
    check_grant(&grant.grant)?;
    if change.state.access_token(&grant.id).is_some() {
        return Err(Rejection::Stale(RowKey::AccessToken(grant.id)));
    }
    match grant.grant.user {
        Some(user) => make_room(change, user)?,
        None => {
            let sessions = change.state.sessions().count();
            let others = change.state.access_tokens().count().saturating_sub(sessions);
            check_count("access tokens", others + 1, TOKENS_MAX)?;
        }
    }
    let token = Record::AccessToken(grant.token.clone().into());
    change.put(RowKey::AccessToken(grant.id), token)?;
    change.put(RowKey::Grant(grant.id), Record::Grant(grant.grant.clone().into()))?;
    change.put(RowKey::Proof(ProofOf::AccessToken(grant.id)), Record::Proof(grant.proof))?;
    if let Some(uses) = grant.grant.uses {
        change.put(RowKey::TokenUses(grant.id), Record::TokenUses(uses))?;
    }
    Ok(Done::Changed)
}

/// Rejects a grant above its bounds.
pub(super) fn check_grant(grant: &Grant) -> Result<(), Rejection> {
    let longest = [grant.roles.len(), grant.only.len(), grant.domains.len(), grant.networks.len()];
    match longest.iter().all(|count| *count <= GRANT_LIMITS_MAX) {
        true => Ok(()),
        false => Err(too_many("limits in one grant", GRANT_LIMITS_MAX)),
    }
}

/// Removes the sessions that have expired, and the oldest ones of a user above the bound.
fn make_room(change: &mut Changing<'_>, user: UserId) -> Result<(), Rejection> {
    let now = change.command.time;
    let (mut over, mut kept) = (Vec::new(), Vec::new());
    for (id, of) in change.state.sessions() {
        let Some(token) = change.state.access_token(&id) else { continue };
        if token.expires.is_some_and(|expires| expires < now) {
            over.push(id);
        } else if of == user {
            kept.push((token.made.time, id));
        }
    }
    kept.sort_unstable();
    let above = (kept.len() + 1).saturating_sub(SESSIONS_MAX);
    over.extend(kept.into_iter().take(above).map(|(_, id)| id));
    over.into_iter().try_for_each(|id| remove(change, id))
}

/// Removes an access token with everything that belongs to it.
pub(super) fn remove(change: &mut Changing<'_>, id: TokenId) -> Result<(), Rejection> {
    change.remove(&RowKey::AccessToken(id))?;
    change.remove(&RowKey::Proof(ProofOf::AccessToken(id)))?;
    change.remove(&RowKey::Grant(id))?;
    change.remove(&RowKey::TokenUses(id))
}

/// Revokes an access token at once.
pub(super) fn revoke(change: &mut Changing<'_>, id: TokenId) -> Result<Done, Rejection> {
    change.state.access_token(&id).ok_or(Rejection::AccessTokenUnknown(id))?;
    remove(change, id)?;
    Ok(Done::Changed)
}

/// Revokes tokens at once. The first access token must exist; the others may have ended.
pub(super) fn revoke_all(
    change: &mut Changing<'_>,
    revoke: &RevokeTokens,
) -> Result<Done, Rejection> {
    if let Some(first) = revoke.access.first() {
        change.state.access_token(first).ok_or(Rejection::AccessTokenUnknown(*first))?;
    } else if let Some(first) = revoke.join.first() {
        change.state.join_token(first).ok_or(Rejection::JoinTokenUnknown(*first))?;
    }
    revoke.access.iter().try_for_each(|id| remove(change, *id))?;
    revoke.join.iter().try_for_each(|id| change.remove(&RowKey::JoinToken(*id)))?;
    Ok(Done::Changed)
}

/// Counts a change made with a token whose changes are bounded.
pub(super) fn count_use(change: &mut Changing<'_>) -> Result<(), Rejection> {
    let Principal::Token { id, .. } = change.command.principal else { return Ok(()) };
    let Some(left) = change.state.token_uses(&id).filter(|_| audit::is_told(change)) else {
        return Ok(());
    };
    let left = left.checked_sub(1).ok_or(Rejection::TokenUsedUp(id))?;
    change.put(RowKey::TokenUses(id), Record::TokenUses(left))
}
