//! Names of subjects and issuers: display and comparison.

use der::{Any, Encode, Tag, Tagged};
use x509_cert::{
    name::{Name, RelativeDistinguishedName},
    spki::ObjectIdentifier,
};

pub(crate) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
pub(crate) const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
pub(crate) const CITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
pub(crate) const PROVINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
pub(crate) const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
pub(crate) const UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
pub(crate) const EMAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// Returns the number of attributes in the names. A part without attributes counts as one.
pub(crate) fn parts(names: &[&Name]) -> usize {
    let part = |part: &RelativeDistinguishedName| part.len().max(1);
    names.iter().flat_map(|name| name.as_ref().iter()).map(part).sum()
}

/// Returns all attributes, most specific first, as `CN=shop.example, O=ACME, C=US`. Characters that
/// could deceive a terminal are escaped.
pub(crate) fn shown(name: &Name) -> String {
    let mut parts: Vec<String> = name
        .iter()
        .map(|attribute| {
            let text = text(&attribute.value).unwrap_or_else(|| "?".to_owned());
            format!("{}={}", short(&attribute.oid), escaped(&text))
        })
        .collect();
    parts.reverse();
    parts.join(", ")
}

/// Returns the last common name, which is the most specific.
pub(crate) fn common_name(name: &Name) -> Option<String> {
    let found = name.iter().filter(|attribute| attribute.oid == COMMON_NAME).last()?;
    text(&found.value)
}

fn short(oid: &ObjectIdentifier) -> String {
    match *oid {
        COMMON_NAME => "CN".to_owned(),
        COUNTRY => "C".to_owned(),
        CITY => "L".to_owned(),
        PROVINCE => "ST".to_owned(),
        ORGANIZATION => "O".to_owned(),
        UNIT => "OU".to_owned(),
        EMAIL => "emailAddress".to_owned(),
        other => other.to_string(),
    }
}

fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            Some(String::from_utf8_lossy(value.value()).into_owned())
        }
        Tag::BmpString => {
            let units = value.value().as_chunks::<2>().0.iter();
            let units: Vec<u16> = units.map(|pair| u16::from_be_bytes(*pair)).collect();
            Some(String::from_utf16_lossy(&units))
        }
        _ => None,
    }
}

/// Returns whether a character could deceive a reader: controls, line ends, marks of text
/// direction, and invisible characters.
pub fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// Escapes deceptive characters as `\u{…}`, and separators with a backslash as in RFC 4514 §2.4.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ',' | '\\' => shown.extend(['\\', c]),
            c if deceives(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

pub(crate) fn is_email(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_graphic() && !b"@<>(),;:\\\"[]".contains(&b))
    };
    text.rsplit_once('@').is_some_and(|(local, domain)| plain(local) && plain(domain))
}

/// A distinguished name prepared for comparison (RFC 5280 §7.1): attribute by attribute, text
/// without regard to case and repeated spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Comparable {
    parts: Vec<Vec<(ObjectIdentifier, Vec<u8>)>>,
    emails: Vec<String>,
}

impl Comparable {
    pub(crate) fn of(name: &Name) -> Comparable {
        let mut emails = Vec::new();
        let part = |part: &RelativeDistinguishedName| {
            let mut attributes: Vec<_> = part
                .iter()
                .map(|attribute| {
                    let text = text(&attribute.value);
                    if attribute.oid == EMAIL {
                        emails.extend(text.clone());
                    }
                    let folded = text.map(|text| folded(&text).into_bytes());
                    let raw = || attribute.value.to_der().unwrap_or_default();
                    (attribute.oid, folded.unwrap_or_else(raw))
                })
                .collect();
            attributes.sort();
            attributes
        };
        let parts = name.as_ref().iter().map(part).collect();
        Comparable { parts, emails }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the e-mail addresses among the attributes.
    pub(crate) fn emails(&self) -> &[String] {
        &self.emails
    }

    /// Returns roughly how many bytes a comparison reads.
    pub(crate) fn bytes(&self) -> usize {
        let parts = self.parts.iter().flatten();
        parts.map(|(_, text)| text.len() + 8).sum()
    }

    /// Returns whether this name is `base` or below it.
    pub(crate) fn is_within(&self, base: &Comparable) -> bool {
        self.parts.starts_with(&base.parts)
    }
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
