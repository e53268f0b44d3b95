//! Join tokens.

use axum::Json;
use conclave_api::{
    API_VERSION,
    join_token::{Create, JoinToken},
};
use conclave_store::id::{Fingerprint, TokenId};
use zeroize::Zeroizing;

use super::Answer;
use crate::{admin::change::Asked, admit, clock, cluster::JoinTokenText, entropy, live::Scope};

pub(super) async fn create(asked: Asked) -> Answer<JoinToken> {
    asked.for_real()?;
    let create: Create = asked.json()?;
    let (id, secret) = (TokenId(entropy::array()), entropy::array::<32>());
    let expires = admit::expires(&create, clock::now())?;
    let made = asked.stamp();
    let token = move |authority: Fingerprint| JoinTokenText {
        id,
        secret: Zeroizing::new(secret),
        authority,
    };
    let state = asked.shared_state().await?;
    let cluster = state.cluster().map(|cluster| Fingerprint::of(&cluster.authority_der));
    let authority = cluster.unwrap_or(Fingerprint([0; 32]));
    let change = asked
        .change(Scope::Shared, move |view| {
            let authority = admit::authority_fingerprint(view)?;
            admit::create_join_token(view, &token(authority), expires, &made)
        })
        .await?;
    Ok(Json(JoinToken {
        api_version: API_VERSION.to_owned(),
        kind: "JoinToken".to_owned(),
        id: id.to_string(),
        token: token(authority).text(),
        address: asked.node.advertised()?,
        fingerprint: authority.to_string(),
        expires: clock::rfc3339(expires),
        change,
    }))
}
