//! Rules for users of the admin API.

use super::{Changing, check_count, token};
use crate::{
    command::PutUser,
    id::{TokenId, UserId, UserName},
    limits::{USER_CERTIFICATES_MAX, USERS_MAX},
    outcome::{Done, Rejection},
    record::{ProofOf, Record, RowKey},
};

/// Adds a user, or replaces one. Sessions end if what the user logs in with has changed.
pub(super) fn put(change: &mut Changing<'_>, put: &PutUser) -> Result<Done, Rejection> {
    let (name, user) = (&put.name, &put.user);
    let present = change.state.user(name).cloned();
    match &present {
        Some(_) if put.is_new => return Err(Rejection::UserExists(name.clone())),
        None if !put.is_new => return Err(Rejection::UserUnknown(name.clone())),
        // Another one of this name was made in the meantime.
        Some(present) if present.id != user.id => return Err(Rejection::UserUnknown(name.clone())),
        _ => {}
    }
    if put.is_new {
        check_count("users", change.state.users().count() + 1, USERS_MAX)?;
    }
    check_count("certificates of a user", user.certificates.len(), USER_CERTIFICATES_MAX)?;
    token::check_grant(&user.grant)?;
    if present.is_some_and(|present| present.credentials_changed != user.credentials_changed) {
        end_sessions(change, user.id)?;
    }
    change.put(RowKey::User(name.clone()), Record::User(user.clone().into()))?;
    change.put(RowKey::Proof(ProofOf::User(user.id)), Record::Proof(put.proof))?;
    Ok(Done::Changed)
}

/// Removes a user and ends its sessions.
pub(super) fn remove(change: &mut Changing<'_>, name: &UserName) -> Result<Done, Rejection> {
    let unknown = || Rejection::UserUnknown(name.clone());
    let id = change.state.user(name).map(|user| user.id).ok_or_else(unknown)?;
    end_sessions(change, id)?;
    change.remove(&RowKey::User(name.clone()))?;
    change.remove(&RowKey::Proof(ProofOf::User(id)))?;
    Ok(Done::Changed)
}

fn end_sessions(change: &mut Changing<'_>, id: UserId) -> Result<(), Rejection> {
    let sessions: Vec<TokenId> =
        change.state.sessions().filter(|(_, user)| *user == id).map(|(id, _)| id).collect();
    sessions.into_iter().try_for_each(|id| token::remove(change, id))
}
