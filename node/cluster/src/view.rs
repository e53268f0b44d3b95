//! Conversion of State to the objects of the API.

mod attention;
mod audit;
mod backup;
mod canary;
mod chosen;
mod event;
mod expiry;
mod exposed;
mod findings;
mod keyring;
mod listener;
mod smime;
mod status;
mod upgrade;

use conclave_api::{
    API_VERSION,
    certificate::Certificate as ApiCertificate,
    client_auth::ClientAuth as ApiClientAuth,
    domain::{
        Credential as ApiCredential, Domain as ApiDomain, DomainVersion, Pki, Scope as ApiScope,
    },
    key::{Family, Key},
};
use conclave_pki::certificate::Certificate;
use conclave_store::{
    record::{ClientAuth, Credential, Domain, DomainKey, KeyFamily, PkiMode, TrustSet},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;

use crate::admit::Issuer;

pub use crate::inspect::Inspected;
pub use attention::{domains, forget_deleted, issuers, lists, of_node, unlock_exposed};
pub use audit::{audit, audit_last, compare_audit, verify_audit};
pub use backup::{backup_problems, last_backup};
pub use canary::canaries;
pub use chosen::{Chosen, Listed, Place};
pub(crate) use event::{event, observation};
pub use expiry::{Expiry, Serving};
pub use exposed::exposed;
pub use findings::{client_auth_problems, of_chain, of_domain};
pub use keyring::unfinished;
pub use listener::listener_on_nodes;
pub use smime::{account, account_key, latest_certificate, smime_issuer};
pub use status::{cluster, main_domain, member_problems, members};
pub(crate) use upgrade::possible_level;
pub use upgrade::upgrade;

/// Converts a certificate; `None` if it cannot be parsed.
pub fn certificate(der: &[u8], now: UnixMillis) -> Option<ApiCertificate> {
    Some(parsed_certificate(&Certificate::from_der(der).ok()?, now))
}

/// Converts a parsed certificate.
pub fn parsed_certificate(certificate: &Certificate, now: UnixMillis) -> ApiCertificate {
    let time = |seconds: u64| clock::rfc3339(UnixMillis(seconds.saturating_mul(1000)));
    let left = certificate.not_after().cast_signed() - (now.0 / 1000).cast_signed();
    let sha256 = |der: &[u8]| conclave_store::id::Fingerprint::of(der).to_string();
    ApiCertificate {
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        serial: certificate.serial(),
        not_before: time(certificate.not_before()),
        not_after: time(certificate.not_after()),
        days_left: left.div_euclid(24 * 60 * 60),
        names: certificate.names(),
        algorithm: certificate
            .key_algorithm()
            .map_or_else(|| "unknown".to_owned(), |algorithm| algorithm.to_string()),
        sha256: sha256(certificate.der()),
        key_sha256: sha256(certificate.public_key_der()),
        pem: certificate.pem(),
    }
}

/// Converts the chain of a credential.
pub fn chain(state: &State, credential: &Credential, now: UnixMillis) -> Vec<ApiCertificate> {
    state.sent_chain(credential).iter().filter_map(|der| certificate(der, now)).collect()
}

/// Converts what may be said of a key.
pub fn key(key: &DomainKey) -> Key {
    Key {
        family: match key.family {
            KeyFamily::Ec => Family::Ec,
            KeyFamily::Rsa => Family::Rsa,
        },
        algorithm: key.algorithm.clone(),
        sha256: key.public_key.to_string(),
        generation: key.sealed.generation.0,
        assigned: clock::rfc3339(key.assigned),
        pending: None,
    }
}

fn credential(state: &State, credential: &Credential, now: UnixMillis) -> ApiCredential {
    let found = credential.certificate.as_ref();
    ApiCredential {
        key: key(&credential.key),
        certificate: found.and_then(|found| certificate(&found.der, now)),
        chain: chain(state, credential, now),
        trusted_by: None,
    }
}

/// Converts a domain. `is_hidden` says that a shared domain of the same name is served instead.
pub fn domain(
    scope: Scope,
    state: &State,
    domain: &Domain,
    is_hidden: bool,
    now: UnixMillis,
) -> ApiDomain {
    let mut findings = findings::of_records(domain, now);
    if is_hidden {
        findings.push(findings::hidden());
    }
    ApiDomain {
        api_version: API_VERSION.to_owned(),
        kind: "Domain".to_owned(),
        name: domain.name.to_string(),
        scope: match scope {
            Scope::Shared => ApiScope::Shared,
            Scope::Local => ApiScope::Local,
        },
        unicode_name: domain.name.unicode(),
        hidden: is_hidden,
        main: false,
        trusted: trusted(state, domain),
        aliases: domain.aliases.iter().map(ToString::to_string).collect(),
        addresses: domain.addresses.iter().map(ToString::to_string).collect(),
        pki: pki(domain.mode),
        credentials: domain.credentials.iter().map(|one| credential(state, one, now)).collect(),
        pending_keys: state.pending_keys(domain.id).map(key).collect(),
        canary: canary::canary(state, &domain.name),
        client_auth: domain.client_auth.as_ref().map(|asked| client_auth(asked, None)),
        version: domain.version.0,
        changed: clock::rfc3339(domain.changed.time),
        changed_by: domain.changed.principal.to_string(),
        reason: domain.changed.reason.clone(),
        problems: findings.iter().map(|one| one.text.clone()).collect(),
        findings,
    }
}

/// Returns the number of entries of the domain's own trust set.
fn trusted(state: &State, domain: &Domain) -> u64 {
    let set = TrustSet::Domain(domain.id);
    let count = state.trusted(&set).count() + state.crl_keys(&set).count();
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Converts a client-certificate policy. `issuer` is none if it was not looked up or not found.
pub fn client_auth(asked: &ClientAuth, issuer: Option<&Issuer>) -> ApiClientAuth {
    ApiClientAuth {
        required: asked.is_required,
        issuer: asked.issuer.to_string(),
        subject: issuer.map(|issuer| issuer.certificate.subject()),
        set: issuer.map(|issuer| issuer.set.to_owned()),
    }
}

/// Converts all versions of a domain, given from the oldest to the current one. The current one is
/// the first of the answer.
pub fn versions(stored: &[Domain]) -> Vec<DomainVersion> {
    let count = stored.len();
    let earlier = std::iter::once(None).chain(stored.iter().map(Some));
    let pairs = stored.iter().zip(earlier).enumerate();
    let mut versions: Vec<DomainVersion> = pairs
        .map(|(place, (domain, earlier))| version(domain, earlier, place + 1 == count))
        .collect();
    versions.reverse();
    versions
}

fn version(domain: &Domain, earlier: Option<&Domain>, current: bool) -> DomainVersion {
    let certificates = domain.certificates().filter_map(|one| Certificate::from_der(&one.der).ok());
    DomainVersion {
        version: domain.version.0,
        current,
        changed: clock::rfc3339(domain.changed.time),
        changed_by: domain.changed.principal.to_string(),
        reason: domain.changed.reason.clone(),
        pki: pki(domain.mode),
        keys: domain.credentials.iter().map(|one| one.key.public_key.to_string()).collect(),
        certificates: certificates.map(|one| one.serial()).collect(),
        changes: changes(domain, earlier),
    }
}

/// Returns what a version changed, in words. `earlier` is the stored version before it.
fn changes(domain: &Domain, earlier: Option<&Domain>) -> Vec<String> {
    let Some(earlier) = earlier else {
        let is_first = domain.version.0 == 1;
        return if is_first { vec!["created".to_owned()] } else { Vec::new() };
    };
    let differs = [
        (domain.name != earlier.name, "name"),
        (domain.aliases != earlier.aliases, "aliases"),
        (domain.addresses != earlier.addresses, "addresses"),
        (domain.mode != earlier.mode, "pki"),
    ];
    let mut words: Vec<String> = differs
        .iter()
        .filter(|(differs, _)| *differs)
        .map(|(_, word)| (*word).to_owned())
        .collect();
    let has_both = domain.credentials.len().max(earlier.credentials.len()) > 1;
    for (family, of) in [(KeyFamily::Ec, "EC "), (KeyFamily::Rsa, "RSA ")] {
        let (found, before) = (domain.credential(family), earlier.credential(family));
        let of = if has_both { of } else { "" };
        let certificate = |one: &Credential| one.certificate.as_ref().map(|one| one.der.clone());
        let differs = [
            (found.map(|one| one.key.public_key) != before.map(|one| one.key.public_key), "key"),
            (found.and_then(certificate) != before.and_then(certificate), "certificate"),
            (found.and_then(|one| one.chain) != before.and_then(|one| one.chain), "chain"),
        ];
        let differs = differs.iter().filter(|(differs, _)| *differs);
        words.extend(differs.map(|(_, word)| format!("{of}{word}")));
    }
    if domain.client_auth != earlier.client_auth {
        words.push("client certificates".to_owned());
    }
    // Its trusted certificates are not in the domain itself, so their changes alone make versions
    // that look the same.
    if words.is_empty() && domain.version.0 == earlier.version.0 + 1 {
        words.push("trusted certificates".to_owned());
    }
    words
}

fn pki(mode: PkiMode) -> Pki {
    match mode {
        PkiMode::Disabled => Pki::Disabled,
        PkiMode::Test => Pki::Test,
        PkiMode::Enabled => Pki::Enabled,
    }
}
