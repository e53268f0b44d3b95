//! Certificates of enabled domains, as the metrics show them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use conclave_pki::certificate::Certificate;
use conclave_store::{
    id::{DomainId, Fingerprint, LogIndex, Version},
    record::{Credential, Domain, PkiMode, RowKey},
    scope::Scope,
    state::State,
    time::UnixMillis,
};

use crate::observe::{CertificateFacts, DomainFacts};

/// Remembers what must be read from certificates, as long as their domain has the same version.
#[derive(Default)]
pub struct Expiry {
    known: BTreeMap<Scope, HashMap<DomainId, Known>>,
}

/// What was read from the credentials of a domain, in their order.
struct Known {
    version: Version,
    credentials: Vec<Read>,
}

#[derive(Clone, Copy)]
struct Read {
    chain_ends_s: Option<u64>,
    fingerprint: u64,
}

/// What a node says about the service of a scope.
pub struct Serving<'a> {
    /// Commands that it cannot serve.
    pub failed: &'a BTreeSet<LogIndex>,
    /// Whether this node has no keyring.
    pub is_sealed: bool,
}

impl Expiry {
    /// Adds the enabled domains of a scope. With `is_each`, each certificate is listed.
    pub fn add(
        &mut self,
        scope: Scope,
        state: &State,
        serving: &Serving<'_>,
        now: UnixMillis,
        is_each: bool,
        facts: &mut DomainFacts,
    ) {
        for domain in state.domains().filter(|domain| domain.mode == PkiMode::Enabled) {
            let is_served = is_served(state, domain, serving);
            facts.not_served += u64::from(!is_served);
            let ends = domain.certificates().map(|one| one.not_after.0 / 1_000).min();
            let Some(first) = ends else { continue };
            facts.expired += u64::from(first < now.0 / 1_000);
            facts.first_end_s = Some(facts.first_end_s.map_or(first, |known| known.min(first)));
            if is_each {
                self.list(scope, state, domain, is_served, facts);
            }
        }
    }

    fn list(
        &mut self,
        scope: Scope,
        state: &State,
        domain: &Domain,
        is_served: bool,
        facts: &mut DomainFacts,
    ) {
        let of_scope = self.known.entry(scope).or_default();
        let known = of_scope.entry(domain.id).or_insert_with(|| read(state, domain));
        if known.version != domain.version {
            *known = read(state, domain);
        }
        for (credential, read) in domain.credentials.iter().zip(&known.credentials) {
            let Some(certificate) = &credential.certificate else { continue };
            facts.certificates.push(CertificateFacts {
                scope,
                domain: domain.name.clone(),
                family: credential.key.family,
                ends_s: certificate.not_after.0 / 1_000,
                chain_ends_s: read.chain_ends_s,
                shown: if is_served { read.fingerprint } else { 0 },
            });
        }
    }

    /// Forgets everything: deleted domains leave something behind otherwise.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

fn is_served(state: &State, domain: &Domain, serving: &Serving<'_>) -> bool {
    if serving.is_sealed {
        return false;
    }
    serving.failed.is_empty() || {
        let row = state.row(&RowKey::Domain(domain.name.clone()));
        row.is_none_or(|row| !serving.failed.contains(&row.changed_at))
    }
}

fn read(state: &State, domain: &Domain) -> Known {
    let of = |credential: &Credential| {
        let chain = state.sent_chain(credential).iter();
        let ends = chain.filter_map(|der| Some(Certificate::from_der(der).ok()?.not_after()));
        let own = credential.certificate.as_ref().map(|one| Fingerprint::of(&one.der));
        Read { chain_ends_s: ends.min(), fingerprint: own.map_or(0, |own| first_bits(&own)) }
    };
    Known { version: domain.version, credentials: domain.credentials.iter().map(of).collect() }
}

/// Returns the first 48 bits, which a 64-bit floating-point number holds exactly.
fn first_bits(fingerprint: &Fingerprint) -> u64 {
    let bytes = fingerprint.0.iter().take(6);
    bytes.fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::findings;

    #[test]
    fn a_number_that_prometheus_holds_exactly_stands_for_a_fingerprint() {
        let bits = first_bits(&Fingerprint([0xFF; 32]));
        assert_eq!(bits, (1 << 48) - 1);
        assert!(bits < 1 << 53);
    }

    #[test]
    fn a_sealed_node_serves_no_domain() {
        let domain = findings::tests::domain(0, 1);
        let serves = |is_sealed| {
            let serving = Serving { failed: &BTreeSet::new(), is_sealed };
            is_served(&State::default(), &domain, &serving)
        };
        assert!(serves(false) && !serves(true));
    }
}
