//! Identifiers: names, numbers and hashes, each with a type of its own. A parsed name is always
//! valid.

mod email;
mod international;

use std::{fmt, sync::Arc};

pub use email::EmailAddress;
use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// Reason why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("an empty {what} was given")]
    Empty {
        /// Kind of name.
        what: &'static str,
    },
    /// The text is longer than this kind of name allows.
    #[error("the {what} has {found} bytes, at most {max} are possible")]
    TooLong {
        /// Kind of name.
        what: &'static str,
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A label has a character or a form that this kind of name does not allow.
    #[error("the part {label:?} of {name:?} is not possible in a {what}: {why}")]
    Label {
        /// Kind of name.
        what: &'static str,
        /// The text, cut to a printable length.
        name: String,
        /// The label, cut too.
        label: String,
        /// The reason.
        why: &'static str,
    },
    /// The text has a character or a form that this kind of name does not allow.
    #[error("{name:?} is not a {what}: {why}")]
    Malformed {
        /// Kind of name.
        what: &'static str,
        /// The text, cut to a printable length.
        name: String,
        /// The reason.
        why: &'static str,
    },
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn malformed(what: &'static str, name: &str, why: &'static str) -> NameError {
    NameError::Malformed { what, name: cut(name), why }
}

/// Checks one DNS label: letters, digits, inner hyphens, and underscores, which occur in practice
/// (RFC 2181 §11 allows them).
fn check_label(what: &'static str, name: &str, label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(malformed(what, name, "a part between two dots is empty"));
    }
    let is_possible = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let why = if label.len() > 63 {
        "it is longer than 63 characters"
    } else if !label.bytes().all(is_possible) {
        "only letters, digits, '-' and '_' are possible"
    } else if label.starts_with('-') || label.ends_with('-') {
        "it begins or ends with '-'"
    } else {
        return Ok(());
    };
    if name == label {
        return Err(malformed(what, name, why));
    }
    Err(NameError::Label { what, name: cut(name), label: cut(label), why })
}

/// Parses a name as people write it, with U-labels too.
fn parse_international(what: &'static str, text: &str) -> Result<String, NameError> {
    parse_dns(what, &international::to_ascii(what, text)?)
}

fn parse_dns(what: &'static str, text: &str) -> Result<String, NameError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > 253 {
        return Err(NameError::TooLong { what, found: name.len(), max: 253 });
    }
    for label in name.split('.') {
        check_label(what, &name, label)?;
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(malformed(what, &name, "its last part is a number, as in an address"));
    }
    Ok(name)
}

fn with_wildcard(
    what: &'static str,
    text: &str,
    parse: fn(&'static str, &str) -> Result<String, NameError>,
) -> Result<String, NameError> {
    match text.strip_prefix("*.") {
        Some(rest) => parse(what, rest).map(|name| format!("*.{name}")),
        None => parse(what, text),
    }
}

// Names are keys of persistent maps whose nodes are copied on every change: a clone must be cheap.
macro_rules! text_name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $parse:expr) => {
        text_name!($(#[$doc])* $type, $what, $parse, stored: $parse);
    };
    ($(#[$doc:meta])* $type:ident, $what:literal, $parse:expr, stored: $stored:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Parses a name as people write it and normalises it; see the type for its bounds.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let parse: fn(&'static str, &str) -> Result<String, NameError> = $parse;
                parse($what, text).map(|name| Self(name.into()))
            }

            /// Returns the start of a range over names: below every name, and not a valid name
            /// itself.
            #[allow(dead_code, reason = "not every kind of name is ranged over")]
            pub(crate) fn lowest() -> Self {
                Self(Arc::from(""))
            }

            /// Returns the name in its normal form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                let parse: fn(&'static str, &str) -> Result<String, NameError> = $stored;
                parse($what, &text).map(|name| Self(name.into()))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// Name of a domain: a DNS name in lower case, 1 to 253 bytes, no trailing dot (RFC 1035 §2.3).
    /// International names have A-labels.
    DomainName,
    "domain name",
    parse_international,
    stored: parse_dns
);

text_name!(
    /// Server name of a domain: a DNS name, or `*.` followed by a DNS name (RFC 6125 §6.4.3).
    ServerName,
    "server name",
    |what, text| with_wildcard(what, text, parse_international),
    stored: |what, text| with_wildcard(what, text, parse_dns)
);

text_name!(
    /// Name of a node: one DNS label.
    NodeName,
    "node name",
    parse_single_label
);

text_name!(
    /// Name of a listener: one DNS label.
    ListenerName,
    "listener name",
    parse_single_label
);

text_name!(
    /// Name of a cluster: one DNS label.
    ClusterName,
    "cluster name",
    parse_single_label
);

text_name!(
    /// Id of an operation, chosen by its caller, so that a retry is not done twice: 1 to 64
    /// characters of `A-Za-z0-9_-`.
    OperationId,
    "operation id",
    |what, text| {
        if text.is_empty() {
            return Err(NameError::Empty { what });
        }
        if text.len() > 64 {
            return Err(NameError::TooLong { what, found: text.len(), max: 64 });
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(malformed(what, text, "only letters, digits, '-' and '_' are possible"));
        }
        Ok(text.to_owned())
    }
);

text_name!(
    /// Name of a user: 1 to 64 characters of `a-z0-9._@-`, the first a letter or a digit.
    UserName,
    "user name",
    |what, text| {
        let name = text.to_ascii_lowercase();
        if name.is_empty() {
            return Err(NameError::Empty { what });
        }
        if name.len() > 64 {
            return Err(NameError::TooLong { what, found: name.len(), max: 64 });
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b)) {
            return Err(malformed(what, text, "only letters, digits and '.', '_', '@', '-' are possible"));
        }
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(malformed(what, text, "it must begin with a letter or a digit"));
        }
        Ok(name)
    }
);

impl OperationId {
    /// Returns a UUID of version 7 (RFC 9562 §5.7) in lower case, which contains its time of
    /// creation. Version and variant replace 6 of the 80 random bits.
    pub fn new(made: UnixMillis, random: [u8; 10]) -> OperationId {
        let time = format!("{:012x}", made.0 & 0xffff_ffff_ffff);
        let (high, low) = time.split_at(8);
        let [a, b, c, d, node @ ..] = random;
        let (a, c) = (0x70 | a & 0x0f, 0x80 | c & 0x3f);
        let node: String = node.iter().map(|byte| format!("{byte:02x}")).collect();
        OperationId(format!("{high}-{low}-{a:02x}{b:02x}-{c:02x}{d:02x}-{node}").into())
    }

    /// Returns the time of creation if the id has the form that [`OperationId::new`] gives it. The
    /// operation was not tried before that time.
    pub fn made_at(&self) -> Option<UnixMillis> {
        let parts: Vec<&str> = self.0.split('-').collect();
        let [high, low, version, variant, node] = *parts else { return None };
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lengths = [high.len(), low.len(), version.len(), variant.len(), node.len()];
        let is_of_form = lengths == [8, 4, 4, 4, 12]
            && parts.iter().all(|part| is_hex(part))
            && version.starts_with('7')
            && variant.starts_with(['8', '9', 'a', 'b', 'A', 'B']);
        let made = is_of_form.then(|| u64::from_str_radix(&format!("{high}{low}"), 16).ok());
        made.flatten().map(UnixMillis)
    }
}

fn parse_single_label(what: &'static str, text: &str) -> Result<String, NameError> {
    let name = text.to_ascii_lowercase();
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    check_label(what, &name, &name)?;
    Ok(name)
}

impl DomainName {
    /// Returns the name with U-labels, for people; none for a name without international labels.
    pub fn unicode(&self) -> Option<String> {
        international::to_unicode(&self.0)
    }

    /// Checks that each label that begins with `xn--` is an A-label. Stored names may lack it.
    pub fn check_international(&self) -> Result<(), NameError> {
        international::check("domain name", &self.0)
    }
}

impl ServerName {
    /// Returns the name with U-labels, for people; none for a name without international labels.
    pub fn unicode(&self) -> Option<String> {
        match self.0.strip_prefix("*.") {
            Some(rest) => international::to_unicode(rest).map(|rest| format!("*.{rest}")),
            None => international::to_unicode(&self.0),
        }
    }

    /// Checks that each label that begins with `xn--` is an A-label. Stored names may lack it.
    pub fn check_international(&self) -> Result<(), NameError> {
        international::check("server name", self.0.strip_prefix("*.").unwrap_or(&self.0))
    }

    /// Returns the wildcard covering `name`: its first label replaced by `*`; `None` for a single
    /// label.
    pub fn wildcard_of(name: &DomainName) -> Option<ServerName> {
        let (_, rest) = name.as_str().split_once('.')?;
        Some(ServerName(format!("*.{rest}").into()))
    }

    /// Returns the same name as a domain name; `None` for a wildcard.
    pub(crate) fn as_domain_name(&self) -> Option<DomainName> {
        (!self.0.starts_with("*.")).then(|| DomainName(Arc::clone(&self.0)))
    }
}

impl From<DomainName> for ServerName {
    fn from(name: DomainName) -> ServerName {
        ServerName(name.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        pub struct $type(pub u64);

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

number!(
    /// Number of a member, never reused; 0 is no member.
    NodeId
);
number!(
    /// Position of a command in the order of its scope; 0 precedes the first.
    LogIndex
);
number!(
    /// Version of a domain: 1 at creation, incremented by each change.
    Version
);
number!(
    /// Generation of the keyring: 1 at the founding of the cluster.
    Generation
);

/// Writes bytes as lower-case hex.
fn hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $type:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $type(pub [u8; $size]);

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(&self.0, out)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(&self.0, out)
            }
        }

        impl $type {
            /// Parses the hex form written by `Display`.
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $size];
                if text.len() != 2 * $size || !text.is_ascii() {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
                    *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
                }
                Some(Self(bytes))
            }
        }
    };
}

bytes_id!(
    /// Random id of a cluster, unique among all clusters.
    ClusterId,
    16
);
bytes_id!(
    /// Random id of a domain, kept across renames and never reused.
    DomainId,
    16
);
bytes_id!(
    /// Public part of a join token or access token.
    TokenId,
    8
);
bytes_id!(
    /// Random id of a user, never reused.
    UserId,
    8
);
bytes_id!(
    /// Random id of an account, never reused.
    AccountId,
    16
);
bytes_id!(
    /// Serial number of a certificate that was issued here, big-endian (RFC 5280 §4.1.2.2).
    SerialNumber,
    16
);
bytes_id!(
    /// Public id of a session key, as contained in tickets and cookies.
    SessionKeyId,
    8
);
bytes_id!(
    /// SHA-256 of a DER object: a certificate, or a public key (SubjectPublicKeyInfo).
    Fingerprint,
    32
);

impl Fingerprint {
    /// Returns the SHA-256 of `der`.
    pub fn of(der: &[u8]) -> Fingerprint {
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_normal_form_or_are_refused() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                DomainName::parse(text).ok().as_ref().map(DomainName::as_str),
                expected,
                "{text:?}"
            );
        };
        check("Shop.Example", Some("shop.example"));
        check("shop.example.", Some("shop.example"));
        check("xn--bcher-kva.example", Some("xn--bcher-kva.example"));
        check("localhost", Some("localhost"));
        check("", None);
        check(".", None);
        check("shop..example", None);
        check("-shop.example", None);
        check("shop example", None);
        check("bad_name.example", Some("bad_name.example"));
        check("*.example", None);
        check("192.0.2.1", None);
        check(&"a".repeat(64), None);
        check(&format!("{}.example", "a.".repeat(130)), None);
    }

    #[test]
    fn a_wildcard_is_a_server_name_but_no_domain_name() {
        assert_eq!(ServerName::parse("*.Example.org").unwrap().as_str(), "*.example.org");
        assert!(ServerName::parse("*").is_err());
        assert!(ServerName::parse("a.*.example").is_err());
    }

    #[test]
    fn an_operation_id_tells_when_it_was_made() {
        let made = UnixMillis(0x0123_4567_89ab);
        let id = OperationId::new(made, [0xff; 10]);
        assert_eq!(id.as_str(), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(
            OperationId::new(made, [0; 10]).as_str(),
            "01234567-89ab-7000-8000-000000000000"
        );
        assert_eq!((id.made_at(), OperationId::parse(id.as_str())), (Some(made), Ok(id.clone())));
        let none = |text: &str| {
            let id = OperationId::parse(text).unwrap();
            assert_eq!(id.made_at(), None, "{text}");
        };
        none("deploy-42");
        none("01234567-89ab-4fff-bfff-ffffffffffff");
        none("01234567-89ab-7fff-cfff-ffffffffffff");
        none("0123456-789ab-7fff-bfff-ffffffffffff");
        none("01234567-89ab-7fff-bfff-fffffffffffg");
        none("01234567-89ab-7fff-bfff-ffffffffffff-");
    }

    #[test]
    fn hex_forms_read_back() {
        let id = TokenId([1, 2, 3, 4, 5, 6, 7, 255]);
        assert_eq!(TokenId::parse(&id.to_string()), Some(id));
        assert_eq!(TokenId::parse("zz"), None);
    }
}
