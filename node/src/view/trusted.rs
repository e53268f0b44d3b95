//! Trusted certificates of a domain, and the one to which its own certificates lead.

use conclave_pki::{
    builtin,
    certificate::Certificate,
    crl::Crl,
    verify::{Purpose, Request, Rules, verify},
};
use conclave_store::{
    record::{Credential, Domain, TrustSet},
    scope::Scope,
    state::State,
};
use conclave_system::clock;

/// A set of trusted certificates and revocation lists, parsed.
pub(crate) struct Listed {
    /// `domain`, `server`, `cluster` or `builtin`.
    pub(crate) name: &'static str,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) crls: Vec<Crl>,
}

impl Listed {
    /// Reads a set from State.
    pub(crate) fn read(name: &'static str, state: &State, set: &TrustSet) -> Listed {
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
    pub(crate) fn builtin() -> Listed {
        let certificates = builtin::certificates().to_vec();
        Listed { name: "builtin", certificates, crls: Vec::new() }
    }
}

/// Returns the sets of a domain, except the built-in one: its own, then that of its scope. `state`
/// must be the State that contains the domain, because both sets are in it.
pub(crate) fn sets_of(place: Scope, state: &State, domain: &Domain) -> [Listed; 2] {
    let system = match place {
        Scope::Local => "server",
        Scope::Shared => "cluster",
    };
    let own = Listed::read("domain", state, &TrustSet::Domain(domain.id));
    [own, Listed::read(system, state, &TrustSet::System)]
}

/// Returns the trust anchor of a credential's certificate, by the path rules only
/// ([`Rules::Path`]).
pub(crate) fn trusted_by(
    place: Scope,
    state: &State,
    domain: &Domain,
    credential: &Credential,
) -> Option<String> {
    let certificate = Certificate::from_der(&credential.certificate.as_ref()?.der).ok()?;
    let chain = state.sent_chain(credential);
    let intermediates: Vec<_> =
        chain.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    let sets = sets_of(place, state, domain).into_iter().chain([Listed::builtin()]);
    let (names, anchors): (Vec<_>, Vec<_>) =
        sets.flat_map(|set| set.certificates.into_iter().map(move |one| (set.name, one))).unzip();
    let path = verify(&Request {
        certificate: &certificate,
        intermediates: &intermediates,
        anchors: &anchors,
        crls: &[],
        is_list_required: false,
        purpose: Purpose::Any,
        name: None,
        at: clock::now().0 / 1_000,
        rules: Rules::Path,
    });
    let anchor = path.ok()?.anchor;
    Some(format!("{} ({} trust)", anchors.get(anchor)?.subject(), names.get(anchor)?))
}
