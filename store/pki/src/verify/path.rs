//! Rules for a whole path (RFC 5280 §6.1), and for the leaf by its purpose.

use der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::{KeyUsage, name::GeneralName};

use super::{
    Purpose, Request, Rules, Subject, imposed, policy::Policies, profile::Profiled, subtrees,
};
use crate::{
    budget::Budget,
    certificate::Certificate,
    limits::PATH_INTERMEDIATES_MAX,
    rule::{Broken, Reason},
};

const ANY_EKU: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

impl Purpose {
    fn eku(self) -> Option<ObjectIdentifier> {
        let arc = match self {
            Purpose::Server => 1,
            Purpose::Client => 2,
            Purpose::Email | Purpose::EmailSignature => 4,
            Purpose::Any => return None,
        };
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3").push_arc(arc).ok()
    }

    fn allows(self, usage: &KeyUsage) -> bool {
        let signs = usage.digital_signature();
        let exchanges = usage.key_encipherment() || usage.key_agreement();
        match self {
            Purpose::Server => signs || exchanges,
            Purpose::Client => signs || usage.key_agreement(),
            Purpose::Email => signs || exchanges || usage.non_repudiation(),
            Purpose::EmailSignature => signs || usage.non_repudiation(),
            Purpose::Any => true,
        }
    }
}

/// A broken rule, and the certificate of the path that breaks it.
pub(super) type Fault<'a> = (Broken, &'a Certificate);

/// Checks a path, given from the anchor down to the certificate in question. Signatures and the
/// rules for single certificates have already been checked.
pub(super) fn check<'a>(
    path: &[&Profiled<'a>],
    request: &Request<'_>,
    budget: &mut Budget,
) -> Result<(), Fault<'a>> {
    let Some((leaf, authorities)) = path.split_last() else { return Ok(()) };
    let mut policies = Policies::new(path.len());
    // Number of certificates still allowed below, without self-issued ones (§6.1.4 (l)).
    let mut allowed = PATH_INTERMEDIATES_MAX + 1;
    let mut between = 0;
    for (place, one) in authorities.iter().enumerate() {
        let fault = |broken| (broken, one.certificate);
        check_authority(one, request).map_err(fault)?;
        // The anchor's own policies and names are not checked (§6.1.1 (d)).
        if place > 0 {
            policies.enter(one, false).map_err(fault)?;
            policies.leave(one).map_err(fault)?;
            if !one.is_self_issued() {
                allowed = allowed.checked_sub(1).ok_or_else(|| {
                    fault(Broken::rule(
                        "RFC 5280 §6.1.4 (l)",
                        "the path is longer than an authority above allows",
                    ))
                })?;
                between += 1;
                check_depth(between, request).map_err(fault)?;
            }
        }
        let length = one.basic.as_ref().and_then(|basic| basic.path_len_constraint);
        allowed = length.map_or(allowed, |length| allowed.min(usize::from(length)));
        let imposed = imposed::constraints(one.certificate).filter(|_| place == 0);
        for constraints in one.constraints.iter().chain(imposed) {
            let below = path.iter().enumerate().skip(place + 1);
            for (lower, other) in below {
                let is_last = lower + 1 == path.len();
                if is_last || !other.is_self_issued() {
                    subtrees::check(other, constraints, budget)
                        .map_err(|broken| (broken, other.certificate))?;
                }
            }
        }
    }
    let fault = |broken| (broken, leaf.certificate);
    if !authorities.is_empty() {
        policies.enter(leaf, true).map_err(fault)?;
        policies.end(leaf).map_err(fault)?;
    }
    check_leaf(leaf, request).map_err(fault)
}

fn check_depth(between: usize, request: &Request<'_>) -> Result<(), Broken> {
    match request.depth {
        Some(most) if between > most => Err(Broken::rule(
            "the depth asked for",
            format!("the path has more intermediates than {most}"),
        )),
        _ => Ok(()),
    }
}

fn check_authority(one: &Profiled<'_>, request: &Request<'_>) -> Result<(), Broken> {
    if !one.is_authority() {
        return Err(Broken::rule(
            "RFC 5280 §6.1.4 (k)",
            "it issued a certificate, but is no authority",
        ));
    }
    if one.key_usage.as_ref().is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(Broken::rule("RFC 5280 §6.1.4 (n)", "its key may not sign certificates"));
    }
    let (Some(eku), Some(wanted)) = (&one.eku, request.purpose.eku()) else { return Ok(()) };
    if eku.contains(&wanted) || eku.contains(&ANY_EKU) {
        return Ok(());
    }
    Err(Broken::rule("RFC 5280 §4.2.1.12", "it may not issue certificates for this purpose"))
}

fn check_leaf(leaf: &Profiled<'_>, request: &Request<'_>) -> Result<(), Broken> {
    if let Some(wanted) = request.purpose.eku() {
        if leaf.is_authority() {
            return Err(Broken::rule("RFC 5280 §4.2.1.9", "it is an authority, not an end entity"));
        }
        let is_other = |eku: &Vec<ObjectIdentifier>| {
            // If a purpose is required, a certificate that only allows any purpose may be rejected
            // (§4.2.1.12).
            let any_counts = request.rules == Rules::Path && eku.contains(&ANY_EKU);
            !eku.contains(&wanted) && !any_counts
        };
        if leaf.eku.as_ref().is_some_and(is_other) {
            return Err(Broken::rule("RFC 5280 §4.2.1.12", "it is not for this purpose"));
        }
        if leaf.key_usage.as_ref().is_some_and(|usage| !request.purpose.allows(usage)) {
            return Err(Broken::rule(
                "RFC 5280 §4.2.1.3",
                "its key usage does not fit this purpose",
            ));
        }
        if request.purpose == Purpose::Server && !leaf.has_san {
            return Err(Broken::new(
                Reason::Name,
                "RFC 6125 §6.4.4",
                "it has no subject alternative name; a common name alone does not count",
            ));
        }
    }
    match request.name {
        Some(name) if !is_named(leaf, name) => Err(Broken::new(
            Reason::Name,
            "RFC 6125 §6.4",
            format!("it is for {}", named(leaf.certificate)),
        )),
        _ => Ok(()),
    }
}

fn named(certificate: &Certificate) -> String {
    let names = certificate.names();
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}

fn is_named(leaf: &Profiled<'_>, wanted: &Subject) -> bool {
    let mut emails = leaf.names.iter().filter_map(|name| match name {
        GeneralName::Rfc822Name(found) => Some(found.as_str()),
        _ => None,
    });
    match wanted {
        Subject::Dns(wanted) => leaf.names.iter().any(|name| match name {
            GeneralName::DnsName(found) => dns_matches(found.as_str(), wanted),
            _ => false,
        }),
        Subject::Ip(wanted) => {
            let octets = match wanted {
                std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
                std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            leaf.names.iter().any(|name| match name {
                GeneralName::IpAddress(found) => found.as_bytes() == octets,
                _ => false,
            })
        }
        Subject::Email(wanted) => {
            let in_subject = leaf.subject.emails();
            emails.any(|found| email_matches(found, wanted))
                || (!leaf.has_san && in_subject.iter().any(|found| email_matches(found, wanted)))
        }
    }
}

/// Compares the local part exactly, and the host without regard to case (RFC 5280 §7.5).
fn email_matches(found: &str, wanted: &str) -> bool {
    match (found.rsplit_once('@'), wanted.rsplit_once('@')) {
        (Some((local, host)), Some((wanted_local, wanted_host))) => {
            local == wanted_local && host.eq_ignore_ascii_case(wanted_host)
        }
        _ => false,
    }
}

/// Matches a DNS name. A wildcard must be the whole first label, covers exactly one label, and must
/// not be directly below a top-level domain (RFC 6125 §6.4.3).
fn dns_matches(found: &str, wanted: &str) -> bool {
    let found = found.to_ascii_lowercase();
    match found.strip_prefix("*.") {
        None => found == wanted,
        Some(rest) => {
            rest.contains('.')
                && !rest.contains('*')
                && wanted
                    .split_once('.')
                    .is_some_and(|(first, tail)| !first.is_empty() && tail == rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        issue,
        key::{KeyAlgorithm, PrivateKey},
        verify::Rules,
    };

    #[test]
    fn a_root_that_is_trusted_for_some_names_issues_for_no_others() {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let mut roots = roots.map(|der| Certificate::from_der(der).unwrap());
        let root = roots.find(|one| imposed::constraints(one).is_some()).unwrap();
        let anchor = Profiled::read(&root).unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut |bytes| bytes.fill(7)).unwrap();
        let validity = issue::Validity { not_before: 1_700_000_000, not_after: 1_900_000_000 };
        let issued = |name: &str| {
            let names = [name.to_owned()];
            let attributes =
                issue::Attributes { common_name: name.to_owned(), ..issue::Attributes::default() };
            issue::self_sign(&key, &attributes, &names, [1; 16], validity).unwrap()
        };
        for (name, is_right) in [("www.gov.tr", true), ("shop.example", false), ("tr", false)] {
            let leaf = issued(name);
            let request = Request {
                certificate: &leaf,
                intermediates: &[],
                anchors: &[],
                crls: &[],
                is_list_required: false,
                purpose: Purpose::Server,
                name: None,
                at: 1_800_000_000,
                rules: Rules::Path,
                depth: None,
            };
            let path = [&anchor, &Profiled::read(&leaf).unwrap()];
            let judged = check(&path, &request, &mut Budget::new());
            let broken = judged.err().map(|(broken, _)| broken.source);
            assert_eq!(broken, (!is_right).then_some("RFC 5280 §4.2.1.10"), "{name}");
        }
    }
}
