//! Syntax of alternative names (RFC 5280 §4.2.1.6).

use crate::rule::Broken;
use x509_cert::ext::pkix::name::GeneralName;

const SOURCE: &str = "RFC 5280 §4.2.1.6";
/// Longest host name and longest label, in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Checks that every name is valid for its kind.
pub(super) fn check(names: &[GeneralName]) -> Result<(), Broken> {
    let broken = |what: &str| Err(Broken::rule(SOURCE, format!("{what} among its names")));
    for name in names {
        match name {
            // The code that matches names checks wildcards.
            GeneralName::DnsName(name) if !is_host(name.as_str(), b"*") => {
                return broken("a DNS name that is no host name");
            }
            GeneralName::Rfc822Name(name) if !is_mailbox(name.as_str()) => {
                return broken("an e-mail address that is none");
            }
            GeneralName::UniformResourceIdentifier(name) if !is_absolute(name.as_str()) => {
                return broken("a URI without scheme or content");
            }
            GeneralName::IpAddress(bytes) if !matches!(bytes.as_bytes().len(), 4 | 16) => {
                return broken("an address of neither 4 nor 16 bytes");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns whether a name has labels of letters, digits, inner hyphens, and `more`. The last label
/// must not be a number, so that no dotted address passes as a name (RFC 1123 §2.1).
pub(super) fn is_host(name: &str, more: &[u8]) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || more.contains(&b))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= HOST_BYTES_MAX
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a name is `local@host` (RFC 5321 §4.1.2): words with dots between them, or one
/// quoted string, before the last `@`.
pub(super) fn is_mailbox(name: &str) -> bool {
    let Some((local, host)) = name.rsplit_once('@') else { return false };
    let is_word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_graphic() && !b"()<>[]:;@\\,\"".contains(&b))
    };
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let is_local = match quoted {
        Some(inner) => inner.bytes().all(|b| (b' '..=b'~').contains(&b)),
        None => local.split('.').all(is_word),
    };
    let is_literal = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    is_local && (is_literal || is_host(host, b"_"))
}

/// Returns whether a URI has a scheme and something after it (RFC 3986 §3).
fn is_absolute(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !rest.is_empty()
    })
}
