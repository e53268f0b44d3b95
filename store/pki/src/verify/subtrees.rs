//! Name constraints (RFC 5280 §4.2.1.10).

use der::Encode;
use x509_cert::ext::pkix::{NameConstraints, constraints::name::GeneralSubtree, name::GeneralName};

use super::{
    Rules,
    profile::Profiled,
    syntax::{is_host, is_mailbox},
};
use crate::{
    budget::{Budget, each},
    name::{self, Comparable},
    rule::Broken,
};

const SOURCE: &str = "RFC 5280 §4.2.1.10";

/// Checks that the extension can be applied at all.
pub(super) fn check_form(
    constraints: Option<&NameConstraints>,
    rules: Rules,
) -> Result<(), Broken> {
    let Some(constraints) = constraints else { return Ok(()) };
    let sides = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
    let trees: Vec<&GeneralSubtree> = sides.into_iter().flatten().flatten().collect();
    // Each side has at least one subtree (SIZE (1..MAX)), and at least one side is present.
    if trees.is_empty() || sides.into_iter().flatten().any(Vec::is_empty) {
        return Err(Broken::rule(SOURCE, "its name constraints are empty"));
    }
    for tree in trees {
        if tree.minimum != 0 || tree.maximum.is_some() {
            return Err(Broken::rule(SOURCE, "a name constraint with a minimum or maximum"));
        }
        let is_formed = match &tree.base {
            GeneralName::DnsName(name) => is_dns_base(name.as_str(), rules),
            GeneralName::Rfc822Name(name) => is_email_base(name.as_str()),
            GeneralName::IpAddress(bytes) => is_network(bytes.as_bytes()),
            _ => true,
        };
        if !is_formed {
            return Err(Broken::rule(SOURCE, "a name constraint that is malformed"));
        }
    }
    Ok(())
}

/// Returns whether a DNS name can be a constraint. The leading dot of `.example.com` is no part of
/// it (RFC 5280 §4.2.1.10), but authorities write it, and OpenSSL, Go and NSS take it. The rules for
/// paths alone take it too: they judge what others have issued, not how.
fn is_dns_base(name: &str, rules: Rules) -> bool {
    let name = match rules {
        Rules::Path => name.strip_prefix('.').filter(|rest| !rest.is_empty()).unwrap_or(name),
        Rules::Profile | Rules::WebPki => name,
    };
    name.is_empty() || is_host(name, b"_")
}

fn is_email_base(name: &str) -> bool {
    if name.contains('@') {
        is_mailbox(name)
    } else {
        is_host(name.strip_prefix('.').unwrap_or(name), b"_")
    }
}

/// Returns whether address and mask are of the same family, and the mask is a prefix.
fn is_network(bytes: &[u8]) -> bool {
    let Some((_, mask)) = bytes.split_at_checked(bytes.len() / 2) else { return false };
    let ones = mask.iter().map(|byte| byte.leading_ones()).take_while(|ones| *ones > 0);
    let prefix: u32 = ones
        .scan(true, |go_on, ones| {
            let now = *go_on;
            *go_on = ones == 8;
            now.then_some(ones)
        })
        .sum();
    let total: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    matches!(bytes.len(), 8 | 32) && prefix == total
}

/// A name of a certificate.
enum Name<'a> {
    General(&'a GeneralName),
    Subject(&'a Comparable),
    /// An e-mail address in the subject, as used before alternative names.
    SubjectEmail(&'a str),
}

/// Checks that every name of the certificate is in the permitted and not in the excluded subtrees.
pub(super) fn check(
    one: &Profiled<'_>,
    constraints: &NameConstraints,
    budget: &mut Budget,
) -> Result<(), Broken> {
    let mut names: Vec<Name<'_>> = one.names.iter().map(Name::General).collect();
    if !one.subject.is_empty() {
        names.push(Name::Subject(&one.subject));
    }
    let emails = one.subject.emails();
    if !one.names.iter().any(|name| matches!(name, GeneralName::Rfc822Name(_))) {
        names.extend(emails.iter().map(|email| Name::SubjectEmail(email)));
    }
    for name in &names {
        let is_name = name.is_name();
        let bytes = name.bytes();
        let mut is_constrained = false;
        let mut is_permitted = false;
        for tree in constraints.permitted_subtrees.iter().flatten() {
            budget.spend(cost(bytes, &tree.base))?;
            if let Some(within) = within(name, &tree.base, false)? {
                is_name.clone()?;
                is_constrained = true;
                is_permitted |= within;
            }
        }
        if is_constrained && !is_permitted {
            return Err(Broken::rule(SOURCE, format!("{} is not permitted", name.shown())));
        }
        for tree in constraints.excluded_subtrees.iter().flatten() {
            budget.spend(cost(bytes, &tree.base))?;
            let Some(within) = within(name, &tree.base, true)? else { continue };
            is_name.clone()?;
            if within {
                return Err(Broken::rule(SOURCE, format!("{} is excluded", name.shown())));
            }
        }
    }
    Ok(())
}

/// Returns the estimated nanoseconds to compare a name of `name_bytes` bytes with a constraint.
fn cost(name_bytes: usize, base: &GeneralName) -> u64 {
    match base {
        GeneralName::DirectoryName(_) => 100 + each(name_bytes + general_bytes(base), 30),
        _ => 100 + each(name_bytes + general_bytes(base), 5),
    }
}

fn general_bytes(name: &GeneralName) -> usize {
    name.encoded_len().ok().and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX)
}

impl Name<'_> {
    /// Fails for a malformed name: no constraint can be applied to it.
    fn is_name(&self) -> Result<(), Broken> {
        let is_name = match self {
            Name::General(GeneralName::DnsName(name)) => is_host(name.as_str(), b"_*"),
            Name::General(GeneralName::Rfc822Name(name)) => is_mailbox(name.as_str()),
            Name::SubjectEmail(name) => is_mailbox(name),
            _ => true,
        };
        let malformed = || Broken::rule(SOURCE, "a name that is none, under a constraint");
        is_name.then_some(()).ok_or_else(malformed)
    }

    fn bytes(&self) -> usize {
        match self {
            Name::General(name) => general_bytes(name),
            Name::Subject(name) => name.bytes(),
            Name::SubjectEmail(email) => email.len(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Name::General(GeneralName::DnsName(name)) => name::escaped(name.as_str()),
            Name::General(GeneralName::Rfc822Name(name)) => name::escaped(name.as_str()),
            Name::General(GeneralName::UniformResourceIdentifier(uri)) => {
                name::escaped(uri.as_str())
            }
            Name::SubjectEmail(email) => name::escaped(email),
            Name::Subject(_) | Name::General(GeneralName::DirectoryName(_)) => {
                "its directory name".to_owned()
            }
            Name::General(GeneralName::IpAddress(_)) => "an address of it".to_owned(),
            Name::General(_) => "a name of it".to_owned(),
        }
    }
}

/// Returns whether a name is in a subtree; `None` if they are of different kinds.
fn within(name: &Name<'_>, base: &GeneralName, excluding: bool) -> Result<Option<bool>, Broken> {
    Ok(Some(match (name, base) {
        (Name::General(GeneralName::DnsName(name)), GeneralName::DnsName(base)) => {
            dns(name.as_str(), base.as_str(), excluding)
        }
        (Name::General(GeneralName::Rfc822Name(name)), GeneralName::Rfc822Name(base)) => {
            email(name.as_str(), base.as_str())
        }
        (Name::SubjectEmail(name), GeneralName::Rfc822Name(base)) => email(name, base.as_str()),
        (
            Name::General(GeneralName::UniformResourceIdentifier(uri)),
            GeneralName::UniformResourceIdentifier(base),
        ) => host_of(uri.as_str(), base.as_str())?,
        (Name::General(GeneralName::IpAddress(ip)), GeneralName::IpAddress(base)) => {
            address(ip.as_bytes(), base.as_bytes())
        }
        (Name::General(GeneralName::DirectoryName(name)), GeneralName::DirectoryName(base)) => {
            Comparable::of(name).is_within(&Comparable::of(base))
        }
        (Name::Subject(name), GeneralName::DirectoryName(base)) => {
            name.is_within(&Comparable::of(base))
        }
        (Name::General(name), base)
            if std::mem::discriminant(*name) == std::mem::discriminant(base) =>
        {
            return Err(Broken::rule(
                SOURCE,
                "a constraint on a kind of names that is not supported",
            ));
        }
        _ => return Ok(None),
    }))
}

/// Returns whether a DNS name is in a subtree. A wildcard is excluded as soon as one of the names
/// that it covers is.
fn dns(name: &str, base: &str, excluding: bool) -> bool {
    if base.starts_with('.') {
        // All names that a wildcard covers are below the same names as the wildcard itself.
        return host_matches(name, base);
    }
    match name.strip_prefix("*.") {
        Some(rest) if excluding => {
            let parent = base.split_once('.').map(|(_, parent)| parent);
            is_below(rest, base) || parent.is_some_and(|parent| parent.eq_ignore_ascii_case(rest))
        }
        Some(rest) => is_below(rest, base),
        None => is_below(name, base),
    }
}

/// Returns whether a name is the base, or has it after further labels.
fn is_below(name: &str, base: &str) -> bool {
    let Some((before, end)) =
        name.len().checked_sub(base.len()).and_then(|at| name.split_at_checked(at))
    else {
        return false;
    };
    end.eq_ignore_ascii_case(base)
        && (before.is_empty() || base.is_empty() || before.ends_with('.'))
}

fn email(name: &str, base: &str) -> bool {
    let Some((local, host)) = name.rsplit_once('@') else { return false };
    match base.rsplit_once('@') {
        Some((base_local, base_host)) => {
            local == base_local && host.eq_ignore_ascii_case(base_host)
        }
        None => host_matches(host, base),
    }
}

/// Matches a host. A base with a leading dot matches any host below it; otherwise only that host.
fn host_matches(host: &str, base: &str) -> bool {
    let (host, base) = (host.to_ascii_lowercase(), base.to_ascii_lowercase());
    if base.starts_with('.') {
        host.ends_with(&base) && host.len() > base.len()
    } else {
        host == base
    }
}

fn host_of(uri: &str, base: &str) -> Result<bool, Broken> {
    let rest = uri.split_once("://").map(|(_, rest)| rest);
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let host = authority.map(|one| one.rsplit('@').next().unwrap_or_default());
    let host = host.map(|one| one.split(':').next().unwrap_or_default());
    match host {
        // "the constraint MUST reject a URI without a host" (RFC 5280 §4.2.1.10).
        Some(host) if is_host(host, b"_") => Ok(host_matches(host, base)),
        _ => Err(Broken::rule(SOURCE, "a URI without a host name under a constraint")),
    }
}

fn address(address: &[u8], base: &[u8]) -> bool {
    let Some((network, mask)) = base.split_at_checked(base.len() / 2) else { return false };
    address.len() == network.len()
        && address.iter().zip(network).zip(mask).all(|((a, n), m)| a & m == n & m)
}
