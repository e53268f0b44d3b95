//! Rules for access tokens of the admin API.

use super::{Changing, check_count};
use crate::{
    id::TokenId,
    limits::TOKENS_MAX,
    outcome::{Done, Rejection},
    record::{AccessToken, Proof, ProofOf, Record, RowKey},
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

/// Revokes an access token at once.
pub(super) fn revoke(change: &mut Changing<'_>, id: TokenId) -> Result<Done, Rejection> {
    change.state.access_token(&id).ok_or(Rejection::AccessTokenUnknown(id))?;
    change.remove(&RowKey::AccessToken(id))?;
    change.remove(&RowKey::Proof(ProofOf::AccessToken(id)))?;
    Ok(Done::Changed)
}
