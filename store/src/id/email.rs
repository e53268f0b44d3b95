//! E-mail addresses.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{DomainName, NameError, malformed};

const WHAT: &str = "mail address";
/// Longest part before the `@` (RFC 5321 §4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;
/// Longest address (RFC 5321 §4.5.3.1.3, without the angle brackets).
const ADDRESS_BYTES_MAX: usize = 254;
/// Characters of an atom beside letters and digits (RFC 5322 §3.2.3).
const ATOM_SIGNS: &[u8] = b"!#$%&'*+-/=?^_`{|}~";

/// E-mail address of a mailbox: a dot-atom of ASCII, `@`, a DNS name; at most 254 bytes (RFC 5321
/// §4.1.2). In lower case: nobody gives two people addresses that differ by case alone, and mail
/// arrives in any (§2.4). Ordered by domain first, so that the addresses of one domain are
/// neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress {
    domain: DomainName,
    local: Arc<str>,
}

impl EmailAddress {
    /// Parses an address as people write it; an international domain gets its A-labels.
    pub fn parse(text: &str) -> Result<EmailAddress, NameError> {
        let (local, domain) = parts(text)?;
        EmailAddress::of(text, &local.to_ascii_lowercase(), DomainName::parse(domain)?)
    }

    fn of(text: &str, local: &str, domain: DomainName) -> Result<EmailAddress, NameError> {
        check_local(text, local)?;
        let found = local.len() + 1 + domain.as_str().len();
        if found > ADDRESS_BYTES_MAX {
            return Err(NameError::TooLong { what: WHAT, found, max: ADDRESS_BYTES_MAX });
        }
        Ok(EmailAddress { domain, local: local.into() })
    }

    /// Returns the domain part.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// Returns the start of the range of a domain's addresses: below every one of them, and not a
    /// valid address itself.
    pub(crate) fn lowest_of(domain: DomainName) -> EmailAddress {
        EmailAddress { domain, local: Arc::from("") }
    }
}

fn parts(text: &str) -> Result<(&str, &str), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what: WHAT });
    }
    text.rsplit_once('@').ok_or_else(|| malformed(WHAT, text, "it has no '@'"))
}

/// Checks a dot-atom. A quoted part is refused: programs disagree about it.
fn check_local(text: &str, local: &str) -> Result<(), NameError> {
    if local.len() > LOCAL_BYTES_MAX {
        return Err(malformed(WHAT, text, "the part before the '@' is longer than 64 bytes"));
    }
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || ATOM_SIGNS.contains(&byte))
    };
    match local.split('.').all(is_atom) {
        true => Ok(()),
        false => Err(malformed(
            WHAT,
            text,
            "before the '@' only ASCII letters, digits, the signs of an atom, and single dots \
             between them are possible",
        )),
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = NameError;
    fn try_from(text: String) -> Result<EmailAddress, NameError> {
        let (local, domain) = parts(&text)?;
        if local.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed(WHAT, &text, "it is stored in lower case"));
        }
        EmailAddress::of(&text, local, DomainName::try_from(domain.to_owned())?)
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> String {
        address.to_string()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.local, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_normal_form_or_are_refused() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = EmailAddress::parse(text).ok().map(|address| address.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text:?}");
        };
        check("ann@Shop.Example", Some("ann@shop.example"));
        check("Ann.Lee+x@shop.example.", Some("ann.lee+x@shop.example"));
        assert!(EmailAddress::try_from("Ann@shop.example".to_owned()).is_err(), "not as stored");
        check("ann@bücher.example", Some("ann@xn--bcher-kva.example"));
        for wrong in [
            "",
            "ann",
            "@shop.example",
            "ann@",
            ".ann@shop.example",
            "a..b@shop.example",
            "\"a b\"@shop.example",
            "a b@shop.example",
            "é@shop.example",
            "a@b@shop.example",
            "ann@192.0.2.1",
        ] {
            check(wrong, None);
        }
        check(&format!("{}@shop.example", "a".repeat(65)), None);
        let long =
            format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(8));
        check(&format!("{}@{long}", "a".repeat(64)), None);
    }

    #[test]
    fn addresses_of_a_domain_are_neighbours() {
        let address = |text: &str| EmailAddress::parse(text).unwrap();
        let (ann, zoe) = (address("ann@b.example"), address("zoe@a.example"));
        assert!(zoe < ann);
        let lowest = EmailAddress::lowest_of(DomainName::parse("b.example").unwrap());
        assert!(zoe < lowest && lowest < ann);
    }
}
