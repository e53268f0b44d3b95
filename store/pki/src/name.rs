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

/// Returns all common names.
pub(crate) fn common_names(name: &Name) -> Vec<String> {
    let found = name.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    found.map(|attribute| text(&attribute.value).unwrap_or_default()).collect()
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

/// Returns the text of a value. T61String is Latin-1 in practice, and so is what programs write into
/// the other strings of one byte a letter, if it is not UTF-8.
fn text(value: &Any) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String => Some(String::from_utf8_lossy(bytes).into_owned()),
        Tag::PrintableString
        | Tag::NumericString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::GeneralString
        | Tag::TeletexString
        | Tag::VideotexString => {
            let latin1 = || bytes.iter().map(|byte| char::from(*byte)).collect();
            Some(std::str::from_utf8(bytes).map_or_else(|_| latin1(), str::to_owned))
        }
        Tag::BmpString => {
            let units = bytes.as_chunks::<2>().0.iter();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_shown_as_it_was_meant() {
        let check = |tag, bytes: &[u8], expected: &str| {
            let value = Any::new(tag, bytes).unwrap();
            assert_eq!(text(&value).map(|text| escaped(&text)).as_deref(), Some(expected));
        };
        check(Tag::TeletexString, b"M\xfcller", "M\u{fc}ller");
        check(Tag::TeletexString, "M\u{fc}ller".as_bytes(), "M\u{fc}ller");
        check(Tag::TeletexString, b"M\xfc\x9b2Jller", "M\u{fc}\\u{9b}2Jller");
        check(Tag::PrintableString, b"Caf\xe9", "Caf\u{e9}");
        check(Tag::GeneralString, b"Caf\xe9", "Caf\u{e9}");
        check(Tag::NumericString, b"12 3", "12 3");
        check(Tag::VisibleString, b"a\x1b[2J", "a\\u{1b}[2J");
        check(Tag::Utf8String, "\u{6771}\u{4eac}".as_bytes(), "\u{6771}\u{4eac}");
        check(Tag::BmpString, &[0x67, 0x71, 0x4e, 0xac], "\u{6771}\u{4eac}");
        // A pair of surrogates, one that is alone, and half a letter.
        check(Tag::BmpString, &[0xd8, 0x3d, 0xde, 0x00], "\u{1f600}");
        check(Tag::BmpString, &[0xd8, 0x3d, 0, b'a', 0], "\u{fffd}a");
        check(Tag::BmpString, &[0, 0x1b, 0x20, 0x2e], "\\u{1b}\\u{202e}");
    }
}
