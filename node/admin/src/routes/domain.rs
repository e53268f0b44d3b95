//! Routes for domains.

use axum::{Json, extract::Path};
use conclave_api::{
    change::{Change, List},
    domain::{Create, Domain, DomainVersion, Rename, Rollback, Scope as ApiScope, Set},
    finding::Severity,
    problem::{Code, Problem},
};
use conclave_cluster::{
    admit::{self, domain_name},
    fault::internal,
    trusted,
    view::{self, Listed, Place},
};
use conclave_store::{id::DomainName, record::Domain as Record, scope::Scope, state::State};
use conclave_system::clock;

use super::Answer;
use crate::{asked::Asked, problem::Failed};

pub(super) async fn create(asked: Asked) -> Answer<Change> {
    let create: Create = asked.json()?;
    let scope = match create.scope {
        Some(ApiScope::Local) => Scope::Local,
        Some(ApiScope::Shared) => Scope::Shared,
        None => asked.operator.scope.unwrap_or(Scope::Shared),
    };
    Ok(Json(asked.operator.change(scope, move |view| admit::create_domain(view, &create)).await?))
}

pub(super) async fn set(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    let scope = asked.operator.scope_of(&name);
    Ok(Json(asked.operator.change(scope, move |view| admit::set_domain(view, &name, &set)).await?))
}

pub(super) async fn delete(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let scope = asked.operator.scope_of(&name);
    Ok(Json(asked.operator.change(scope, move |view| admit::delete_domain(view, &name)).await?))
}

/// Answers a page of the chosen domains. A name that exists in both scopes is never split over two
/// pages of a list by name.
pub(super) async fn list(asked: Asked) -> Answer<List<Domain>> {
    let shared = asked.operator.read().await?;
    let chosen = asked.chosen.clone();
    let place = |text: &str| {
        let place = Place::parse(text, chosen.order);
        place.ok_or_else(|| Problem::new(Code::Malformed, format!("after={text:?}")))
    };
    let after = asked.page.after.as_deref().map(place).transpose()?;
    let local = asked.operator.node.local().point();
    let listed = tokio::task::spawn_blocking(move || {
        let (limit, now) = (asked.page.limit, clock::now());
        let operator = &asked.operator;
        let main = &operator.node.config().main_domain;
        let inspections = operator.node.inspections();
        let access = &operator.caller.access;
        let mut found = Vec::new();
        for (scope, state) in [(Scope::Shared, &shared), (Scope::Local, &local.state)] {
            if operator.scope.is_none_or(|wanted| wanted == scope) {
                let listed = Listed { scope, state, inspections, now };
                let is_seen = |name: &DomainName| access.includes(name);
                let page = chosen.domains(&listed, after.as_ref(), limit + 1, is_seen);
                found.extend(page.into_iter().map(|(place, domain)| (place, scope, domain)));
            }
        }
        // Both scopes are in their order, and this keeps the shared one first.
        found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let mut page = List::new(Vec::new());
        let mut last = None;
        for (count, same) in found.chunk_by(|(one, ..), (other, ..)| one == other).enumerate() {
            if count == limit {
                page.next = last;
                break;
            }
            last = same.first().map(|(place, ..)| place.to_string());
            page.items.extend(same.iter().map(|(_, scope, domain)| match scope {
                Scope::Shared => view::domain(Scope::Shared, &shared, domain, false, now),
                Scope::Local => {
                    let is_hidden = shared.domain(&domain.name).is_some();
                    let shown = view::domain(Scope::Local, &local.state, domain, is_hidden, now);
                    Domain { main: domain.name == *main, ..shown }
                }
            }));
        }
        page
    });
    Ok(Json(listed.await.map_err(|error| internal("the list", error))?))
}

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Domain> {
    let (scope, state, domain) = find(&asked, &name).await?;
    let main = scope == Scope::Local && domain.name == asked.operator.node.config().main_domain;
    let trusting = tokio::task::spawn_blocking(move || {
        let now = clock::now();
        let shown = view::domain(scope, &state, &domain, false, now);
        let mut shown = Domain { main, ..shown };
        for (shown, credential) in shown.credentials.iter_mut().zip(&domain.credentials) {
            shown.trusted_by = trusted::sent(&state, credential).and_then(|(leaf, chain)| {
                trusted::judge(scope, &state, &domain, &leaf, &chain, now).1
            });
        }
        if let Some(asked) = &domain.client_auth {
            let issuer = admit::issuer(scope, &state, &domain, asked.issuer);
            shown.client_auth = Some(view::client_auth(asked, issuer.as_ref()));
        }
        shown.findings = view::of_domain(scope, &state, &domain, now).findings;
        let said = shown.findings.iter().filter(|one| one.severity > Severity::Note);
        shown.problems = said.map(|one| one.text.clone()).collect();
        shown
    });
    Ok(Json(trusting.await.map_err(|error| internal("the chain", error))?))
}

/// Finds a domain of either scope, with the State that contains it. The shared scope comes first.
pub(super) async fn find(asked: &Asked, name: &str) -> Result<(Scope, State, Record), Failed> {
    let name = domain_name(name)?;
    let shared = match asked.operator.scope {
        Some(Scope::Local) => State::default(),
        _ => asked.operator.read().await?,
    };
    if let Some(domain) = shared.domain(&name).cloned() {
        return Ok((Scope::Shared, shared, domain));
    }
    let local = asked.operator.node.local().point();
    match local.state.domain(&name).filter(|_| asked.operator.scope != Some(Scope::Shared)) {
        Some(domain) => Ok((Scope::Local, local.state.clone(), domain.clone())),
        None => {
            let unknown = conclave_store::outcome::Rejection::DomainUnknown(name);
            Err(admit::rejection_problem(&unknown).into())
        }
    }
}

pub(super) async fn rename(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let rename: Rename = asked.json()?;
    let scope = asked.operator.scope_of(&name);
    Ok(Json(
        asked
            .operator
            .change(scope, move |view| admit::rename_domain(view, &name, &rename))
            .await?,
    ))
}

pub(super) async fn rollback(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let rollback: Rollback = asked.json()?;
    let scope = asked.operator.scope_of(&name);
    let derive = move |view: &admit::View<'_>| admit::rollback_domain(view, &name, &rollback);
    Ok(Json(asked.operator.change(scope, derive).await?))
}

/// Answers all stored versions, the current one first.
pub(super) async fn history(Path(name): Path<String>, asked: Asked) -> Answer<List<DomainVersion>> {
    let (_, state, found) = find(&asked, &name).await?;
    let mut stored: Vec<_> = state.domain_versions(found.id).collect();
    stored.push(found);
    Ok(Json(List::new(view::versions(&stored))))
}
