//! Routes for access tokens.

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    change::List,
    token::{Create, NewToken, Revoked, Token},
};
use conclave_cluster::{admit, fault::internal, rights::shown_grant, token::access_token_text};
use conclave_store::{
    id::{Fingerprint, TokenId},
    record::AccessToken,
    scope::Scope,
    state::State,
};
use conclave_system::{clock, entropy};

use super::Answer;
use crate::asked::Asked;

fn shown(state: &State, id: TokenId, token: &AccessToken) -> Token {
    let grant = state.grant(&id);
    let user = grant.and_then(|grant| grant.user);
    let user = user.and_then(|id| state.users().find(|(_, user)| user.id == id));
    Token {
        id: id.to_string(),
        name: token.name.clone(),
        expires: token.expires.map(clock::rfc3339),
        made: clock::rfc3339(token.made.time),
        made_by: token.made.principal.to_string(),
        grant: grant.map(shown_grant),
        uses_left: state.token_uses(&id),
        user: user.map(|(name, _)| name.to_string()),
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
        about: shown(&state, known, token),
        change,
    }))
}

pub(super) async fn list(asked: Asked) -> Answer<List<Token>> {
    let state = asked.operator.read().await?;
    let tokens = state.access_tokens().map(|(id, token)| shown(&state, *id, token));
    Ok(Json(asked.page.of(tokens.collect(), |one| one.id.clone())))
}

pub(super) async fn revoke(Path(id): Path<String>, asked: Asked) -> Answer<Revoked> {
    // What ends with it is told as it was before.
    let made_by_it = admit::made_by_token(&asked.operator.read().await?, &id);
    let change =
        asked.operator.change(Scope::Shared, move |view| admit::revoke_token(view, &id)).await?;
    let made_by_it = if change.changed { made_by_it } else { Vec::new() };
    Ok(Json(Revoked { change, made_by_it }))
}
