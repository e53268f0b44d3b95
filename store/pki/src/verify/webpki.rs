//! What browsers demand of public certificates, beyond RFC 5280: the Baseline Requirements of the
//! CA/Browser Forum for TLS servers (BR).
//!
//! Not among them are the longest validity, which counts for public authorities alone, and reserved
//! addresses and internal names, which browsers accept.

use der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;

use super::{
    Purpose, Request,
    profile::{EKU, Profiled, SAN},
    syntax::is_host,
};
use crate::{
    certificate::ip,
    key::KeyAlgorithm,
    name,
    rule::{Broken, Reason},
};

/// Purposes that a server's certificate must not have (BR §7.1.2.7.10).
const FORBIDDEN: [(ObjectIdentifier, &str); 6] = [
    (ObjectIdentifier::new_unwrap("2.5.29.37.0"), "any use"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3"), "code signing"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"), "e-mail"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8"), "time stamps"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"), "OCSP"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.4"), "precertificates"),
];

/// Checks one certificate of a path.
pub(super) fn check(
    one: &Profiled<'_>,
    request: &Request<'_>,
    is_asked_for: bool,
    is_anchor: bool,
) -> Result<(), Broken> {
    check_key(one)?;
    if is_anchor && one.is_self_issued() && one.is_authority() && one.eku.is_some() {
        return Err(Broken::rule("BR §7.1.2.1.2", "a root with extended key usage"));
    }
    match is_asked_for && request.purpose == Purpose::Server {
        true => check_usage(one).and_then(|()| check_names(one)),
        false => Ok(()),
    }
}

/// Checks the key. Too short ones and those of unknown kinds are refused by every set of rules.
fn check_key(one: &Profiled<'_>) -> Result<(), Broken> {
    let refused = |source, what: String| {
        Err(Broken::new(Reason::Signature, source, format!("its key is {what}")))
    };
    match one.certificate.key_algorithm() {
        Some(KeyAlgorithm::Rsa(bits)) if bits % 8 != 0 => {
            refused("BR §6.1.5", format!("RSA of {bits} bits, which is no multiple of 8"))
        }
        Some(key @ (KeyAlgorithm::Ed25519 | KeyAlgorithm::X25519)) => {
            refused("BR §7.1.3.1", format!("{key}, neither RSA nor ECDSA"))
        }
        _ => Ok(()),
    }
}

fn check_usage(one: &Profiled<'_>) -> Result<(), Broken> {
    let Some(usages) = &one.eku else {
        return Err(Broken::rule("BR §7.1.2.7.6", "it has no extended key usage"));
    };
    if one.is_critical(EKU) == Some(true) {
        return Err(Broken::rule("BR §7.1.2.7.6", "its extended key usage is critical"));
    }
    match FORBIDDEN.iter().find(|(usage, _)| usages.contains(usage)) {
        Some((_, what)) => Err(Broken::rule("BR §7.1.2.7.10", format!("it is also for {what}"))),
        None => Ok(()),
    }
}

fn check_names(one: &Profiled<'_>) -> Result<(), Broken> {
    if !one.subject.is_empty() && one.is_critical(SAN) == Some(true) {
        let detail = "it has a subject, but its alternative names are critical";
        return Err(Broken::rule("BR §7.1.2.7.12", detail));
    }
    // Other kinds of names are ignored, as browsers do.
    // Addresses as a common name must write them (RFC 3986 §3.2.2, RFC 5952).
    let (mut dns, mut addresses) = (Vec::new(), Vec::new());
    for name in &one.names {
        match name {
            GeneralName::DnsName(name) => dns.push(name.as_str()),
            GeneralName::IpAddress(bytes) => {
                addresses.extend(ip(bytes.as_bytes()).map(|ip| ip.to_string()))
            }
            _ => {}
        }
    }
    for name in &dns {
        check_name(name, &dns)?;
    }
    let broken = |detail: String| Err(Broken::new(Reason::Name, "BR §7.1.4.3", detail));
    let subject = one.certificate.parsed().tbs_certificate().subject();
    match name::common_names(subject).as_slice() {
        [] => Ok(()),
        [common] if is_repeated(common, &dns, &addresses) => Ok(()),
        [common] => {
            let common = name::escaped(common);
            broken(format!("its common name {common} is none of its alternative names"))
        }
        _ => broken("it has more than one common name".to_owned()),
    }
}

/// Returns whether the common name repeats an alternative name, letter by letter. As x509-limbo
/// expects, the base of a wildcard is taken too, and a host name if there are only addresses.
fn is_repeated(common: &str, dns: &[&str], addresses: &[String]) -> bool {
    let is_repeated = dns.contains(&common) || addresses.iter().any(|one| one == common);
    let is_base = dns.iter().any(|one| one.strip_prefix("*.") == Some(common));
    let is_host_name = common.contains('.') && is_host(common, b"");
    let is_other_kind = dns.is_empty() && (addresses.is_empty() || is_host_name);
    is_repeated || is_base || is_other_kind
}

fn check_name(name: &str, all: &[&str]) -> Result<(), Broken> {
    if name.contains('_') {
        let name = name::escaped(name);
        let detail = format!("its name {name} has an underscore");
        return Err(Broken::new(Reason::Name, "BR §7.1.2.7.12", detail));
    }
    match name.strip_prefix("*.") {
        Some(rest) if is_of_others(rest, all) => {
            let name = name::escaped(name);
            let detail = format!("its wildcard {name} covers the whole of a public suffix");
            Err(Broken::new(Reason::Name, "BR §3.2.2.6", detail))
        }
        _ => Ok(()),
    }
}

/// Returns whether names directly below this one belong to others, by the public suffix list. A
/// suffix of the list's private part is the name of a company: a certificate that also has such a
/// suffix itself among its names is that company's, which has all names below.
fn is_of_others(name: &str, all: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    match own_suffix(&name) {
        None => false,
        Some(psl::Type::Icann) => true,
        Some(psl::Type::Private) => !all.iter().any(|one| {
            let one = one.to_ascii_lowercase();
            own_suffix(&one) == Some(psl::Type::Private) && are_of_one_owner(&name, &one)
        }),
    }
}

/// Returns the part of the list with this name; none if it is no public suffix. A name of one label
/// that is unknown to the list counts as one of a registry.
fn own_suffix(name: &str) -> Option<psl::Type> {
    let suffix = psl::suffix(name.as_bytes()).filter(|one| one.as_bytes() == name.as_bytes())?;
    Some(suffix.typ().unwrap_or(psl::Type::Icann))
}

/// Returns whether two suffixes are the same or below one registered name.
fn are_of_one_owner(one: &str, other: &str) -> bool {
    let labels = one.rsplit('.').zip(other.rsplit('.'));
    let mut common: Vec<&str> =
        labels.take_while(|(one, other)| one == other).map(|(one, _)| one).collect();
    common.reverse();
    one == other || !common.is_empty() && own_suffix(&common.join(".")).is_none()
}
