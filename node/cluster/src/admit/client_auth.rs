//! Admission of client-certificate policies of domains.

use conclave_api::{
    client_auth::Set,
    problem::{Code, Problem},
};
use conclave_pki::{builtin, certificate::Certificate};
use conclave_store::{
    command::Action,
    id::Fingerprint,
    record::{ClientAuth, Domain, TrustSet},
    scope::Scope,
    state::State,
};

use super::{Admitted, View, domain_name, listener::ways_around};

/// A trusted certificate of a domain, and the set that contains it.
pub struct Issuer {
    pub(crate) set: &'static str,
    pub(crate) certificate: Certificate,
}

/// Returns the hashes of all certificates that a domain trusts: those of its own set, of its scope
/// and the built-in ones. `state` must be the State that contains the domain.
fn counting(scope: Scope, state: &State, domain: &Domain) -> Vec<(&'static str, Fingerprint)> {
    let system = match scope {
        Scope::Shared => "cluster",
        Scope::Local => "server",
    };
    let own = state.trusted(&TrustSet::Domain(domain.id)).map(|(one, _)| ("domain", one));
    let others = state.trusted(&TrustSet::System).map(|(one, _)| (system, one));
    let builtin = builtin::certificates().iter();
    let builtin = builtin.map(|one| ("builtin", Fingerprint::of(one.der())));
    own.chain(others).chain(builtin).collect()
}

/// Returns the certificate with this hash, if the domain trusts it.
pub fn issuer(scope: Scope, state: &State, domain: &Domain, wanted: Fingerprint) -> Option<Issuer> {
    let all = counting(scope, state, domain);
    let (set, _) = all.into_iter().find(|(_, found)| *found == wanted)?;
    let stored = |set: TrustSet| {
        let found = state.trusted(&set).find(|(found, _)| *found == wanted);
        found.and_then(|(_, one)| Certificate::from_der(&one.der).ok())
    };
    let certificate = match set {
        "domain" => stored(TrustSet::Domain(domain.id)),
        "builtin" => {
            let mut all = builtin::certificates().iter();
            all.find(|one| Fingerprint::of(one.der()) == wanted).cloned()
        }
        _ => stored(TrustSet::System),
    };
    certificate.map(|certificate| Issuer { set, certificate })
}

/// Sets what a domain asks of clients.
pub fn set_client_auth(view: &View<'_>, name: &str, asked: &Set) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let wanted = resolve(view, domain, &asked.issuer)?;
    let mut warnings = Vec::new();
    if let Some(issuer) = issuer(view.scope, view.state, domain, wanted) {
        let subject = issuer.certificate.subject();
        if issuer.certificate.not_after().saturating_mul(1_000) < view.now.0 {
            warnings.push(format!("{subject} has expired: no client certificate is valid"));
        }
        if issuer.set == "builtin" {
            warnings.push(format!(
                "{subject} is a public authority: every client with a certificate by it can connect"
            ));
        }
    }
    let asked = ClientAuth { issuer: wanted, is_required: asked.required };
    // Listeners are shared, and what is shared of them leads to local domains as well.
    let shared = view.node.replica().map(|known| known.point().state.clone()).unwrap_or_default();
    let after = Domain { client_auth: Some(asked), ..domain.clone() };
    warnings.extend(ways_around(&shared, &after));
    let action = Action::SetClientAuth(name.clone(), Some(asked));
    Ok(Admitted::new(action, name).expecting(expectation).warning(warnings))
}

/// Asks clients of a domain for nothing any longer.
pub fn clear_client_auth(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (_, expectation) = view.domain(&name)?;
    Ok(Admitted::new(Action::SetClientAuth(name.clone(), None), name).expecting(expectation))
}

/// Finds the only trusted certificate of the domain whose fingerprint begins with `text`.
fn resolve(view: &View<'_>, domain: &Domain, text: &str) -> Result<Fingerprint, Problem> {
    let wanted = text.replace(':', "").to_ascii_lowercase();
    let all = counting(view.scope, view.state, domain).into_iter().map(|(_, one)| one);
    let mut found: Vec<_> = all.filter(|one| one.to_string().starts_with(&wanted)).collect();
    // A certificate in several sets counts once.
    found.sort_unstable();
    found.dedup();
    let name = &domain.name;
    match found.as_slice() {
        [one] if wanted.len() >= 4 => Ok(*one),
        [] => Err(Problem::new(
            Code::TrustedCertificateUnknown,
            format!("no trusted certificate {text:?} counts for {name}"),
        )
        .why("clients are verified with the sets of the domain, of its scope and the built-in one")
        .hint(format!(
            "conclave trust list --scope domain:{name}    or: conclave trust add --scope domain:{name} FILE"
        ))),
        _ => Err(Problem::new(Code::TrustedCertificateUnknown, format!("{text:?} is not clear"))
            .hint("give more digits of the fingerprint")),
    }
}
