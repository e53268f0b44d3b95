//! Which trusted certificates count for a domain, and which one its own lead to.

use conclave_pki::{
    builtin,
    certificate::Certificate,
    verify::{Purpose, Request, Rules, verify},
};
use conclave_store::{
    record::{Credential, Domain, TrustSet},
    state::State,
};

use crate::{clock, live::Scope};

/// A set that is listed: its name, and its certificates.
pub(super) type Listed = (&'static str, Vec<Certificate>);

/// The sets of a domain but the built-in one: its own, then that of its scope (B2). The State is
/// the one that holds the domain, so that its own set is the scope's.
pub(super) fn sets_of(place: Scope, state: &State, domain: &Domain) -> [Listed; 2] {
    let system = match place {
        Scope::Local => "server",
        Scope::Shared => "cluster",
    };
    let own = stored(state, &TrustSet::Domain(domain.id));
    [("domain", own), (system, stored(state, &TrustSet::System))]
}

/// Which trusted certificate a certificate of the domain leads to, by the rules of paths.
pub(super) fn trusted_by(
    place: Scope,
    state: &State,
    domain: &Domain,
    credential: &Credential,
) -> Option<String> {
    let certificate = Certificate::from_der(&credential.certificate.as_ref()?.der).ok()?;
    let chain = state.sent_chain(credential);
    let intermediates: Vec<_> =
        chain.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    let sets = sets_of(place, state, domain).into_iter();
    let sets = sets.chain([("builtin", builtin::certificates().to_vec())]);
    let (names, anchors): (Vec<_>, Vec<_>) = sets
        .flat_map(|(set, certificates)| certificates.into_iter().map(move |one| (set, one)))
        .unzip();
    let path = verify(&Request {
        certificate: &certificate,
        intermediates: &intermediates,
        anchors: &anchors,
        crls: &[],
        purpose: Purpose::Any,
        name: None,
        at: clock::now().0 / 1_000,
        rules: Rules::Path,
    });
    let anchor = path.ok()?.anchor;
    Some(format!("{} ({} trust)", anchors.get(anchor)?.subject(), names.get(anchor)?))
}

/// The certificates of a set.
pub(super) fn stored(state: &State, set: &TrustSet) -> Vec<Certificate> {
    state.trusted(set).filter_map(|(_, one)| Certificate::from_der(&one.der).ok()).collect()
}
