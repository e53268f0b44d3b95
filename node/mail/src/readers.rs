//! Who will read a message: the account of its mailbox, and the one that it was first sent to.

use conclave_pki::certificate::Certificate;
use conclave_store::id::EmailAddress;

use crate::command::Envelope;

/// Separator of a mailbox and a detail behind it, such as a folder (RFC 5233 §4).
const DETAIL: char = '+';

/// Source of the certificates of accounts.
pub trait Certificates: Send + Sync {
    /// Returns the certificate (DER) to which messages for an account are encrypted now; `None` if
    /// there is no such account, or nothing can be encrypted to it.
    fn of(&self, account: &EmailAddress) -> Result<Option<Vec<u8>>, NotReady>;
}

/// No certificate is known now, which says nothing about accounts: 451 whatever the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotReady;

/// Returns the certificates of those who will read what is sent to a recipient: of the mailbox, and
/// of the original recipient (RFC 3461 §4.2), whose rule may have redirected the message. Empty if
/// the mailbox has none, because its owner could not read the message.
pub(crate) fn readers(
    to: &Envelope,
    certificates: &dyn Certificates,
) -> Result<Vec<Certificate>, NotReady> {
    let Some(own) = certificate(&to.path, certificates)? else { return Ok(Vec::new()) };
    let mut all = vec![own];
    if let Some(original) = to.parameter("ORCPT").and_then(original_recipient) {
        let other = certificate(&original, certificates)?;
        all.extend(other.filter(|other| all.iter().all(|one| one.der() != other.der())));
    }
    Ok(all)
}

fn certificate(
    path: &str,
    certificates: &dyn Certificates,
) -> Result<Option<Certificate>, NotReady> {
    for account in accounts(path) {
        let Some(der) = certificates.of(&account)? else { continue };
        let found = Certificate::from_der(&der).ok().filter(Certificate::may_receive);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Returns the addresses of the account that a path may belong to, the likeliest first. Mailbox
/// servers know a mailbox in any case, with quotes that it does not need, and with a detail: whatever
/// reaches its owner must be encrypted for its owner.
fn accounts(path: &str) -> Vec<EmailAddress> {
    // RFC 5321 §4.1.1.3: a source route is ignored.
    let mailbox = match path.strip_prefix('@') {
        Some(route) => route.split_once(':').map_or("", |(_, mailbox)| mailbox),
        None => path,
    };
    let Some((local, domain)) = mailbox.rsplit_once('@') else { return Vec::new() };
    let local = unquoted(local);
    let base = local.split(DETAIL).next().unwrap_or_default();
    let mut all: Vec<EmailAddress> = Vec::new();
    for local in [&*local, base] {
        let address = EmailAddress::parse(&format!("{local}@{domain}"));
        all.extend(address.ok().filter(|address| !all.contains(address)));
    }
    all
}

/// Removes the quotes of a quoted string (RFC 5321 §4.1.2).
fn unquoted(local: &str) -> String {
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(quoted) = quoted else { return local.to_owned() };
    let (mut plain, mut is_escaped) = (String::new(), false);
    for c in quoted.chars() {
        is_escaped = c == '\\' && !is_escaped;
        if !is_escaped {
            plain.push(c);
        }
    }
    plain
}

/// Returns the address in the value of ORCPT: `rfc822;` and xtext (RFC 3461 §4).
fn original_recipient(value: &str) -> Option<String> {
    let (kind, mut rest) = value.split_once(';')?;
    let mut text = String::new();
    while let Some((before, coded)) = rest.split_once('+') {
        let (digits, behind) = coded.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii_graphic)?;
        text.extend([before, char::from(byte).encode_utf8(&mut [0; 4])]);
        rest = behind;
    }
    text.push_str(rest);
    kind.trim().eq_ignore_ascii_case("rfc822").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_mailbox_finds_its_account() {
        let check = |path: &str, expected: &[&str]| {
            let found: Vec<String> = accounts(path).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{path}");
        };
        check("jim@a.example", &["jim@a.example"]);
        check("Jim@A.example", &["jim@a.example"]);
        check("Jim+X@A.example", &["jim+x@a.example", "jim@a.example"]);
        check("jim+x+y@a.example", &["jim+x+y@a.example", "jim@a.example"]);
        check("\"jim\"@a.example", &["jim@a.example"]);
        check("\"j\\im\"@a.example", &["jim@a.example"]);
        check("@b.example,@c.example:jim@a.example", &["jim@a.example"]);
        check("\"jim lee\"@a.example", &[]);
        check("jim", &[]);
        check("jim@[192.0.2.1]", &[]);
    }

    #[test]
    fn the_original_recipient_is_xtext() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(original_recipient(value).as_deref(), expected, "{value}");
        };
        check("rfc822;john@a.example", Some("john@a.example"));
        check("RFC822;john+2Bx@a.example", Some("john+x@a.example"));
        check("rfc822;john+2", None);
        check("rfc822;john+0Ax@a.example", None);
        check("utf-8;john@a.example", None);
        check("john@a.example", None);
    }
}
