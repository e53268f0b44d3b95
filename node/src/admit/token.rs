//! Admission of access tokens of the admin API.

use conclave_api::{
    problem::{Code, Problem},
    token::Create,
};
use conclave_store::{
    command::Action,
    id::{Fingerprint, TokenId},
    record::{AccessToken, Stamp},
};

use super::{Admitted, View};

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
    let record = AccessToken {
        name: asked.name.clone(),
        secret: Fingerprint::of(secret),
        expires: asked.expires_in.map(|seconds| view.now.plus(seconds.saturating_mul(1000))),
        made: made.clone(),
    };
    Ok(Admitted::new(Action::CreateAccessToken(id, record), &asked.name))
}

pub(crate) fn revoke_token(_view: &View<'_>, id: &str) -> Result<Admitted, Problem> {
    let id = TokenId::parse(id).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("no access token {id:?}")).hint("conclave token list")
    })?;
    Ok(Admitted::new(Action::RevokeAccessToken(id), id))
}
