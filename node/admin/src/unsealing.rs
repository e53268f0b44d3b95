//! Who may unseal this node.

use axum::{extract::FromRequestParts, http::request::Parts};
use conclave_cluster::{node::Node, rights::Access, token::parse_access_token};
use conclave_store::{
    id::Fingerprint,
    record::{Grant, Right},
};
use conclave_system::clock;

use super::{auth, parameters, problem::Failed};

/// A caller that may unseal this node: any caller of the admin API, and while the node is sealed
/// also the holder of a token that State knows.
///
/// A sealed node cannot check that a holder of the keyring made the token. Its sender must
/// still know the passphrase, shares or unlock key, so a forged token gains the rate of wrong
/// attempts and no more.
pub(super) struct Unsealer;

impl FromRequestParts<Node> for Unsealer {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Unsealer, Failed> {
        parameters::read(&parts.uri)?;
        match auth::caller(parts, node).await {
            Ok(_) => Ok(Unsealer),
            Err(_) if node.keyring().is_sealed() && is_known(parts, node) => Ok(Unsealer),
            Err(refused) => Err(refused),
        }
    }
}

/// A session cannot: what its user may do cannot be checked either.
fn may_unseal(grant: &Grant) -> bool {
    grant.user.is_none() && Access::of(grant).rights().any(|right| right == Right::Keyring)
}

/// Returns whether State knows the token, it has not expired, and its grant allows it.
fn is_known(parts: &Parts, node: &Node) -> bool {
    let header = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = header.and_then(|text| text.strip_prefix("Bearer ")).and_then(parse_access_token);
    let (Some((id, secret)), Ok(replica)) = (token, node.replica()) else { return false };
    let point = replica.point();
    point.state.access_token(&id).is_some_and(|token| {
        token.secret == Fingerprint::of(&secret)
            && token.expires.is_none_or(|expires| clock::now() <= expires)
            && point.state.grant(&id).is_none_or(may_unseal)
    })
}
