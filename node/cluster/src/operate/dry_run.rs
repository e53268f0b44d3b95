//! Dry runs: compares State before and after a command that was applied to a copy.

use std::collections::BTreeMap;

use conclave_api::change::{Difference, DryRun};
use conclave_pki::{certificate::Certificate, crl::Crl};
use conclave_store::{
    change::Change,
    id::Fingerprint,
    machine::facts,
    record::{Credential, Domain, PkiMode, Record, RowKey, TlsSettings, TlsVersion},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;

use crate::{admit, trusted, view};

/// Compares State before and after the `changes`.
pub(super) fn compare(
    scope: Scope,
    before: &State,
    after: &State,
    changes: &[Change],
    now: UnixMillis,
) -> DryRun {
    let mut told = DryRun::default();
    // Keyed by id, since the change may rename a domain.
    let mut domains: BTreeMap<_, (Option<&Domain>, Option<&Domain>)> = BTreeMap::new();
    for change in changes {
        if let RowKey::Domain(name) = &change.key {
            let (was, is) = (before.domain(name), after.domain(name));
            if let Some(was) = was {
                domains.entry(was.id).or_default().0 = Some(was);
            }
            if let Some(is) = is {
                domains.entry(is.id).or_default().1 = Some(is);
            }
        } else if let (RowKey::Canary(name), Some(Record::Canary(canary))) =
            (&change.key, &change.record)
        {
            // One node serves it, so that is what would change.
            domains.insert(canary.domain.id, (before.domain(name), Some(&canary.domain)));
        } else if change.key == RowKey::TlsSettings {
            let (was, is) = (before.tls_settings(), after.tls_settings());
            told.version = Some(was.version.0);
            told.differences.extend(differences(settings(&was), settings(&is)));
        } else {
            told.differences.extend(other(before, change));
        }
    }
    for (was, is) in domains.values() {
        // A deleted domain has no next version.
        told.version = was.filter(|_| is.is_some()).map(|was| was.version.0);
        let had = was.map(|was| facts(before, was)).unwrap_or_default();
        let has = is.map(|is| facts(after, is)).unwrap_or_default();
        told.differences.extend(differences(had, has));
        if let Some(is) = is {
            match was.and_then(|was| no_longer_served(was, is)) {
                // Whatever it keeps, nobody is shown it.
                Some(problem) => told.problems.push(problem),
                None => check(scope, after, is, now, &mut told),
            }
        }
    }
    told
}

type Facts = Vec<(String, String)>;

fn facts(state: &State, domain: &Domain) -> Facts {
    let names: Vec<String> = domain.server_names().map(String::from).collect();
    let addresses: Vec<String> = domain.addresses.iter().map(ToString::to_string).collect();
    let mode = match domain.mode {
        PkiMode::Disabled => "disabled",
        PkiMode::Test => "test",
        PkiMode::Enabled => "enabled",
    };
    let mut facts =
        vec![("PKI services".to_owned(), mode.to_owned()), ("names".to_owned(), names.join(" "))];
    if !addresses.is_empty() {
        facts.push(("addresses".to_owned(), addresses.join(" ")));
    }
    if let Some(asked) = domain.client_auth {
        let how = if asked.is_required { "required" } else { "asked for" };
        let text = format!("{how}, issued by SHA-256 {}", asked.issuer);
        facts.push(("client certs".to_owned(), text));
    }
    let has_two = domain.credentials.len() > 1;
    for credential in &domain.credentials {
        let of = if has_two { format!("{} ", credential.key.family) } else { String::new() };
        let said = credential_facts(state, credential);
        facts.extend(said.map(|(what, text)| (format!("{of}{what}"), text)));
    }
    facts
}

fn settings(settings: &TlsSettings) -> Facts {
    let names = |names: &[String]| match names {
        [] => "all".to_owned(),
        names => names.join(" "),
    };
    let switch = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
    let version = match settings.version_min {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    };
    let facts = [
        ("log level", format!("{:?}", settings.log_level).to_lowercase()),
        ("time to live", format!("{} s", settings.session_ttl_s)),
        ("key rotation", format!("{} s", settings.ticket_rotation_s)),
        ("oldest version", version.to_owned()),
        ("target domain", switch(settings.process_target_domain)),
        ("abort on wrong", switch(settings.abort_on_wrong_client_certificate)),
        ("cipher suites", names(&settings.cipher_suites)),
        ("groups", names(&settings.groups)),
        ("flushes", settings.flushes.to_string()),
    ];
    facts.map(|(what, text)| (what.to_owned(), text)).to_vec()
}

fn credential_facts<'c>(
    state: &State,
    credential: &'c Credential,
) -> impl Iterator<Item = (&'static str, String)> + use<'c> {
    let key = &credential.key;
    let certificate = credential.certificate.as_ref().and_then(|one| {
        let serial = Certificate::from_der(&one.der).ok()?.serial();
        let till = clock::rfc3339(one.not_after);
        Some(format!("serial {serial} until {till}, SHA-256 {}", short(&Fingerprint::of(&one.der))))
    });
    let chain: Vec<String> = state
        .sent_chain(credential)
        .iter()
        .filter_map(|der| {
            // Two certificates of one authority differ in their fingerprints only.
            let subject = Certificate::from_der(der).ok()?.subject();
            Some(format!("{subject} (SHA-256 {})", short(&Fingerprint::of(der))))
        })
        .collect();
    let chain = (!chain.is_empty()).then(|| chain.join(" <- "));
    let key = format!("{}, SHA-256 {}", key.algorithm, short(&key.public_key));
    [("key", Some(key)), ("certificate", certificate), ("CA chain", chain)]
        .into_iter()
        .filter_map(|(what, text)| Some((what, text?)))
}

/// Returns a short prefix, enough to tell two fingerprints apart.
fn short(fingerprint: &Fingerprint) -> String {
    fingerprint.to_string().chars().take(16).collect()
}

/// Pairs the facts of both sides by name, in the order of `before`, then the new ones.
fn differences(before: Facts, mut after: Facts) -> Vec<Difference> {
    let mut all = Vec::new();
    for (what, text) in before {
        let place = after.iter().position(|(other, _)| *other == what);
        let will = place.map(|place| after.remove(place).1);
        all.push(Difference { what, before: Some(text), after: will });
    }
    let new = |(what, text)| Difference { what, before: None, after: Some(text) };
    all.extend(after.into_iter().map(new));
    all
}

/// Returns what clients lose if a domain shows its certificate no more.
fn no_longer_served(was: &Domain, is: &Domain) -> Option<String> {
    let has_certificate = was.certificates().next().is_some();
    match is.mode {
        _ if was.mode != PkiMode::Enabled || !has_certificate => None,
        PkiMode::Enabled => None,
        PkiMode::Test => {
            Some("clients get the test certificate of each node, which none of them trusts".into())
        }
        PkiMode::Disabled => Some("TLS for it is refused".into()),
    }
}

/// Checks the domain as it would be after the change.
fn check(scope: Scope, state: &State, domain: &Domain, now: UnixMillis, told: &mut DryRun) {
    for credential in &domain.credentials {
        let Some((leaf, chain)) = trusted::sent(state, credential) else { continue };
        // Apply rejects a certificate of another key, so the key of a stored one matches.
        told.checks.push("key matches".to_owned());
        let names_match = admit::warnings(domain, &leaf).is_empty();
        told.checks.extend(names_match.then(|| "names match".to_owned()));
        let is_current = (leaf.not_before()..=leaf.not_after()).contains(&(now.0 / 1_000));
        told.checks.extend(is_current.then(|| "dates fine".to_owned()));
        let (_, anchor) = trusted::judge(scope, state, domain, &leaf, &chain, now);
        told.checks.extend(anchor.map(|anchor| format!("chain leads to {anchor}")));
    }
    let findings = view::of_domain(scope, state, domain, now).findings;
    told.problems.extend(findings.into_iter().map(|one| one.text));
}

/// Describes the change of a row that is not a domain. Auxiliary rows are omitted.
fn other(before: &State, change: &Change) -> Vec<Difference> {
    let what = match &change.key {
        RowKey::Trusted(_) => "trusted certificate",
        RowKey::Crl(_) | RowKey::LongCrl(_) => "revocation list",
        RowKey::Listener(_) => "listener",
        RowKey::AccessToken(_) => "access token",
        RowKey::Generation(_) => "keyring",
        // As the audit trail will tell it.
        RowKey::Member(_)
        | RowKey::MemberPlace(_)
        | RowKey::User(_)
        | RowKey::Grant(_)
        | RowKey::ListenerPolicy(_)
        | RowKey::SmimeIssuer(_)
        | RowKey::AccountSettings(_)
        | RowKey::Account(_)
        | RowKey::IssuedCertificate(_)
        | RowKey::Revocation(_)
        | RowKey::AuditKept => {
            let facts = |record: &Record| facts::of(&change.key, record);
            let was = before.row(&change.key).map(|row| facts(&row.record)).unwrap_or_default();
            let will = change.record.as_ref().map(facts).unwrap_or_default();
            return differences(was, will);
        }
        _ => return Vec::new(),
    };
    let text = |record: &Record| match record {
        Record::Trusted(one) => {
            let found = Certificate::from_der(&one.der).ok()?;
            Some(format!("{}, serial {}", found.subject(), found.serial()))
        }
        Record::Crl(one) => {
            let found = Crl::from_der(&one.der).ok()?;
            let at = clock::rfc3339(one.this_update);
            Some(format!("{}, issued {at}, {} revoked", found.issuer(), found.revoked_count()))
        }
        Record::LongCrl(one) => {
            let at = clock::rfc3339(one.this_update);
            Some(format!("SHA-256 {}, issued {at}", one.list))
        }
        Record::Listener(one) => {
            let address = one.address.map(|address| address.to_string()).unwrap_or_default();
            Some(format!("{} on {address}:{} to {}", one.name, one.port, one.upstreams.join(" ")))
        }
        Record::AccessToken(one) => Some(one.name.clone()),
        Record::Generation(one) => Some(format!("wrapped for {} nodes", one.wraps.len())),
        _ => None,
    };
    vec![Difference {
        what: what.to_owned(),
        before: before.row(&change.key).and_then(|row| text(&row.record)),
        after: change.record.as_ref().and_then(text),
    }]
}
