//! Routes for access tokens.

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    change::{Change, List},
    token::{Create, NewToken, Token},
};
use conclave_store::{
    id::{Fingerprint, TokenId},
    record::AccessToken,
    scope::Scope,
};
use conclave_system::{clock, entropy};

use super::Answer;
use crate::{admin::asked::Asked, admit, fault::internal, token::access_token_text};

fn shown(id: TokenId, token: &AccessToken) -> Token {
    Token {
        id: id.to_string(),
        name: token.name.clone(),
        expires: token.expires.map(clock::rfc3339),
        made: clock::rfc3339(token.made.time),
        made_by: token.made.principal.to_string(),
    }
}

pub(super) async fn create(asked: Asked) -> Answer<NewToken> {
    asked.operator.for_real()?;
    let create: Create = asked.json()?;
    let (id, secret) = (TokenId(entropy::array()), entropy::array::<32>());
    let made = asked.operator.stamp();
    let change = asked
        .operator
        .change(Scope::Shared, move |view| admit::create_token(view, id, &secret, &create, &made))
        .await?;
    let state = asked.operator.read().await?;
    let cluster = state.cluster().ok_or_else(|| internal("no cluster", id))?;
    // If it existed already, its secret is not known.
    let is_new = change.changed;
    let known = TokenId::parse(&change.object).filter(|_| !is_new).unwrap_or(id);
    let token = state.access_token(&known);
    let token = token.ok_or_else(|| internal("the token is gone", known))?;
    Ok(Json(NewToken {
        api_version: API_VERSION.to_owned(),
        kind: "Token".to_owned(),
        token: is_new
            .then(|| access_token_text(id, secret, Fingerprint::of(&cluster.authority_der))),
        about: shown(known, token),
        change,
    }))
}

pub(super) async fn list(asked: Asked) -> Answer<List<Token>> {
    let state = asked.operator.read().await?;
    Ok(Json(List::new(state.access_tokens().map(|(id, token)| shown(*id, token)).collect())))
}

pub(super) async fn revoke(Path(id): Path<String>, asked: Asked) -> Answer<Change> {
    Ok(Json(
        asked.operator.change(Scope::Shared, move |view| admit::revoke_token(view, &id)).await?,
    ))
}
