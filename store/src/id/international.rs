//! International names: people write U-labels, State and certificates have A-labels (UTS 46).
//!
//! Stored names are ASCII and are never converted when they are read: the tables of Unicode change
//! with the program, and every node must read the same bytes as the same name.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{NameError, cut, malformed};
use crate::limits::NAME_TEXT_BYTES_MAX;

/// Prefix of an A-label (RFC 5890 §2.3.2.1).
const PREFIX: &str = "xn--";
/// The full stops of UTS 46 §4.5.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// ASCII characters that are not possible in names. UTS 46 with `UseSTD3ASCIIRules` would refuse
/// the underscore too, which occurs in practice.
const NOT_IN_NAMES: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// Converts without the rules for hyphens and lengths, which the names have themselves.
fn converted(text: &str) -> Option<Cow<'_, str>> {
    let (ascii, hyphens) = (NOT_IN_NAMES, Hyphens::Allow);
    Uts46::new().to_ascii(text.as_bytes(), ascii, hyphens, DnsLength::Ignore).ok()
}

/// Replaces U-labels by A-labels. Returns names without letters outside ASCII as they are.
pub(super) fn to_ascii<'a>(what: &'static str, text: &'a str) -> Result<Cow<'a, str>, NameError> {
    if text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    if text.len() > NAME_TEXT_BYTES_MAX {
        return Err(NameError::TooLong { what, found: text.len(), max: NAME_TEXT_BYTES_MAX });
    }
    // The label is told as it was written. Converted, it would be a riddle.
    let is_possible = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_".contains(c);
    if let Some(label) = text.split(DOTS).find(|label| !label.chars().all(is_possible)) {
        let why = "only letters, digits, '-' and '_' are possible";
        return Err(NameError::Label { what, name: cut(text), label: cut(label), why });
    }
    converted(text).ok_or_else(|| refused(what, text))
}

/// Checks that every label with the prefix of an A-label is one.
pub(super) fn check(what: &'static str, name: &str) -> Result<(), NameError> {
    match name.split('.').any(is_prefixed) && converted(name).is_none() {
        true => Err(refused(what, name)),
        false => Ok(()),
    }
}

/// Returns the name with U-labels, if it has international labels and is valid.
pub(super) fn to_unicode(name: &str) -> Option<String> {
    if !name.split('.').any(is_prefixed) {
        return None;
    }
    let (ascii, hyphens) = (NOT_IN_NAMES, Hyphens::Allow);
    let (unicode, valid) = Uts46::new().to_unicode(name.as_bytes(), ascii, hyphens);
    (valid.is_ok() && unicode != name).then(|| unicode.into_owned())
}

fn is_prefixed(label: &str) -> bool {
    label.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Explains a refused name by the first label that is wrong by itself.
fn refused(what: &'static str, name: &str) -> NameError {
    let Some(label) = name.split(DOTS).find(|label| converted(label).is_none()) else {
        return malformed(what, name, "its parts mix directions of writing (RFC 5893)");
    };
    let why = match is_prefixed(label) {
        true => "it begins with xn-- and is not the encoding of an international name",
        false => "its letters are not possible in international names (UTS 46)",
    };
    NameError::Label { what, name: cut(name), label: cut(label), why }
}

#[cfg(test)]
mod tests {
    use crate::id::{DomainName, ServerName};

    #[test]
    fn names_are_taken_as_people_write_them_and_kept_as_a_labels() {
        let check = |text: &str, expected: &str, shown: Option<&str>| {
            let name = DomainName::parse(text).unwrap();
            assert_eq!(name.as_str(), expected, "{text:?}");
            assert_eq!(name.unicode().as_deref(), shown, "{text:?}");
            assert_eq!(name.check_international(), Ok(()), "{text:?}");
            // The kept form is its own normal form.
            assert_eq!(DomainName::parse(expected), Ok(name), "{text:?}");
        };
        let bucher = ("xn--bcher-kva.example", Some("bücher.example"));
        for text in ["bücher.example", "BÜCHER.Example.", "bu\u{308}cher.example", bucher.0] {
            check(text, bucher.0, bucher.1);
        }
        check("XN--BCHER-KVA.example", bucher.0, bucher.1);
        check("bücher。example", bucher.0, bucher.1);
        check("straße.example", "xn--strae-oqa.example", Some("straße.example"));
        check("例え.テスト", "xn--r8jz45g.xn--zckzah", Some("例え.テスト"));
        check("हिन्दी.example", "xn--j2bd4cyah0f.example", Some("हिन्दी.example"));
        check("_sip.bücher.example", "_sip.xn--bcher-kva.example", Some("_sip.bücher.example"));
        check("ｓｈｏｐ.example", "shop.example", None);
        check("shop.example", "shop.example", None);
        let wildcard = ServerName::parse("*.BÜCHER.example").unwrap();
        assert_eq!(wildcard.as_str(), "*.xn--bcher-kva.example");
        assert_eq!(wildcard.unicode().as_deref(), Some("*.bücher.example"));
    }

    #[test]
    fn a_bad_label_is_named() {
        let check = |text: &str, label: &str| {
            let error = DomainName::parse(text).and_then(|name| name.check_international());
            let told = error.unwrap_err().to_string();
            assert!(told.contains(&format!("part {label:?} of")), "{text:?}: {told}");
        };
        check("a.bü cher.example", "bü cher");
        check("a.b\u{200b}\u{378}c.example", "b\u{200b}\u{378}c");
        check("a.\u{301}b.example", "\u{301}b");
        check("xn--zzzzzz.example", "xn--zzzzzz");
        check("ü.xn--zzzzzz.example", "xn--zzzzzz");
        check("xn--.example", "xn--");
        check("a.b!.example", "b!");
        check("shop.-b.example", "-b");
        let long = "ü".repeat(60);
        assert!(DomainName::parse(&format!("{long}.example")).is_err());
        assert!(DomainName::parse(&"ü.".repeat(1_000)).is_err());
    }

    #[test]
    fn stored_names_are_read_without_unicode() {
        let stored = |text: &str| DomainName::try_from(text.to_owned());
        assert!(stored("xn--zzzzzz.example").is_ok());
        assert!(stored("bücher.example").is_err());
    }
}
