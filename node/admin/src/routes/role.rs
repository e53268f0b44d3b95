//! Routes for roles, and for what the caller itself may do.

use axum::Json;
use conclave_api::{
    API_VERSION,
    change::List,
    grant::{RoleRights, WhoAmI},
};
use conclave_cluster::rights::{ROLES, limit_text, shown_right, shown_role};
use conclave_store::{id::TokenId, record::Principal};
use conclave_system::clock;

use super::Answer;
use crate::asked::Asked;

pub(super) async fn list(_asked: Asked) -> Answer<List<RoleRights>> {
    let roles = ROLES.iter().map(|(role, rights, text)| RoleRights {
        role: shown_role(*role),
        rights: rights.iter().map(|right| shown_right(*right)).collect(),
        text: (*text).to_owned(),
    });
    Ok(Json(List::new(roles.collect())))
}

pub(super) async fn who_am_i(asked: Asked) -> Answer<WhoAmI> {
    let caller = &asked.operator.caller;
    let token: Option<TokenId> = match &caller.principal {
        Principal::Token { id, .. } => Some(*id),
        Principal::User { session, .. } => Some(*session),
        _ => None,
    };
    let point = asked.operator.node.replica().ok().map(|replica| replica.point());
    let state = point.as_ref().map(|point| &point.state);
    let record = state.zip(token).and_then(|(state, id)| state.access_token(&id));
    let uses_left = state.zip(token).and_then(|(state, id)| state.token_uses(&id));
    let is_owner = matches!(caller.principal, Principal::Owner(_));
    let owner_ends = caller.ends.filter(|_| is_owner);
    Ok(Json(WhoAmI {
        api_version: API_VERSION.to_owned(),
        kind: "WhoAmI".to_owned(),
        who: caller.principal.to_string(),
        rights: caller.access.rights().map(shown_right).collect(),
        domains: caller.access.domains().iter().map(limit_text).collect(),
        expires: record.and_then(|token| token.expires).or(owner_ends).map(clock::rfc3339),
        uses_left,
        account: match &caller.principal {
            Principal::Owner(address) => Some(address.to_string()),
            _ => None,
        },
    }))
}
