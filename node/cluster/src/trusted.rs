//! Trusted certificates of a domain, and the judgement of its own certificates by them.

use conclave_pki::{
    builtin,
    certificate::Certificate,
    crl::Crl,
    judge::{self, Judgement},
};
use conclave_store::{
    record::{Credential, Domain, TrustSet},
    scope::Scope,
    state::State,
    time::UnixMillis,
};

/// A set of trusted certificates and revocation lists, parsed.
pub struct Listed {
    /// `domain`, `server`, `cluster` or `builtin`.
    pub name: &'static str,
    /// Authorities.
    pub certificates: Vec<Certificate>,
    /// Revocation lists.
    pub crls: Vec<Crl>,
}

impl Listed {
    /// Reads a set from State.
    pub fn read(name: &'static str, state: &State, set: &TrustSet) -> Listed {
        let certificates = state.trusted(set);
        let crls = state.crls(set);
        Listed {
            name,
            certificates: certificates
                .filter_map(|(_, one)| Certificate::from_der(&one.der).ok())
                .collect(),
            crls: crls.filter_map(|(_, one)| Crl::from_der(&one.der).ok()).collect(),
        }
    }

    /// Returns the built-in set.
    pub fn builtin() -> Listed {
        let certificates = builtin::certificates().to_vec();
        Listed { name: "builtin", certificates, crls: Vec::new() }
    }
}

/// Returns the sets of a domain, except the built-in one: its own, then that of its scope. `state`
/// must be the State that contains the domain, because both sets are in it.
pub fn sets_of(place: Scope, state: &State, domain: &Domain) -> [Listed; 2] {
    let own = Listed::read("domain", state, &TrustSet::Domain(domain.id));
    [own, Listed::read(system(place), state, &TrustSet::System)]
}

/// Returns the name of the set of a scope itself.
fn system(place: Scope) -> &'static str {
    match place {
        Scope::Local => "server",
        Scope::Shared => "cluster",
    }
}

/// Returns the judgement of a certificate with the chain that is sent with it, by the certificates
/// that the domain trusts, and the anchor in words if a path leads to one.
pub fn judge(
    place: Scope,
    state: &State,
    domain: &Domain,
    leaf: &Certificate,
    chain: &[Certificate],
    now: UnixMillis,
) -> (Judgement, Option<String>) {
    let sent: Vec<&Certificate> = std::iter::once(leaf).chain(chain).collect();
    let builtin = builtin::anchors_of(&sent).into_iter().map(|one| ("builtin", one));
    let sets = [("domain", TrustSet::Domain(domain.id)), (system(place), TrustSet::System)];
    let own = sets.into_iter().flat_map(|(name, set)| {
        let stored = state.trusted(&set);
        stored.filter_map(move |(_, one)| Some((name, Certificate::from_der(&one.der).ok()?)))
    });
    let (names, anchors): (Vec<_>, Vec<_>) = own.chain(builtin).unzip();
    let judgement = judge::judge(leaf, chain, &anchors, now.0 / 1_000);
    let anchor = judgement.anchor.and_then(|place| {
        Some(format!("{} ({} trust)", anchors.get(place)?.subject(), names.get(place)?))
    });
    (judgement, anchor)
}

/// Returns the parsed certificate of a credential and its chain.
pub fn sent(state: &State, credential: &Credential) -> Option<(Certificate, Vec<Certificate>)> {
    let leaf = Certificate::from_der(&credential.certificate.as_ref()?.der).ok()?;
    let chain = state.sent_chain(credential).iter();
    Some((leaf, chain.filter_map(|der| Certificate::from_der(der).ok()).collect()))
}
