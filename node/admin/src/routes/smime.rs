//! Routes for the issuers of S/MIME certificates. Only shared domains have them.

use std::sync::Arc;

use axum::{Json, extract::Path};
use conclave_api::{
    certificate::Refresh,
    change::Change,
    csr::Csr,
    problem::Problem,
    smime::{Chain, Crl, Import, Issuer, Set, SetRecoveryKey, Subject},
};
use conclave_cluster::{
    admit::{self, View, domain_name},
    fault::internal,
    operate::Operator,
    view,
};
use conclave_pki::key::PrivateKey;
use conclave_store::{outcome::Rejection, scope::Scope, state::State, time::UnixMillis};
use conclave_system::clock;

use super::Answer;
use crate::asked::Asked;

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Issuer> {
    let name = domain_name(&name)?;
    let state = asked.operator.read().await?;
    let unknown = || admit::rejection_problem(&Rejection::DomainUnknown(name.clone()));
    let domain = state.domain(&name).ok_or_else(unknown)?;
    Ok(Json(view::smime_issuer(&state, domain, clock::now())))
}

async fn new_key(subject: &Subject) -> Result<Arc<PrivateKey>, Problem> {
    let subject = subject.clone();
    let made = tokio::task::spawn_blocking(move || admit::generate_issuer_key(&subject));
    made.await.map_err(|error| internal("the key was not made", error))?.map(Arc::new)
}

pub(super) async fn self_sign(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let subject: Subject = asked.json()?;
    let key = new_key(&subject).await?;
    let derive = move |view: &View<'_>| admit::self_sign_issuer(view, &name, &subject, &key);
    let change = asked.operator.change(Scope::Shared, derive).await?;
    Ok(Json(change.made_afresh("certificate")))
}

pub(super) async fn refresh(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let refresh: Refresh = asked.json()?;
    let derive = move |view: &View<'_>| admit::refresh_issuer(view, &name, &refresh);
    let change = asked.operator.change(Scope::Shared, derive).await?;
    Ok(Json(change.made_afresh("certificate")))
}

/// Makes the key of the issuer if there is none, then a request for it.
pub(super) async fn create_csr(Path(name): Path<String>, asked: Asked) -> Answer<Csr> {
    asked.operator.for_real()?;
    let subject: Subject = asked.json()?;
    let key = new_key(&subject).await?;
    let (of, wanted) = (name.clone(), subject.clone());
    let derive = move |view: &View<'_>| admit::set_issuer_key(view, &of, &wanted, &key);
    asked.operator.change(Scope::Shared, derive).await?;
    let state = asked.operator.read().await?;
    let made = viewed(asked.operator, state, move |view| admit::issuer_csr(view, &name, &subject));
    Ok(Json(made.await?))
}

pub(super) async fn import(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let import: Import = asked.json()?;
    let read = tokio::task::spawn_blocking(move || admit::read_issuer(&import));
    let imported = read.await.map_err(|error| internal("the import failed", error))??;
    let derive = move |view: &View<'_>| admit::import_issuer(view, &name, &imported);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn set_chain(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let chain: Chain = asked.json()?;
    let derive = move |view: &View<'_>| admit::set_issuer_chain(view, &name, &chain);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn set(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    let derive = move |view: &View<'_>| admit::set_crl_url(view, &name, &set);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn set_recovery_key(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: SetRecoveryKey = asked.json()?;
    let derive = move |view: &View<'_>| admit::set_recovery_key(view, &name, &set);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn remove_recovery_key(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let derive = move |view: &View<'_>| admit::remove_recovery_key(view, &name);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let derive = move |view: &View<'_>| admit::remove_issuer(view, &name);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn crl(Path(name): Path<String>, asked: Asked) -> Answer<Crl> {
    let name = domain_name(&name)?;
    let (state, now) = (asked.operator.read().await?, clock::now());
    let unknown = || admit::rejection_problem(&Rejection::DomainUnknown(name.clone()));
    let domain = state.domain(&name).ok_or_else(unknown)?.clone();
    let node = asked.operator.node;
    let made =
        tokio::task::spawn_blocking(move || admit::revocation_list(&node, &state, &domain, now));
    let made = made.await.map_err(|error| internal("the revocation list", error))??;
    let at = |seconds: u64| clock::rfc3339(UnixMillis(seconds.saturating_mul(1_000)));
    Ok(Json(Crl {
        number: made.number(),
        this_update: at(made.this_update()),
        next_update: at(made.next_update().unwrap_or_default()),
        revoked: made.revoked_count(),
        pem: made.pem(),
    }))
}

/// Makes something with a key of a domain that is not stored.
async fn viewed<T: Send + 'static>(
    operator: Operator,
    state: State,
    make: impl FnOnce(&View<'_>) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let made = tokio::task::spawn_blocking(move || {
        let view = View {
            node: &operator.node,
            scope: Scope::Shared,
            state: &state,
            now: clock::now(),
            if_version: None,
            family: None,
            is_if_missing: false,
            is_if_exists: false,
            access: &operator.caller.access,
            principal: &operator.caller.principal,
            reason: None,
        };
        make(&view)
    });
    made.await.map_err(|error| internal("a key of the domain", error))?
}
