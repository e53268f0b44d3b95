//! Admission of certificates: import, self-signing, renewal and removal.

use std::net::IpAddr;

use conclave_api::{
    certificate::{Import, Refresh, SelfSign},
    problem::{Code, Problem},
};
use conclave_pki::{
    certificate::{Certificate, read_bundle},
    chain::split_bundle,
    issue::{self, Attributes, Validity},
    key::PrivateKey,
};
use conclave_store::{
    command::{Action, SetCertificate},
    id::{Fingerprint, ServerName},
    outcome::Rejection,
    record::{self, Credential, Domain, DomainKey, KeyFamily, PkiMode},
    time::UnixMillis,
};
use conclave_system::{clock, entropy};
use serde_bytes::ByteBuf;

use super::{
    Admitted, View,
    canary::{self, Trial},
    chain::{Linking, linked},
    credential, domain_name,
    key::{beside, family as key_family, opened_key, read_key, sealed_key},
    pending_key, problem, rejection_problem,
};

const DAYS: u32 = 365;
const DAYS_MAX: u32 = 36_500;

/// Makes the record of a certificate, with the facts that apply needs: apply never parses X.509.
pub fn record_of(certificate: &Certificate) -> record::Certificate {
    record::Certificate {
        der: certificate.der().to_vec(),
        public_key: Fingerprint::of(certificate.public_key_der()),
        not_before: UnixMillis(certificate.not_before().saturating_mul(1000)),
        not_after: UnixMillis(certificate.not_after().saturating_mul(1000)),
    }
}

/// A parsed import. It is parsed once, even if the command is derived several times.
pub struct Imported {
    bundle: Vec<Certificate>,
    key: Option<PrivateKey>,
    allow_name_mismatch: bool,
    linking: Linking,
    trial: Option<Trial>,
}

/// Parses an import. A private key may also be in the certificate's file.
pub fn read_import(asked: &Import) -> Result<Imported, Problem> {
    let key = match asked.key.as_deref() {
        Some(key) => Some(("key", key)),
        None if asked.certificate.contains("PRIVATE KEY-----") => {
            Some(("certificate", asked.certificate.as_str()))
        }
        None => None,
    };
    let passphrase = asked.passphrase.as_deref();
    let key = key.map(|(field, pem)| read_key(field, pem, passphrase)).transpose()?;
    let bundle = read_bundle(asked.certificate.as_bytes())
        .map_err(|error| problem::certificate("certificate", &error))?;
    Ok(Imported {
        bundle,
        key,
        allow_name_mismatch: asked.allow_name_mismatch,
        linking: Linking { sort: asked.sort, allow_broken: asked.allow_broken_chain },
        trial: Trial::read(asked.canary.as_deref(), asked.soak_s)?,
    })
}

/// Sets the certificate, and the key and chain if the import contains them.
pub fn import_certificate(
    view: &View<'_>,
    name: &str,
    imported: &Imported,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let pending = match &imported.key {
        Some(_) => None,
        None => pending_key::certified(view, domain, &imported.bundle)?,
    };
    let key = imported.key.as_ref().or(pending.as_ref());
    let public_key_der = match key {
        Some(key) => key.public_key_der(),
        None => certified_key(view, domain, &imported.bundle)?,
    };
    let split = split_bundle(imported.bundle.clone(), public_key_der);
    let (leaf, rest) =
        split.ok_or_else(|| Problem::new(Code::NoCertificate, "the input holds no certificate"))?;
    if leaf.public_key_der() != public_key_der {
        return Err(rejection_problem(&Rejection::CertificateOfOtherKey {
            key: Fingerprint::of(public_key_der),
            certificate: Fingerprint::of(leaf.public_key_der()),
        })
        .hint(format!(
            "conclave csr create {name} makes a request for the present key    or import both: conclave cert import {name} FILE --key FILE"
        )));
    }
    check_dates(&leaf, view)?;
    check_names(domain, &leaf, imported.allow_name_mismatch)?;
    let family = family_of(domain, key, public_key_der);
    let (rest, found) = match rest.is_empty() {
        true => known_chain(view, domain, family, &leaf),
        false => (rest, None),
    };
    let (rest, chain_warnings) = linked(view, domain, Some(&leaf), rest, imported.linking)?;
    let key = key.map(|key| sealed_key(view, domain.id, key)).transpose()?;
    // The sealed bytes of a key differ each time. Without them a repetition is recognized.
    let present = |key: &DomainKey| domain.credential(key.family).map(|one| one.key.is_same(key));
    let key = key.filter(|key| present(key) != Some(true));
    let chain = Some(rest.iter().map(|one| ByteBuf::from(one.der())).collect());
    let mut warnings = warnings(domain, &leaf);
    warnings.extend(found);
    warnings.extend(dropped_trust(&imported.bundle));
    warnings.extend(chain_warnings);
    warnings.extend(unused(domain));
    warnings.extend(key.iter().flat_map(|key| beside(domain, key.family)));
    let set = SetCertificate { name: name.clone(), key, certificate: record_of(&leaf), chain };
    let action = match &imported.trial {
        Some(trial) => {
            let (action, more) = canary::start(view, domain, set, trial)?;
            warnings.extend(more);
            action
        }
        None => Action::SetCertificate(Box::new(set)),
    };
    Ok(Admitted::new(action, name).expecting(expectation).warning(warnings))
}

/// Warns about OpenSSL's trust settings behind certificates, which are not kept.
pub(super) fn dropped_trust(certificates: &[Certificate]) -> Vec<String> {
    let with_settings = certificates.iter().filter(|one| one.dropped_trust());
    let told = with_settings.map(|one| {
        format!(
            "OpenSSL's trust settings behind {} are not kept: the set and its scope decide what is trusted",
            one.subject()
        )
    });
    told.collect()
}

/// Returns the family of the credential that the import changes; none if it is new.
fn family_of(
    domain: &Domain,
    key: Option<&PrivateKey>,
    public_key_der: &[u8],
) -> Option<KeyFamily> {
    let of_key = |one: &&Credential| one.key.public_key_der == public_key_der;
    let known = domain.credentials.iter().find(of_key).map(|one| one.key.family);
    known.or_else(|| key.map(key_family))
}

/// Returns the chain for a certificate that comes without one: the chain so far of its credential,
/// or that of the other one, whichever issued it. A chain that did not issue it is no longer sent,
/// because clients could do nothing with it.
fn known_chain(
    view: &View<'_>,
    domain: &Domain,
    family: Option<KeyFamily>,
    leaf: &Certificate,
) -> (Vec<Certificate>, Option<String>) {
    let chain = |credential: &Credential| -> Vec<Certificate> {
        let sent = view.state.sent_chain(credential).iter();
        sent.filter_map(|der| Certificate::from_der(der).ok()).collect()
    };
    let is_own = |one: &&Credential| Some(one.key.family) == family;
    let own = domain.credentials.iter().find(is_own).map(chain).unwrap_or_default();
    let issued =
        |chain: &Vec<Certificate>| chain.first().is_some_and(|first| leaf.is_issued_by(first));
    if own.is_empty() || issued(&own) {
        let other = domain.credentials.iter().filter(|one| !is_own(one)).map(chain).find(issued);
        return match other.filter(|_| own.is_empty()) {
            Some(other) => {
                let text =
                    "the file has no CA chain: that of the domain's other certificate is used";
                (other, Some(text.to_owned()))
            }
            None => (own, None),
        };
    }
    let text = "the CA chain so far did not issue this certificate and is no longer sent";
    (Vec::new(), Some(text.to_owned()))
}

/// Returns the domain's public key that the bundle certifies. If it certifies none, returns a key
/// that the refusal can name.
fn certified_key<'d>(
    view: &View<'_>,
    domain: &'d Domain,
    bundle: &[Certificate],
) -> Result<&'d [u8], Problem> {
    let keys = || domain.credentials.iter().map(|one| &one.key);
    let certified = keys()
        .filter(|key| view.family.is_none_or(|family| family == key.family))
        .find(|key| bundle.iter().any(|one| one.public_key_der() == key.public_key_der));
    let key = match (certified, keys().next()) {
        (Some(key), _) => key,
        (None, Some(first)) if view.family.is_none() => first,
        (None, _) => &credential(domain, view.family)?.key,
    };
    Ok(&key.public_key_der)
}

/// Refuses a certificate outside its validity, since no client would accept it.
pub(super) fn check_dates(certificate: &Certificate, view: &View<'_>) -> Result<(), Problem> {
    const DAY: u64 = 24 * 60 * 60;
    let now = view.now.0 / 1_000;
    let (from, till) = (certificate.not_before(), certificate.not_after());
    let at = |seconds: u64| clock::rfc3339(UnixMillis(seconds.saturating_mul(1_000)));
    let title = if till < now {
        format!("the certificate expired {} days ago ({})", (now - till) / DAY, at(till))
    } else if from > now {
        format!("the certificate is not valid before {}", at(from))
    } else {
        return Ok(());
    };
    Err(Problem::new(Code::CertificateOutOfDate, title)
        .detail(format!("this node's clock says {}", at(now)))
        .hint("have a new certificate made; or, if the clock is wrong, set it"))
}

/// Refuses a certificate for none of the domain's names: it was probably meant for another domain.
fn check_names(
    domain: &Domain,
    certificate: &Certificate,
    is_mismatch_allowed: bool,
) -> Result<(), Problem> {
    let is_for = |name: &str| certificate.covers(name);
    if is_mismatch_allowed
        || domain.server_names().any(|name| is_for(name.as_str()))
        || is_for_an_address(domain, certificate)
    {
        return Ok(());
    }
    let names = certificate.names();
    let found = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    let name = &domain.name;
    let counted = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("its {one}")),
        count => Some(format!("its {count} {many}")),
    };
    let aliases = counted(domain.aliases.len(), "alias", "aliases");
    let addresses = counted(domain.addresses.len(), "address", "addresses");
    let others = match (aliases, addresses) {
        (Some(aliases), Some(addresses)) => format!(", {aliases} or {addresses}"),
        (one, other) => one.or(other).map(|one| format!(" or {one}")).unwrap_or_default(),
    };
    let problem = Problem::new(
        Code::CertificateForOtherNames,
        format!("the certificate is for {found}, not for {name}{others}"),
    );
    Err(problem.hint(match addition(domain, &names) {
        Some(command) => format!("{command}    or: --allow-name-mismatch"),
        None => "--allow-name-mismatch, or import it for the domain that it is for".to_owned(),
    }))
}

/// Returns whether a certificate is for one of the domain's addresses.
pub(crate) fn is_for_an_address(domain: &Domain, certificate: &Certificate) -> bool {
    certificate.addresses().any(|found| {
        let mut own = domain.addresses.iter();
        own.any(|own| own.to_canonical() == found.to_canonical())
    })
}

/// Returns the command that gives the first possible of these names to a domain.
fn addition(domain: &Domain, names: &[String]) -> Option<String> {
    let name = &domain.name;
    names.iter().find_map(|found| match found.parse::<IpAddr>() {
        // The command replaces all addresses.
        Ok(address) => {
            let all = domain.addresses.iter().chain([&address]);
            let all: Vec<String> = all.map(|one| format!("--ip {one}")).collect();
            Some(format!("conclave domain set {name} {}", all.join(" ")))
        }
        Err(_) => {
            let alias = ServerName::parse(found).ok()?;
            Some(format!("conclave domain alias {name} --add {alias}"))
        }
    })
}

/// Returns warnings about the names of a domain that its certificate does not cover.
pub(crate) fn warnings(domain: &Domain, certificate: &Certificate) -> Vec<String> {
    let mut warnings = Vec::new();
    let missing = not_covered(domain, certificate);
    if !missing.is_empty() {
        warnings.push(format!("the certificate does not cover {}", missing.join(", ")));
    }
    warnings.extend(for_addresses_only(domain, certificate));
    warnings
}

/// Returns the names of a domain that its certificate does not cover. A certificate for none of the
/// names but for an address of the domain is meant for clients that connect to the address: then
/// those of its addresses are returned that the certificate does not cover.
pub(crate) fn not_covered(domain: &Domain, certificate: &Certificate) -> Vec<String> {
    let missing = |name: &String| !certificate.covers(name);
    let names: Vec<String> = domain.server_names().map(String::from).collect();
    if is_for_addresses_only(domain, certificate) {
        return domain.addresses.iter().map(ToString::to_string).filter(missing).collect();
    }
    names.into_iter().filter(missing).collect()
}

fn is_for_addresses_only(domain: &Domain, certificate: &Certificate) -> bool {
    is_for_an_address(domain, certificate)
        && !domain.server_names().any(|name| certificate.covers(name.as_str()))
}

/// Tells what a certificate for addresses means for clients with a name.
pub(crate) fn for_addresses_only(domain: &Domain, certificate: &Certificate) -> Option<String> {
    is_for_addresses_only(domain, certificate).then(|| {
        let name = &domain.name;
        format!("the certificate is for addresses only: clients that ask for {name} refuse it")
    })
}

/// Warns if the PKI mode is not `enabled`: then a certificate is stored but not used.
fn unused(domain: &Domain) -> Option<String> {
    let name = &domain.name;
    let why = match domain.mode {
        PkiMode::Enabled => return None,
        PkiMode::Test => "in test mode",
        PkiMode::Disabled => "disabled",
    };
    Some(format!(
        "{name} is {why}: the certificate is kept and not used before conclave domain set {name} --pki enabled"
    ))
}

/// Makes a self-signed certificate for the domain's key.
pub fn self_sign(view: &View<'_>, name: &str, asked: &SelfSign) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let validity = validity(view, asked.days)?;
    let key = opened_key(view, domain, &credential(domain, view.family)?.key)?;
    let (attributes, names) = subject(domain, asked)?;
    let made = issue::self_sign(&key, &attributes, &names, entropy::array(), validity)
        .map_err(|error| problem::issue(&error))?;
    let action = SetCertificate {
        name: name.clone(),
        key: None,
        certificate: record_of(&made),
        chain: Some(Vec::new()),
    };
    let action = Action::SetCertificate(Box::new(action));
    let warnings = unused(domain).into_iter().collect();
    Ok(Admitted::new(action, name).expecting(expectation).warning(warnings))
}

/// Returns the possible common names: the domain's name, its aliases, the wildcard and its
/// addresses.
pub fn common_names(domain: &Domain) -> Vec<String> {
    let wildcard = match domain.name.as_str().split_once('.') {
        Some((_, rest)) if rest.contains('.') => format!("*.{rest}"),
        _ => format!("*.{}", domain.name),
    };
    let names = domain.server_names().map(String::from);
    // The wildcard may be an alias already.
    let own: Vec<String> = names.filter(|name| *name != wildcard).collect();
    let addresses = domain.addresses.iter().map(ToString::to_string);
    own.into_iter().chain([wildcard]).chain(addresses).collect()
}

/// Returns a name for a certificate as the certificate must contain it.
fn asked_name(text: &str) -> String {
    match ServerName::parse(text) {
        Ok(name) => name.into(),
        Err(_) => text.to_owned(),
    }
}

/// Returns the subject and the alternative names for a new certificate or signing request. The
/// names always include the common name, if there is one.
pub(super) fn subject(
    domain: &Domain,
    asked: &SelfSign,
) -> Result<(Attributes, Vec<String>), Problem> {
    let choices = common_names(domain);
    let common_name = asked.common_name.as_deref();
    let common_name = common_name.map_or_else(|| domain.name.to_string(), asked_name);
    // Authorities want none for certificates of addresses.
    if !common_name.is_empty() && !choices.contains(&common_name) {
        let title = format!("{common_name:?} cannot be the common name of {}", domain.name);
        return Err(Problem::new(Code::CertificateFieldInvalid, title)
            .detail(format!("possible are {}, and none: \"\"", choices.join(", ")))
            .hint(format!("conclave csr create {} --list-names", domain.name)));
    }
    let own = domain.server_names().map(String::from).filter(|_| !asked.only_names);
    let first = Some(common_name.clone()).filter(|name| !name.is_empty() && !asked.only_names);
    let mut names: Vec<String> = Vec::new();
    for name in first.into_iter().chain(own).chain(asked.names.iter().map(|name| asked_name(name)))
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let is_in = common_name.is_empty() || names.contains(&common_name);
    if names.is_empty() || !is_in {
        let title = match names.is_empty() {
            true => "the certificate would be for no name".to_owned(),
            false => format!("the common name {common_name} is not among the names"),
        };
        return Err(Problem::new(Code::CertificateFieldInvalid, title)
            .hint("--only-san takes the names from --san alone; with it give --common-name \"\" or one of them"));
    }
    let attributes = Attributes {
        common_name,
        country: asked.country.clone(),
        province: asked.province.clone(),
        city: asked.city.clone(),
        organization: asked.organization.clone(),
        unit: asked.unit.clone(),
        contact: asked.contact.clone(),
    };
    Ok((attributes, names))
}

/// Renews a self-signed certificate: the same contents with a new validity.
pub fn refresh_certificate(
    view: &View<'_>,
    name: &str,
    asked: &Refresh,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let missing = || rejection_problem(&Rejection::CertificateMissing(name.clone()));
    let credential = credential(domain, view.family)?;
    let found = credential.certificate.as_ref().ok_or_else(missing)?;
    let key = opened_key(view, domain, &credential.key)?;
    let old = Certificate::from_der(&found.der).map_err(|_| missing())?;
    if !old.is_issued_by(&old) {
        let title = format!("the certificate of {name} was issued by {}", old.issuer());
        return Err(Problem::new(Code::NotSelfSigned, title)
            .why("only one that the domain's key signed itself can be refreshed here")
            .hint(format!("conclave csr create {name}")));
    }
    // Without a wish the new one is valid for as long as the old one was.
    let seconds = old.not_after().saturating_sub(old.not_before());
    let days = u32::try_from(seconds / (24 * 60 * 60)).unwrap_or(DAYS_MAX).clamp(1, DAYS_MAX);
    let validity = validity(view, asked.days.or(Some(days)))?;
    let made = issue::refresh(&key, &old, validity).map_err(|error| problem::issue(&error))?;
    let certificate = record_of(&made);
    let action = SetCertificate { name: name.clone(), key: None, certificate, chain: None };
    let action = Action::SetCertificate(Box::new(action));
    Ok(Admitted::new(action, name).expecting(expectation))
}

pub(super) fn validity(view: &View<'_>, days: Option<u32>) -> Result<Validity, Problem> {
    let days = days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        let title = format!("{days} days are not possible");
        return Err(Problem::new(Code::CertificateFieldInvalid, title)
            .detail(format!("1 to {DAYS_MAX} are")));
    }
    let not_before = view.now.0 / 1000;
    Ok(Validity { not_before, not_after: not_before + u64::from(days) * 24 * 60 * 60 })
}

/// Removes the certificate of a domain, with its chain.
pub fn remove_certificate(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let family = credential(domain, view.family)?.key.family;
    Ok(Admitted::new(Action::RemoveCertificate(name.clone(), family), name).expecting(expectation))
}
