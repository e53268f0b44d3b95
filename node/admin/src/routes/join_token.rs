//! Routes for join tokens.

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    change::{Change, List},
    join_token::{Create, JoinToken, Known},
};
use conclave_cluster::{admit, token::JoinTokenText};
use conclave_store::{
    id::{Fingerprint, TokenId},
    scope::Scope,
};
use conclave_system::{clock, entropy};
use zeroize::Zeroizing;

use super::Answer;
use crate::asked::Asked;

pub(super) async fn create(asked: Asked) -> Answer<JoinToken> {
    asked.operator.for_real()?;
    let create: Create = asked.json()?;
    let (id, secret) = (TokenId(entropy::array()), entropy::array::<32>());
    let expires = admit::expires(&create, clock::now())?;
    let made = asked.operator.stamp();
    let token = move |authority: Fingerprint| JoinTokenText {
        id,
        secret: Zeroizing::new(secret),
        authority,
    };
    let state = asked.operator.read().await?;
    let cluster = state.cluster().map(|cluster| Fingerprint::of(&cluster.authority_der));
    let authority = cluster.unwrap_or(Fingerprint([0; 32]));
    let change = asked
        .operator
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
        address: asked.operator.node.advertised()?,
        fingerprint: authority.to_string(),
        expires: clock::rfc3339(expires),
        change,
    }))
}

/// Lists the join tokens that have not been forgotten.
pub(super) async fn list(asked: Asked) -> Answer<List<Known>> {
    let state = asked.operator.read().await?;
    let known = state.join_tokens().map(|(id, token)| Known {
        id: id.to_string(),
        expires: clock::rfc3339(token.expires),
        used_by: token.used.as_ref().map(|used| used.node.0),
        made: clock::rfc3339(token.made.time),
        made_by: token.made.principal.to_string(),
    });
    Ok(Json(asked.page.of(known.collect(), |one| one.id.clone())))
}

pub(super) async fn revoke(Path(id): Path<String>, asked: Asked) -> Answer<Change> {
    let derive = move |view: &admit::View<'_>| admit::end_join_token(view, &id);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}
