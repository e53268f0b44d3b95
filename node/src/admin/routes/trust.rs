//! Trusted certificates: four sets, and what each inherits.

use axum::{Json, extract::Path};
use conclave_api::{
    change::{Change, List},
    trust::{Add, Remove, Trusted},
};
use conclave_pki::{builtin, certificate::Certificate};
use conclave_store::record::TrustSet;

use super::{Answer, domain};
use crate::{
    admin::{
        change::Asked,
        show,
        trusted::{Listed, sets_of, stored},
    },
    admit::{self, TrustScope},
    clock,
    live::Scope,
};

pub(super) async fn list(Path(name): Path<String>, asked: Asked) -> Answer<List<Trusted>> {
    let scope = TrustScope::parse(&name)?;
    let mut sets: Vec<Listed> = Vec::new();
    let server =
        |asked: &Asked| ("server", stored(&asked.node.local().point().state, &TrustSet::System));
    match &scope {
        TrustScope::Builtin => {}
        TrustScope::Cluster => {
            sets.push(("cluster", stored(&asked.shared_state().await?, &TrustSet::System)));
        }
        TrustScope::Server => {
            sets.push(server(&asked));
            // A node without a cluster has no set of one.
            if asked.node.replica().is_ok() {
                sets.push(("cluster", stored(&asked.shared_state().await?, &TrustSet::System)));
            }
        }
        TrustScope::Domain(name) => {
            let (place, state, found) = domain::find(&asked, name.as_str()).await?;
            sets.extend(sets_of(place, &state, &found));
        }
    }
    sets.push(("builtin", builtin::certificates().to_vec()));
    let own = own_set(&scope);
    let shown = sets.iter().flat_map(|(set, certificates)| {
        certificates.iter().filter_map(move |one| shown(set, *set == own, one))
    });
    Ok(Json(List::new(shown.collect())))
}

fn own_set(scope: &TrustScope) -> &'static str {
    match scope {
        // What is built in belongs to nobody and cannot be removed.
        TrustScope::Builtin => "",
        TrustScope::Server => "server",
        TrustScope::Cluster => "cluster",
        TrustScope::Domain(_) => "domain",
    }
}

fn shown(set: &str, own: bool, certificate: &Certificate) -> Option<Trusted> {
    let shown = show::certificate(certificate.der(), clock::now())?;
    Some(Trusted {
        set: set.to_owned(),
        own,
        subject: shown.subject,
        serial: shown.serial,
        not_before: shown.not_before,
        not_after: shown.not_after,
        sha256: shown.sha256,
        pem: shown.pem,
    })
}

pub(super) async fn add(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let add: Add = asked.json()?;
    let trust = TrustScope::parse(&name)?;
    let scope = state_of(&asked, &trust);
    let derive = move |view: &admit::View<'_>| admit::add_trusted(view, &trust, &add);
    Ok(Json(asked.change(scope, derive).await?))
}

pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let remove: Remove = asked.json()?;
    let trust = TrustScope::parse(&name)?;
    let scope = state_of(&asked, &trust);
    let derive = move |view: &admit::View<'_>| admit::remove_trusted(view, &trust, &remove);
    Ok(Json(asked.change(scope, derive).await?))
}

/// Which State holds the set.
fn state_of(asked: &Asked, trust: &TrustScope) -> Scope {
    match trust {
        TrustScope::Server => Scope::Local,
        TrustScope::Builtin | TrustScope::Cluster => Scope::Shared,
        TrustScope::Domain(name) => asked.scope_of(name.as_str()),
    }
}
