//! Contents of files and of PEM blocks, recognised by their bytes, whatever their names and labels
//! say.

use std::fmt;

use crate::{
    base64,
    element::elements,
    limits::{BARE_BYTES_MIN, CONTENT_PARTS_MAX},
};

/// Kind of a DER value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// X.509 certificate.
    Certificate,
    /// Signing request (PKCS#10).
    Request,
    /// Certificate revocation list.
    RevocationList,
    /// Certificates together (PKCS#7, CMS).
    Pkcs7,
    /// Certificate and private key together (PKCS#12).
    Pkcs12,
    /// Private key of any algorithm (PKCS#8).
    Pkcs8,
    /// The same, encrypted.
    EncryptedPkcs8,
    /// RSA private key (PKCS#1).
    Pkcs1,
    /// EC private key (SEC1).
    Sec1,
    /// DSA private key, as OpenSSL writes it.
    Dsa,
    /// Public key.
    PublicKey,
}

impl Kind {
    /// Returns whether it holds a private key alone.
    pub(crate) fn is_private_key(self) -> bool {
        matches!(self, Kind::Pkcs8 | Kind::EncryptedPkcs8 | Kind::Pkcs1 | Kind::Sec1 | Kind::Dsa)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kind::Certificate => "a certificate",
            Kind::Request => "a signing request",
            Kind::RevocationList => "a revocation list",
            Kind::Pkcs7 => "PKCS#7 (certificates together)",
            Kind::Pkcs12 => "PKCS#12 (certificate and private key together)",
            Kind::PublicKey => "a public key",
            Kind::EncryptedPkcs8 => "an encrypted private key",
            Kind::Pkcs8 | Kind::Pkcs1 | Kind::Sec1 | Kind::Dsa => "a private key",
        })
    }
}

/// A file without any PEM block, by what it is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// DER; none: of an unknown kind.
    Der(Option<Kind>),
    /// Base64 of a DER value, without BEGIN and END.
    Bare(Kind),
    /// Text in UTF-16, as Windows' editors write it.
    Utf16,
    /// Java's own key store.
    JavaKeyStore,
    /// ZIP archive, as authorities send it.
    Zip,
    /// Web page, such as a login form that was saved instead of the file.
    WebPage,
}

impl fmt::Display for Foreign {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::Der(Some(kind @ Kind::Pkcs12)) => kind.fmt(out),
            Foreign::Der(Some(kind)) => write!(out, "{kind} in DER form"),
            Foreign::Der(None) => out.write_str("something in DER form"),
            Foreign::Bare(kind) => write!(out, "{kind} without its BEGIN and END lines"),
            Foreign::Utf16 => out.write_str("text in UTF-16"),
            Foreign::JavaKeyStore => out.write_str("a Java key store"),
            Foreign::Zip => out.write_str("a ZIP archive"),
            Foreign::WebPage => out.write_str("a web page"),
        }
    }
}

impl Foreign {
    /// Returns the command that makes PEM of it, with `INPUT` for the given file.
    pub fn hint(self) -> &'static str {
        match self {
            Foreign::Der(Some(Kind::Certificate) | None) => {
                "openssl x509 -inform DER -in INPUT -out INPUT.pem    then give INPUT.pem"
            }
            Foreign::Der(Some(Kind::Request)) => {
                "openssl req -inform DER -in INPUT -out INPUT.pem    then give INPUT.pem"
            }
            Foreign::Der(Some(Kind::RevocationList)) => {
                "openssl crl -inform DER -in INPUT -out INPUT.pem    then give INPUT.pem"
            }
            Foreign::Der(Some(Kind::Pkcs7)) => {
                "openssl pkcs7 -inform DER -in INPUT -print_certs -out INPUT.pem    then give INPUT.pem"
            }
            Foreign::Der(Some(Kind::Pkcs12)) => {
                "openssl pkcs12 -in INPUT -nodes -out INPUT.pem    then give INPUT.pem"
            }
            Foreign::Der(Some(Kind::PublicKey)) => {
                "give the private key: a public key does not sign"
            }
            Foreign::Der(Some(_)) => {
                "openssl pkey -inform DER -in INPUT -out INPUT.pem    then give INPUT.pem"
            }
            Foreign::Bare(Kind::Certificate) => {
                "put -----BEGIN CERTIFICATE----- above it and -----END CERTIFICATE----- below it"
            }
            Foreign::Bare(Kind::Request) => {
                "put -----BEGIN CERTIFICATE REQUEST----- above it and -----END CERTIFICATE REQUEST----- below it"
            }
            Foreign::Bare(Kind::EncryptedPkcs8) => {
                "put -----BEGIN ENCRYPTED PRIVATE KEY----- above it and -----END ENCRYPTED PRIVATE KEY----- below it"
            }
            Foreign::Bare(kind) if kind.is_private_key() => {
                "put -----BEGIN PRIVATE KEY----- above it and -----END PRIVATE KEY----- below it"
            }
            Foreign::Bare(_) => "base64 -d INPUT > INPUT.der    then give INPUT.der",
            Foreign::Utf16 => "iconv -f UTF-16 -t UTF-8 INPUT > INPUT.pem    then give INPUT.pem",
            Foreign::JavaKeyStore => {
                "keytool -importkeystore -srckeystore INPUT -destkeystore INPUT.p12 -deststoretype PKCS12    then: openssl pkcs12 -in INPUT.p12 -nodes -out INPUT.pem"
            }
            Foreign::Zip => "unzip INPUT    then give a file of it",
            Foreign::WebPage => "get the file again: a page of the site was saved instead of it",
        }
    }
}

/// Returns what a file without PEM blocks is.
pub(crate) fn foreign(input: &[u8]) -> Option<Foreign> {
    if is_utf16(input) {
        return Some(Foreign::Utf16);
    }
    if input.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        return Some(Foreign::JavaKeyStore);
    }
    if input.starts_with(b"PK\x03\x04") {
        return Some(Foreign::Zip);
    }
    // `0` begins a text too. The length of a DER value of more than 127 bytes is no ASCII.
    let is_long = input.get(1).is_some_and(|length| *length >= 0x80);
    if input.starts_with(&[0x30]) && (is_long || kind(input).is_some()) {
        return Some(Foreign::Der(kind(input)));
    }
    let text = std::str::from_utf8(input).unwrap_or_default().trim_start_matches('\u{feff}').trim();
    let beginning = text.get(..15).unwrap_or_default().to_ascii_lowercase();
    if beginning.starts_with("<!doctype html") || beginning.starts_with("<html") {
        return Some(Foreign::WebPage);
    }
    let is_base64 = |byte: u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=".contains(&byte)
    };
    if text.len() >= BARE_BYTES_MIN && text.starts_with('M') && text.bytes().all(is_base64) {
        return base64::decode(text).and_then(|der| kind(&der)).map(Foreign::Bare);
    }
    None
}

/// Returns whether a text is UTF-16, with or without its mark. Where a program has taken it for
/// UTF-8, the mark is lost and the zeros are still there.
pub(crate) fn is_utf16(input: &[u8]) -> bool {
    const BEGIN: &[u8] = b"B\0E\0G\0I\0N\0";
    input.starts_with(&[0xff, 0xfe])
        || input.starts_with(&[0xfe, 0xff])
        || input.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// Returns the kind of a DER value by the tags at its beginning. The value may be cut.
pub(crate) fn kind(der: &[u8]) -> Option<Kind> {
    const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
    let (0x30, body) = elements(der, 1).first().copied()? else { return None };
    let parts = elements(body, CONTENT_PARTS_MAX);
    let tags: Vec<u8> = parts.iter().map(|(tag, _)| *tag).collect();
    let contents: Vec<&[u8]> = parts.iter().map(|(_, content)| *content).collect();
    match (tags.as_slice(), contents.as_slice()) {
        ([0x02, 0x30, 0x04, ..], [[0 | 1], [0x06, ..], ..]) => Some(Kind::Pkcs8),
        // A version, then PKCS#7 (RFC 7292 §4).
        ([0x02, 0x30, ..], [[3], [0x06, _, rest @ ..], ..]) if rest.starts_with(PKCS7) => {
            Some(Kind::Pkcs12)
        }
        ([0x02, 0x04, ..], [[1], ..]) => Some(Kind::Sec1),
        ([0x02, 0x02], _) => Some(Kind::PublicKey),
        ([0x02, 0x02, 0x02, 0x02, 0x02, 0x02], _) => Some(Kind::Dsa),
        ([0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, ..], _) => Some(Kind::Pkcs1),
        ([0x06, ..], [id, ..]) if id.starts_with(PKCS7) => Some(Kind::Pkcs7),
        ([0x30, 0x04], [[0x06, ..], ..]) => Some(Kind::EncryptedPkcs8),
        ([0x30, 0x03], [[0x06, ..], ..]) => Some(Kind::PublicKey),
        ([0x30, ..], [signed, ..]) => signed_kind(signed),
        _ => None,
    }
}

/// Returns the kind of a signed value by the tags of its signed part.
fn signed_kind(signed: &[u8]) -> Option<Kind> {
    let parts = elements(signed, CONTENT_PARTS_MAX);
    let tags: Vec<u8> = parts.iter().map(|(tag, _)| *tag).collect();
    match tags.as_slice() {
        [0xa0, 0x02, ..] => Some(Kind::Certificate),
        [0x02, 0x30, 0x30, 0x30, ..] => Some(Kind::Certificate),
        [0x02, 0x30, 0x30] | [0x02, 0x30, 0x30, 0xa0, ..] => Some(Kind::Request),
        [0x02, 0x30, 0x30, 0x17 | 0x18, ..] | [0x30, 0x30, 0x17 | 0x18, ..] => {
            Some(Kind::RevocationList)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
