//! What domains lose by the removal of a certificate that all of them trust.

use std::time::{Duration, Instant};

use conclave_pki::certificate::Certificate;
use conclave_store::{
    id::Fingerprint,
    record::{Domain, PkiMode, TrustSet},
    state::State,
};

use crate::{admit::View, trusted, view};

/// Most domains that are named; the others are counted.
const NAMED_MAX: usize = 10;
/// Longest time to look at domains: each one is parsed, and one that may be concerned needs path
/// validation.
const LOOK_TIME_MAX: Duration = Duration::from_secs(1);

/// Returns in sentences what the domains of a scope lose when entries leave the set of the scope
/// itself. `after` is the State without them.
pub(super) fn lost(view: &View<'_>, after: &State, removed: &[Fingerprint]) -> Vec<String> {
    let leaving = Leaving::of(view.state, removed);
    let until = Instant::now() + LOOK_TIME_MAX;
    let (mut told, mut more) = (Vec::new(), 0_u64);
    for domain in view.state.domains() {
        if Instant::now() >= until {
            told.push("not every domain was looked at: there are too many".to_owned());
            break;
        }
        if !leaving.may_concern(view.state, domain) {
            continue;
        }
        let findings = |state| view::of_domain(view.scope, state, domain, view.now).findings;
        let before = findings(view.state);
        let new = findings(after).into_iter().filter(|one| !before.contains(one));
        let texts: Vec<String> = new.map(|one| one.text).collect();
        match texts.is_empty() {
            true => {}
            false if told.len() < NAMED_MAX => {
                told.push(format!("{}: {}", domain.name, texts.join("; ")));
            }
            false => more += 1,
        }
    }
    if more > 0 {
        told.push(format!("and {more} more domains"));
    }
    told
}

/// The entries that leave a set.
struct Leaving<'r> {
    fingerprints: &'r [Fingerprint],
    /// Names of the authorities among them, in small letters: names differ in nothing else that a
    /// path overlooks (RFC 5280 §7.1).
    names: Vec<String>,
}

impl<'r> Leaving<'r> {
    fn of(state: &State, fingerprints: &'r [Fingerprint]) -> Leaving<'r> {
        let of_set = state.trusted(&TrustSet::System);
        let leaving = of_set.filter(|(one, _)| fingerprints.contains(one));
        let parsed = leaving.filter_map(|(_, one)| Certificate::from_der(&one.der).ok());
        let names = parsed.map(|one| one.subject().to_lowercase()).collect();
        Leaving { fingerprints, names }
    }

    /// Returns whether a domain may depend on one of them: by its clients, or because one may have
    /// issued something that the domain sends. This is cheap beside path validation.
    fn may_concern(&self, state: &State, domain: &Domain) -> bool {
        if domain.mode != PkiMode::Enabled {
            return false;
        }
        let is_leaving = |one: Fingerprint| self.fingerprints.contains(&one);
        let may_lead = |one: &Certificate| {
            let issuer = one.issuer().to_lowercase();
            is_leaving(Fingerprint::of(one.der())) || self.names.contains(&issuer)
        };
        let mut sent = domain.credentials.iter().filter_map(|one| trusted::sent(state, one));
        domain.client_auth.is_some_and(|asked| is_leaving(asked.issuer))
            || sent.any(|(leaf, chain)| std::iter::once(&leaf).chain(&chain).any(may_lead))
    }
}
