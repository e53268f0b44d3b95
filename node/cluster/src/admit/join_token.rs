//! Admission of join tokens.

use conclave_api::{
    join_token::Create,
    problem::{Code, Problem},
};
use conclave_keys::{Purpose, Secret};
use conclave_store::{
    command::Action,
    id::Fingerprint,
    record::{JoinToken, Stamp},
    time::UnixMillis,
};

use super::{Admitted, View};
use crate::token::JoinTokenText;

const SECONDS: u64 = 3_600;
const SECONDS_MAX: u64 = 30 * 24 * 3_600;

/// Returns the expiry of a token that is created now.
pub fn expires(asked: &Create, now: UnixMillis) -> Result<UnixMillis, Problem> {
    let seconds = asked.expires_in.unwrap_or(SECONDS);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        let title = format!("a join token cannot last {seconds} seconds");
        return Err(Problem::new(Code::Malformed, title).detail("1 second to 30 days"));
    }
    Ok(now.plus(seconds * 1000))
}

/// Creates a token. Its secret is sealed rather than hashed, because a member needs it in plaintext
/// to verify the HMAC of a joining node.
pub fn create_join_token(
    view: &View<'_>,
    token: &JoinTokenText,
    expires: UnixMillis,
    made: &Stamp,
) -> Result<Admitted, Problem> {
    let secret = Secret::new(token.secret.to_vec());
    let secret = view.seal(Purpose::JoinToken(token.id), &secret)?;
    let record = JoinToken { secret, expires, used: None, made: made.clone() };
    Ok(Admitted::new(Action::CreateJoinToken(token.id, record), token.id))
}

/// Returns the fingerprint of the cluster's authority, which tokens carry.
pub fn authority_fingerprint(view: &View<'_>) -> Result<Fingerprint, Problem> {
    let cluster = view.state.cluster();
    let cluster = cluster
        .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster yet"))?;
    Ok(Fingerprint::of(&cluster.authority_der))
}
