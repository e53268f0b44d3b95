//! Routes for trusted certificates: four sets, and what each set inherits.

use axum::{Json, extract::Path};
use conclave_api::{
    change::{Change, List},
    trust::{Add, Remove, Trusted, Type},
};
use conclave_cluster::{
    admit::{self, TrustScope},
    trusted::{Listed, sets_of},
    view,
};
use conclave_pki::{certificate::Certificate, crl::Crl};
use conclave_store::{
    id::Fingerprint, record::TrustSet, scope::Scope, state::State, time::UnixMillis,
};
use conclave_system::clock;

use super::{Answer, domain};
use crate::asked::Asked;

pub(super) async fn list(Path(name): Path<String>, asked: Asked) -> Answer<List<Trusted>> {
    let scope = TrustScope::parse(&name)?;
    let mut sets: Vec<Listed> = Vec::new();
    let system = |set, state: &State| Listed::read(set, state, &TrustSet::System);
    match &scope {
        TrustScope::Builtin => {}
        TrustScope::Cluster => sets.push(system("cluster", &asked.operator.read().await?)),
        TrustScope::Server => {
            sets.push(system("server", &asked.operator.node.local().point().state));
            // A node without a cluster has no cluster set.
            if asked.operator.node.replica().is_ok() {
                sets.push(system("cluster", &asked.operator.read().await?));
            }
        }
        TrustScope::Domain(name) => {
            let (place, state, found) = domain::find(&asked, name.as_str()).await?;
            sets.extend(sets_of(place, &state, &found));
        }
    }
    let own = own_set(&scope);
    match asked.is_own {
        true => sets.retain(|set| set.name == own),
        false => sets.push(Listed::builtin()),
    }
    let shown = sets.iter().flat_map(|set| {
        let certificates = set.certificates.iter().filter_map(|one| shown(set.name, own, one));
        certificates.chain(set.crls.iter().filter_map(|one| shown_crl(set.name, own, one)))
    });
    // In the order in which the sets are listed.
    let rank =
        |set: &str| ["domain", "server", "cluster", "builtin"].iter().position(|one| *one == set);
    let key = |one: &Trusted| {
        let rank = rank(&one.set).unwrap_or_default();
        format!("{rank}.{:?}.{}", one.of, one.sha256)
    };
    Ok(Json(asked.page.of(shown.collect(), key)))
}

fn own_set(scope: &TrustScope) -> &'static str {
    match scope {
        // The built-in set cannot change, so none of its certificates counts as removable.
        TrustScope::Builtin => "",
        TrustScope::Server => "server",
        TrustScope::Cluster => "cluster",
        TrustScope::Domain(_) => "domain",
    }
}

fn shown(set: &str, own: &str, certificate: &Certificate) -> Option<Trusted> {
    let shown = view::certificate(certificate.der(), clock::now())?;
    Some(Trusted {
        set: set.to_owned(),
        own: set == own,
        of: Type::Certificate,
        subject: shown.subject,
        serial: shown.serial,
        not_before: shown.not_before,
        not_after: shown.not_after,
        sha256: shown.sha256,
        revoked: None,
        pem: shown.pem,
    })
}

fn shown_crl(set: &str, own: &str, crl: &Crl) -> Option<Trusted> {
    let at = |seconds: u64| clock::rfc3339(UnixMillis(seconds.saturating_mul(1_000)));
    Some(Trusted {
        set: set.to_owned(),
        own: set == own,
        of: Type::Crl,
        subject: crl.issuer(),
        serial: crl.number(),
        not_before: at(crl.this_update()),
        not_after: crl.next_update().map(at).unwrap_or_default(),
        sha256: Fingerprint::of(&crl.issuer_der().ok()?).to_string(),
        revoked: u64::try_from(crl.revoked_count()).ok(),
        pem: crl.pem(),
    })
}

pub(super) async fn add(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let add: Add = asked.json()?;
    let trust = TrustScope::parse(&name)?;
    let scope = state_of(&asked, &trust);
    let derive = move |view: &admit::View<'_>| admit::add_trusted(view, &trust, &add);
    Ok(Json(asked.operator.change(scope, derive).await?))
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let remove: Remove = asked.json()?;
    let trust = TrustScope::parse(&name)?;
    let scope = state_of(&asked, &trust);
    let derive = move |view: &admit::View<'_>| admit::remove_trusted(view, &trust, &remove);
    Ok(Json(asked.operator.change(scope, derive).await?))
}

/// Returns the scope whose State contains the set.
fn state_of(asked: &Asked, trust: &TrustScope) -> Scope {
    match trust {
        TrustScope::Server => Scope::Local,
        TrustScope::Builtin | TrustScope::Cluster => Scope::Shared,
        TrustScope::Domain(name) => asked.operator.scope_of(name.as_str()),
    }
}
