//! Admission of access tokens of the admin API.

use conclave_api::{
    problem::{Code, Problem},
    token::Create,
};
use conclave_keys::Claim;
use conclave_store::{
    command::Action,
    id::{Fingerprint, TokenId},
    record::{AccessToken, RowKey, Stamp},
};
use conclave_system::clock;

use super::{Admitted, View, keyring::PROOFS_LEVEL};

const NAME_BYTES_MAX: usize = 64;

/// Creates a token. Only the hash of its random secret is stored.
pub(crate) fn create_token(
    view: &View<'_>,
    id: TokenId,
    secret: &[u8; 32],
    asked: &Create,
    made: &Stamp,
) -> Result<Admitted, Problem> {
    let is_name = !asked.name.is_empty()
        && asked.name.len() <= NAME_BYTES_MAX
        && asked.name.chars().all(|c| !c.is_control());
    if !is_name {
        return Err(Problem::new(Code::Malformed, "a token needs a name of 1 to 64 characters"));
    }
    if view.is_if_missing
        && let Some((id, present)) = view.state.access_tokens().find(|(_, one)| {
            one.name == asked.name && one.expires.is_none_or(|expires| expires > view.now)
        })
    {
        let warning = other_expiry(present, asked);
        return Ok(Admitted::nothing(id, vec![RowKey::AccessToken(*id)])
            .warning(warning.into_iter().collect()));
    }
    let record = AccessToken {
        name: asked.name.clone(),
        secret: Fingerprint::of(secret),
        expires: asked.expires_in.map(|seconds| view.now.plus(seconds.saturating_mul(1000))),
        made: made.clone(),
    };
    if view.state.level() < PROOFS_LEVEL {
        return Ok(Admitted::new(Action::CreateAccessToken(id, record), &asked.name));
    }
    let proof = view.node.keyring().prove(&Claim::access_token(id, &record));
    let proof = proof.map_err(|error| view.sealed_problem(&error))?;
    Ok(Admitted::new(Action::AddAccessToken(id, record, proof), &asked.name)
        .expecting(view.state.expectation(RowKey::Cluster)))
}

/// Warns about the end of a token that exists. Without `asked.expires_in` there is none to compare.
fn other_expiry(present: &AccessToken, asked: &Create) -> Option<String> {
    let name = &present.name;
    match (present.expires, asked.expires_in) {
        (Some(expires), None) => {
            Some(format!("a token {name} exists, and expires at {}", clock::rfc3339(expires)))
        }
        (None, Some(_)) => Some(format!("a token {name} exists, and never expires")),
        _ => None,
    }
}

pub(crate) fn revoke_token(_view: &View<'_>, id: &str) -> Result<Admitted, Problem> {
    let id = TokenId::parse(id).ok_or_else(|| {
        Problem::new(Code::Malformed, format!("{id:?} is not the id of a token"))
            .hint("conclave token list    shows the ids")
    })?;
    Ok(Admitted::new(Action::RevokeAccessToken(id), id))
}
