//! Findings about a domain: what its clients will not accept, now or soon.

use conclave_api::{
    finding::{Finding, Severity},
    problem::Code,
};
use conclave_pki::{certificate::Certificate, crl::Crl, judge};
use conclave_store::{
    id::Fingerprint,
    record::{Credential, Domain, PkiMode, TrustSet},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;

use crate::{admit, trusted};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Longest time before its end in which a certificate is said to expire soon.
const SOON_MS_MAX: u64 = 30 * DAY_MS;
/// Share of a certificate's life in which it is said to expire soon. Renewal is due at a third, so
/// what has come to a quarter was not renewed.
const SOON_SHARE: u64 = 4;

/// Findings, and the time until which they stay true without a change of State.
pub struct Found {
    pub findings: Vec<Finding>,
    pub(crate) until: UnixMillis,
}

impl Found {
    fn new() -> Found {
        Found { findings: Vec::new(), until: UnixMillis(u64::MAX) }
    }

    fn add(&mut self, code: Code, severity: Severity, text: impl Into<String>) {
        self.advise(code, severity, text, None);
    }

    fn advise(
        &mut self,
        code: Code,
        severity: Severity,
        text: impl Into<String>,
        hint: Option<String>,
    ) {
        self.findings.push(Finding { code, severity, text: text.into(), hint });
    }

    /// Bounds the time until which the findings stay true by a moment, unless it has passed.
    fn changes_at(&mut self, at: UnixMillis, now: UnixMillis) {
        if now <= at {
            self.until = self.until.min(at);
        }
    }
}

/// Returns the findings about a domain, from its certificates, chains and trusted certificates. A
/// domain that is not enabled has none. `state` must be the State that contains the domain.
pub fn of_domain(scope: Scope, state: &State, domain: &Domain, now: UnixMillis) -> Found {
    let mut found = Found { findings: of_records(domain, now), ..Found::new() };
    if domain.mode != PkiMode::Enabled {
        return found;
    }
    for credential in &domain.credentials {
        if let Some(record) = &credential.certificate {
            // Once it expires soon, the text says how many days are left, so it changes each day.
            let days = record.not_after.0.saturating_sub(now.0) / DAY_MS;
            let day_ends = UnixMillis(record.not_after.0.saturating_sub(days * DAY_MS));
            let soon = soon(record.not_before, record.not_after);
            let day_ends = if soon <= now { day_ends } else { soon };
            for at in [record.not_before, soon, day_ends, record.not_after] {
                found.changes_at(at, now);
            }
        }
        let Some((leaf, chain)) = trusted::sent(state, credential) else { continue };
        let of = of_family(domain, credential);
        names(&mut found, &of, domain, &leaf);
        let (judgement, _) = trusted::judge(scope, state, domain, &leaf, &chain, now);
        for finding in judgement.findings.iter().map(of_chain) {
            let text = format!("{of}{}", finding.text);
            found.findings.push(Finding { text, ..finding });
        }
        for one in &chain {
            for seconds in [one.not_before(), one.not_after()] {
                found.changes_at(UnixMillis(seconds.saturating_mul(1_000)), now);
            }
        }
    }
    client_auth(&mut found, scope, state, domain, now);
    found
}

/// Returns the problems with the client certificates of a domain, in sentences.
pub fn client_auth_problems(
    scope: Scope,
    state: &State,
    domain: &Domain,
    now: UnixMillis,
) -> Vec<String> {
    let mut found = Found::new();
    client_auth(&mut found, scope, state, domain, now);
    found.findings.into_iter().map(|one| one.text).collect()
}

/// Returns the findings that need no parsing: for lists of many domains.
pub(super) fn of_records(domain: &Domain, now: UnixMillis) -> Vec<Finding> {
    let mut found = Found::new();
    if domain.mode != PkiMode::Enabled {
        return found.findings;
    }
    if domain.credentials.is_empty() {
        found.add(
            Code::KeyMissing,
            Severity::Error,
            "enabled, but it has no private key: TLS is refused",
        );
    } else if domain.certificates().next().is_none() {
        found.add(
            Code::CertificateMissing,
            Severity::Error,
            "enabled, but it has no certificate: TLS is refused",
        );
    }
    for credential in &domain.credentials {
        let of = of_family(domain, credential);
        let Some(record) = &credential.certificate else {
            if domain.certificates().next().is_some() {
                let family = credential.key.family;
                let text = format!("the {family} key has no certificate: it is not used");
                found.add(Code::CertificateMissing, Severity::Warning, text);
            }
            continue;
        };
        let (from, till) = (clock::rfc3339(record.not_before), clock::rfc3339(record.not_after));
        if record.not_after < now {
            let text = format!("{of}the certificate expired at {till}");
            found.add(Code::CertificateOutOfDate, Severity::Error, text);
        } else if now < record.not_before {
            let text = format!("{of}the certificate is valid from {from} on");
            found.add(Code::CertificateOutOfDate, Severity::Error, text);
        } else if soon(record.not_before, record.not_after) <= now {
            let days = (record.not_after.0 - now.0) / DAY_MS;
            let text = format!("{of}the certificate expires in {days} days ({till})");
            found.add(Code::CertificateExpiring, Severity::Warning, text);
        }
    }
    found.findings
}

/// Returns the finding about a local domain that a shared one hides.
pub(super) fn hidden() -> Finding {
    let text = "a shared domain of this name is served instead".to_owned();
    Finding { code: Code::NameTaken, severity: Severity::Warning, text, hint: None }
}

/// Returns when something that is valid from `from` to `till` begins to expire soon.
pub(crate) fn soon(from: UnixMillis, till: UnixMillis) -> UnixMillis {
    let life = till.0.saturating_sub(from.0);
    UnixMillis(till.0.saturating_sub((life / SOON_SHARE).min(SOON_MS_MAX)))
}

/// Returns the family as the begin of a text, for domains with two certificates.
fn of_family(domain: &Domain, credential: &Credential) -> String {
    match domain.credentials.len() {
        0 | 1 => String::new(),
        _ => format!("{}: ", credential.key.family),
    }
}

fn names(found: &mut Found, of: &str, domain: &Domain, leaf: &Certificate) {
    if let Some(text) = admit::for_addresses_only(domain, leaf) {
        found.add(Code::CertificateForOtherNames, Severity::Note, format!("{of}{text}"));
    }
    let missing: Vec<String> = admit::not_covered(domain, leaf);
    if missing.is_empty() {
        return;
    }
    let hint = format!(
        "conclave csr create {}    or take the names away: conclave domain alias {} --remove NAME",
        domain.name, domain.name
    );
    let text = format!("{of}the certificate does not cover {}", missing.join(", "));
    found.advise(Code::CertificateForOtherNames, Severity::Error, text, Some(hint));
}

/// Converts a finding about a certificate and its chain.
pub fn of_chain(finding: &judge::Finding) -> Finding {
    Finding {
        code: Code::parse(finding.code()).unwrap_or(Code::Internal),
        severity: match finding.severity() {
            judge::Severity::Note => Severity::Note,
            judge::Severity::Warning => Severity::Warning,
            judge::Severity::Error => Severity::Error,
        },
        text: finding.to_string(),
        hint: finding.hint(),
    }
}

/// Adds the findings about the issuer of a domain's client certificates, and about the revocation
/// lists by which they are judged.
fn client_auth(found: &mut Found, scope: Scope, state: &State, domain: &Domain, now: UnixMillis) {
    let Some(asked) = domain.client_auth else { return };
    let sets = [TrustSet::Domain(domain.id), TrustSet::System];
    match admit::issuer(scope, state, domain, asked.issuer) {
        None => {
            let text = format!(
                "clients must have a certificate issued by SHA-256 {}, which is no longer trusted: \
                 none is valid",
                asked.issuer
            );
            found.add(Code::TrustedCertificateUnknown, Severity::Error, text);
        }
        Some(issuer) => {
            let end = UnixMillis(issuer.certificate.not_after().saturating_mul(1_000));
            found.changes_at(end, now);
            let names = below(state, &sets, &issuer.certificate);
            for list in sets.iter().flat_map(|set| state.crls(set)) {
                if names.contains(&list.0) {
                    revocation_list(found, &list.1, now);
                }
            }
            if end < now {
                let subject = issuer.certificate.subject();
                let text = format!("{subject}, which issues its client certificates, has expired");
                found.add(Code::CertificateOutOfDate, Severity::Error, text);
            }
        }
    }
}

/// Returns the hashes of the names of an authority and of those below it in some sets.
fn below(state: &State, sets: &[TrustSet], top: &Certificate) -> Vec<Fingerprint> {
    let trusted = sets.iter().flat_map(|set| state.trusted(set));
    let others: Vec<Certificate> =
        trusted.filter_map(|(_, one)| Certificate::from_der(&one.der).ok()).collect();
    let mut found = vec![top];
    let mut next = 0;
    while let Some(above) = found.get(next).copied() {
        next += 1;
        for one in others.iter().filter(|one| one.issuer() == above.subject()) {
            if found.iter().all(|known| known.der() != one.der()) {
                found.push(one);
            }
        }
    }
    found.iter().filter_map(|one| Some(Fingerprint::of(&one.subject_der()?))).collect()
}

/// Returns the findings about the revocation lists of the set of a scope itself, by which clients
/// and upstreams are judged.
pub(super) fn of_lists(state: &State, now: UnixMillis) -> Vec<Finding> {
    let mut found = Found::new();
    state.crls(&TrustSet::System).for_each(|(_, list)| revocation_list(&mut found, &list, now));
    found.findings
}

/// Adds a finding if a revocation list is past its next update, or near it.
fn revocation_list(found: &mut Found, list: &conclave_store::record::Crl, now: UnixMillis) {
    let Ok(parsed) = Crl::from_der(&list.der) else { return };
    let hint = Some("get the present list from the authority, and: conclave trust add".to_owned());
    let Some(next) = parsed.next_update() else {
        let text = format!(
            "the revocation list of {} does not say when the next one comes: nothing of its issuer \
             is valid with it",
            parsed.issuer()
        );
        return found.advise(Code::RevocationListUnusable, Severity::Error, text, hint);
    };
    let next = UnixMillis(next.saturating_mul(1_000));
    let soon = soon(list.this_update, next);
    found.changes_at(soon, now);
    found.changes_at(next, now);
    let (issuer, at) = (parsed.issuer(), clock::rfc3339(next));
    if next < now {
        let text =
            format!("the revocation list of {issuer} ended at {at}: its certificates are refused");
        found.advise(Code::RevocationListUnusable, Severity::Error, text, hint);
    } else if soon <= now {
        let text = format!("the revocation list of {issuer} ends at {at}");
        found.advise(Code::RevocationListUnusable, Severity::Warning, text, hint);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use conclave_store::{
        id::{DomainId, DomainName, Generation, Version},
        record::{Certificate as Record, DomainKey, KeyFamily, Principal, Sealed, Stamp},
    };

    use super::*;

    pub(crate) fn domain(not_before: u64, not_after: u64) -> Domain {
        let key = DomainKey {
            family: KeyFamily::Ec,
            algorithm: "EC P-256".to_owned(),
            public_key_der: Vec::new(),
            public_key: Fingerprint([0; 32]),
            sealed: Sealed { generation: Generation(1), nonce: [0; 12], ciphertext: Vec::new() },
            assigned: UnixMillis(0),
        };
        let certificate = Record {
            der: Vec::new(),
            public_key: Fingerprint([0; 32]),
            not_before: UnixMillis(not_before),
            not_after: UnixMillis(not_after),
        };
        Domain {
            id: DomainId([1; 16]),
            name: DomainName::parse("shop.example").unwrap(),
            aliases: Vec::new(),
            addresses: Vec::new(),
            mode: PkiMode::Enabled,
            credentials: vec![Credential {
                certificate: Some(certificate),
                ..Credential::new(key)
            }],
            client_auth: None,
            version: Version(1),
            changed: Stamp {
                time: UnixMillis(0),
                principal: Principal::Socket { uid: 0 },
                reason: None,
            },
        }
    }

    #[test]
    fn a_certificate_expires_soon_in_the_last_quarter_of_its_life_and_at_most_30_days() {
        let soon_days =
            |life: u64| (life * DAY_MS - soon(UnixMillis(0), UnixMillis(life * DAY_MS)).0) / DAY_MS;
        assert_eq!([soon_days(8), soon_days(40), soon_days(120), soon_days(398)], [2, 10, 30, 30]);
    }

    #[test]
    fn the_days_that_are_left_are_not_remembered_for_longer_than_a_day() {
        let at = |day: u64| UnixMillis(day * DAY_MS + 1);
        let found =
            |day| of_domain(Scope::Shared, &State::default(), &domain(0, 100 * DAY_MS), at(day));
        let until = |day| found(day).until;
        assert_eq!(until(10), UnixMillis(75 * DAY_MS), "until it expires soon");
        assert_eq!(
            found(90).findings[0].text.split(" (").next(),
            Some("the certificate expires in 9 days")
        );
        assert_eq!(until(90), UnixMillis(91 * DAY_MS));
        assert_eq!(until(99), UnixMillis(100 * DAY_MS));
        assert_eq!(until(101), UnixMillis(u64::MAX), "expired for ever");
    }
}
