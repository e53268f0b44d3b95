//! Admission of access tokens of the admin API.

use std::collections::BTreeSet;

use conclave_api::{
    problem::{Code, Problem},
    token::Create,
};
use conclave_keys::Claim;
use conclave_store::{
    command::{Action, GrantToken, RevokeTokens},
    id::{Fingerprint, TokenId},
    machine::GRANTS_LEVEL,
    record::{AccessToken, Grant, Principal, RowKey, Stamp},
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;

use super::{Admitted, View, grant, keyring::PROOFS_LEVEL};
use crate::rights::Access;

const NAME_BYTES_MAX: usize = 64;
const DAY_SECONDS: u64 = 24 * 60 * 60;
const SECONDS: u64 = 90 * DAY_SECONDS;
const SECONDS_MAX: u64 = 366 * DAY_SECONDS;

/// Creates a token. Only the hash of its random secret is stored.
pub fn create_token(
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
    let given = given(view, asked)?;
    if view.is_if_missing
        && let Some((id, present)) = view.state.access_tokens().find(|(id, one)| {
            one.name == asked.name
                && one.expires.is_none_or(|expires| expires > view.now)
                && view.state.grant(id).is_none_or(|grant| grant.user.is_none())
        })
    {
        return Ok(Admitted::nothing(id, vec![RowKey::AccessToken(*id)]).warning(other_terms(
            view.state,
            id,
            present,
            asked,
            given.as_ref(),
        )));
    }
    let record = AccessToken {
        name: asked.name.clone(),
        secret: Fingerprint::of(secret),
        expires: expires(view, asked)?,
        made: made.clone(),
    };
    if view.state.level() < PROOFS_LEVEL {
        return Ok(Admitted::new(Action::CreateAccessToken(id, record), &asked.name));
    }
    let claim = Claim::access_token(id, &record, given.as_ref());
    let proof = view.node.keyring().prove(&claim);
    let proof = proof.map_err(|error| view.sealed_problem(&error))?;
    let action = match given {
        None => Action::AddAccessToken(id, record, proof),
        Some(grant) => Action::GrantToken(Box::new(GrantToken { id, token: record, grant, proof })),
    };
    Ok(Admitted::new(action, &asked.name).expecting(view.state.expectation(RowKey::Cluster)))
}

/// Returns what the holder of the new token may do. Before level 4 there are no grants.
fn given(view: &View<'_>, asked: &Create) -> Result<Option<Grant>, Problem> {
    let grants = view.state.level() >= GRANTS_LEVEL;
    let Some(wanted) = &asked.grant else {
        if !grants {
            return Ok(None);
        }
        return Err(Problem::new(Code::Malformed, "a token needs a role")
            .why("what it may do is bounded by its roles, so that a leaked token is not everything")
            .hint("--role operator    and, if it is for one domain: --domain NAME"));
    };
    let wanted = grant::grant(wanted, true)?;
    if !grants {
        return Err(Problem::new(
            Code::VersionTooOld,
            "a member of the cluster knows no roles yet",
        )
        .hint(crate::replica::UPGRADE_HINT));
    }
    check_covered(view.access, &wanted)?;
    Ok(Some(wanted))
}

/// Refuses to give others more than the caller has.
pub(super) fn check_covered(access: &Access, wanted: &Grant) -> Result<(), Problem> {
    if access.covers(&Access::of(wanted)) {
        return Ok(());
    }
    Err(Problem::new(Code::NotAllowed, "nobody gives others more than they have")
        .why("this grant has a right or a domain that your own does not have")
        .hint("conclave token whoami    shows yours; at the admin socket everything is allowed"))
}

fn expires(view: &View<'_>, asked: &Create) -> Result<Option<UnixMillis>, Problem> {
    if asked.never_expires {
        if asked.expires_in.is_some() {
            return Err(Problem::new(Code::Malformed, "either an end or none"));
        }
        if !view.access.is_everything() {
            let title = "a token without an end can only be made at the admin socket";
            return Err(Problem::new(Code::NotAllowed, title).hint("--expires-in 366d at most"));
        }
        return Ok(None);
    }
    // Tokens of earlier versions end only if it is asked for.
    if asked.expires_in.is_none() && view.state.level() < GRANTS_LEVEL {
        return Ok(None);
    }
    let seconds = asked.expires_in.unwrap_or(SECONDS);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        let title = format!("a token cannot last {seconds} seconds");
        return Err(Problem::new(Code::Malformed, title).detail("1 second to 366 days"));
    }
    Ok(Some(view.now.plus(seconds.saturating_mul(1_000))))
}

/// Warns about a token of this name that exists and is another one than was asked for.
fn other_terms(
    state: &State,
    id: &TokenId,
    present: &AccessToken,
    asked: &Create,
    given: Option<&Grant>,
) -> Vec<String> {
    let name = &present.name;
    let end = match (present.expires, asked.expires_in, asked.never_expires) {
        (Some(expires), _, true) => {
            Some(format!("a token {name} exists, and expires at {}", clock::rfc3339(expires)))
        }
        (None, Some(_), _) => Some(format!("a token {name} exists, and never expires")),
        _ => None,
    };
    let has_other_grant = state.grant(id) != given;
    let grant = has_other_grant.then(|| format!("a token {name} exists, and may do other things"));
    end.into_iter().chain(grant).collect()
}

/// Revokes a token, and the tokens that were made with it.
pub fn revoke_token(view: &View<'_>, id: &str) -> Result<Admitted, Problem> {
    let id = token_id(id)?;
    if view.state.level() < GRANTS_LEVEL {
        return Ok(Admitted::new(Action::RevokeAccessToken(id), id));
    }
    let (access, join) = made_with(view.state, id);
    Ok(Admitted::new(Action::RevokeTokens(RevokeTokens { access, join }), id))
}

/// Ends a join token.
pub fn end_join_token(view: &View<'_>, id: &str) -> Result<Admitted, Problem> {
    let id = token_id(id)?;
    if view.state.join_token(&id).is_none() {
        return Err(Problem::new(Code::NotFound, format!("no join token {id}"))
            .hint("conclave join-token list"));
    }
    let revoke = RevokeTokens { access: Vec::new(), join: vec![id] };
    Ok(Admitted::new(Action::RevokeTokens(revoke), id))
}

fn token_id(id: &str) -> Result<TokenId, Problem> {
    TokenId::parse(id).ok_or_else(|| {
        Problem::new(Code::Malformed, format!("{id:?} is not the id of a token"))
            .hint("conclave token list    shows the ids")
    })
}

/// Describes the tokens that were made with a token, and with those.
pub fn made_by_token(state: &State, id: &str) -> Vec<String> {
    let Some(id) = TokenId::parse(id) else { return Vec::new() };
    let (access, join) = made_with(state, id);
    let name = |id: &TokenId| {
        let token = state.access_token(id);
        token.map_or_else(|| id.to_string(), |token| format!("{} ({id})", token.name))
    };
    let access = access.iter().skip(1).map(|id| format!("access token {}", name(id)));
    access.chain(join.iter().map(|id| format!("join token {id}"))).collect()
}

/// Returns the access tokens and join tokens that end with a token, the token itself first.
fn made_with(state: &State, id: TokenId) -> (Vec<TokenId>, Vec<TokenId>) {
    let (mut access, mut seen) = (vec![id], BTreeSet::from([id]));
    let mut next = 0;
    while let Some(maker) = access.get(next).copied() {
        next += 1;
        let made = state.access_tokens().filter(|(_, token)| is_by(&token.made, maker));
        access.extend(made.map(|(id, _)| *id).filter(|id| seen.insert(*id)));
    }
    let join = state.join_tokens();
    let join = join.filter(|(_, token)| {
        token.used.is_none() && access.iter().any(|maker| is_by(&token.made, *maker))
    });
    let join = join.map(|(id, _)| *id).collect();
    (access, join)
}

fn is_by(made: &Stamp, maker: TokenId) -> bool {
    matches!(&made.principal, Principal::Token { id, .. } if *id == maker)
}
