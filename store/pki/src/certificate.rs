//! Certificates: reading, display, comparison.

mod identifier;

use std::net::IpAddr;

use der::{Decode, Encode};
use x509_cert::{
    ext::pkix::{AuthorityInfoAccessSyntax, BasicConstraints, SubjectAltName, name::GeneralName},
    spki::ObjectIdentifier,
};

pub(crate) use identifier::usage_to_receive;

use crate::{
    content::{self, Foreign, Kind},
    element::{elements, sizes},
    key::{KeyAlgorithm, PrivateKey, public_key_algorithm},
    limits::{
        CERTIFICATE_BYTES_MAX, CERTIFICATES_MAX, CONTENT_PARTS_MAX, EXTENSIONS_MAX,
        INPUT_NAME_PARTS_MAX, NAME_PARTS_MAX,
    },
    name::{self, Comparable},
    pem::{self, Block, PemError},
};

/// id-on-SmtpUTF8Mailbox (RFC 9598 §3).
const SMTP_UTF8: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.9");
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// Reason why an input has no usable certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The input has no PEM block.
    #[error("the input holds no certificate")]
    NoCertificate,
    /// The input is larger than any chain.
    #[error("the input has {bytes} bytes, certificates at most 1 MiB")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
    },
    /// The input has more certificates than any chain.
    #[error("the input holds {count} certificates, at most {max} are possible")]
    TooMany {
        /// Number found.
        count: usize,
        /// Number allowed.
        max: usize,
    },
    /// A block is not a certificate.
    #[error("expected a certificate, found {found}")]
    NotACertificate {
        /// Description of the block.
        found: String,
        /// Line of the block.
        line: usize,
    },
    /// A block is not a revocation list.
    #[error("expected a revocation list, found {found}")]
    NotARevocationList {
        /// Description of the block.
        found: String,
        /// Line of the block.
        line: usize,
    },
    /// OpenSSL's trust settings behind the certificate say that it is not trusted.
    #[error("the certificate is marked as one not to be trusted")]
    Distrusted {
        /// Line of the block.
        line: usize,
    },
    /// A block is not a signing request.
    #[error("expected a signing request, found {found}")]
    NotARequest {
        /// Description of the block.
        found: String,
        /// Line of the block.
        line: usize,
    },
    /// The certificate is truncated or damaged.
    #[error("the certificate is damaged: {why}")]
    Damaged {
        /// Description of the damage.
        why: String,
        /// First line of the block.
        line: usize,
    },
    /// A BEGIN or END line is not whole, or has no other one.
    #[error("a BEGIN or END line is damaged, or its other one is missing")]
    Frame {
        /// Line in the input.
        line: usize,
        /// The line, if it has nothing but words of frames.
        text: Option<String>,
    },
    /// The input is of another form than PEM.
    #[error("expected PEM, found {0}")]
    Foreign(Foreign),
}

impl CertificateError {
    /// Returns the stable error code.
    pub fn code(&self) -> &'static str {
        match self {
            CertificateError::NoCertificate
            | CertificateError::TooLarge { .. }
            | CertificateError::TooMany { .. }
            | CertificateError::Foreign(_) => "C001",
            CertificateError::Damaged { .. } | CertificateError::Frame { .. } => "C002",
            CertificateError::NotACertificate { .. }
            | CertificateError::NotARevocationList { .. }
            | CertificateError::NotARequest { .. }
            | CertificateError::Distrusted { .. } => "C007",
        }
    }

    /// Returns the line in the input, from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            CertificateError::NotACertificate { line, .. }
            | CertificateError::NotARequest { line, .. }
            | CertificateError::NotARevocationList { line, .. }
            | CertificateError::Distrusted { line }
            | CertificateError::Frame { line, .. }
            | CertificateError::Damaged { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// Returns the text of that line, if it cannot be part of a key.
    pub fn text(&self) -> Option<&str> {
        match self {
            CertificateError::Frame { text, .. } => text.as_deref(),
            _ => None,
        }
    }

    /// Returns advice for the user, with `INPUT` for the given file.
    pub fn hint(&self) -> &'static str {
        match self {
            CertificateError::Foreign(found) => found.hint(),
            CertificateError::Damaged { .. } => "copy the file again, whole",
            CertificateError::Frame { .. } => {
                "each block begins with -----BEGIN NAME----- and ends with -----END NAME-----, five dashes on both sides"
            }
            CertificateError::TooMany { max: CERTIFICATES_MAX, .. } => {
                "give the file in parts    the roots of public authorities are built in: conclave trust list --scope builtin"
            }
            CertificateError::Distrusted { .. } => {
                "if you trust it: openssl x509 -in INPUT -clrreject -out INPUT.pem    then give INPUT.pem"
            }
            CertificateError::NotACertificate { found, .. } if found.starts_with("PKCS#7") => {
                "openssl pkcs7 -in INPUT -print_certs -out INPUT.pem    then give INPUT.pem"
            }
            CertificateError::NotACertificate { found, .. } if found.ends_with("private key") => {
                "did you swap the certificate and --key?"
            }
            CertificateError::NotARevocationList { .. } => {
                "give the file that begins with -----BEGIN X509 CRL-----"
            }
            CertificateError::NotARequest { .. } => {
                "give the file that begins with -----BEGIN CERTIFICATE REQUEST-----"
            }
            _ => "give the file that begins with -----BEGIN CERTIFICATE-----",
        }
    }
}

/// A certificate, parsed once.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    pub(crate) parsed: x509_cert::Certificate,
    public_key: Vec<u8>,
    /// OpenSSL's own settings stood behind it.
    dropped_trust: bool,
}

/// Reads all certificates of a PEM input, at least one. Refuses a private key among them, so that
/// it is never stored as public data.
pub fn read_certificates(input: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    read_many(input, CERTIFICATES_MAX)
}

/// Reads at most `max` certificates, at least one, of an input that is not a chain, such as a file
/// of trusted certificates.
pub fn read_many(input: &[u8], max: usize) -> Result<Vec<Certificate>, CertificateError> {
    read_blocks(&pem::blocks(input).map_err(|error| pem_error(&error))?, max)
}

/// Reads the certificates of a file that may also contain their private key.
pub fn read_bundle(input: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    read_bundle_of(input, CERTIFICATES_MAX)
}

/// Reads at most `max` certificates of a file that may also contain a private key.
pub fn read_bundle_of(input: &[u8], max: usize) -> Result<Vec<Certificate>, CertificateError> {
    let mut blocks = pem::blocks(input).map_err(|error| pem_error(&error))?;
    let is_of_key = |block: &Block| {
        block.label.ends_with("PRIVATE KEY") || block.label.ends_with(" PARAMETERS")
    };
    // A file with only a key is a mistake with an error of its own.
    if !blocks.iter().all(is_of_key) {
        blocks.retain(|block| !is_of_key(block));
    }
    read_blocks(&blocks, max)
}

fn read_blocks(blocks: &[Block], max: usize) -> Result<Vec<Certificate>, CertificateError> {
    if blocks.len() > max {
        return Err(CertificateError::TooMany { count: blocks.len(), max });
    }
    let mut parts = 0;
    let mut read = |block: &Block| {
        let one = read_block(block)?;
        parts += one.name_parts();
        if parts > INPUT_NAME_PARTS_MAX {
            let why = "the names up to here have more parts than those of any honest input";
            return Err(CertificateError::Damaged { why: why.to_owned(), line: block.line });
        }
        Ok(one)
    };
    blocks.iter().map(&mut read).collect()
}

pub(crate) fn read_block(block: &Block) -> Result<Certificate, CertificateError> {
    let line = block.line;
    let at_line = |error| match error {
        CertificateError::Damaged { why, .. } => CertificateError::Damaged { why, line },
        other => other,
    };
    let not = |found: String| CertificateError::NotACertificate { found, line };
    match block.label {
        "CERTIFICATE" | "X509 CERTIFICATE" => match content::kind(&block.der) {
            Some(kind) if kind != Kind::Certificate => Err(not(kind.to_string())),
            _ => Certificate::from_der(&block.der).map_err(at_line),
        },
        "TRUSTED CERTIFICATE" => trusted(&block.der, line).map_err(at_line),
        other => Err(not(crate::key::article(other))),
    }
}

/// Reads a certificate with OpenSSL's trust settings behind it (X509_CERT_AUX). What it is trusted
/// for is dropped; who reads it decides that. What it is not trusted for is a refusal.
fn trusted(der: &[u8], line: usize) -> Result<Certificate, CertificateError> {
    const REJECTED: u8 = 0xa0;
    let bytes = sizes(der).and_then(|(header, content)| header.checked_add(content));
    let (certificate, settings) =
        bytes.and_then(|bytes| der.split_at_checked(bytes)).unwrap_or((der, &[]));
    let mut read = Certificate::from_der(certificate)?;
    for (_, content) in elements(settings, 1) {
        let parts = elements(content, CONTENT_PARTS_MAX);
        if parts.iter().any(|(tag, rejected)| *tag == REJECTED && !rejected.is_empty()) {
            return Err(CertificateError::Distrusted { line });
        }
        read.dropped_trust = !parts.is_empty();
    }
    Ok(read)
}

pub(crate) fn pem_error(error: &PemError) -> CertificateError {
    let key = |line| CertificateError::NotACertificate { found: "a private key".to_owned(), line };
    match error {
        PemError::TooLarge { bytes } => CertificateError::TooLarge { bytes: *bytes },
        PemError::Foreign(found) => CertificateError::Foreign(*found),
        PemError::None => CertificateError::NoCertificate,
        PemError::Encrypted { line } => key(*line),
        PemError::Frame { line, text } => {
            CertificateError::Frame { line: *line, text: text.clone() }
        }
        PemError::Cut { line, label } | PemError::Damaged { line, label }
            if label.ends_with("PRIVATE KEY") =>
        {
            key(*line)
        }
        PemError::Cut { line, .. } => CertificateError::Damaged {
            why: "the end of the block is missing".to_owned(),
            line: *line,
        },
        PemError::Damaged { line, .. } => {
            CertificateError::Damaged { why: "it is not base64".to_owned(), line: *line }
        }
    }
}

impl Certificate {
    /// Parses one certificate. Trailing bytes are refused.
    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        let damaged = |why: &str| CertificateError::Damaged { why: why.to_owned(), line: 1 };
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(damaged("it is larger than 64 KiB"));
        }
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|_| damaged("it is not a certificate as RFC 5280 defines it"))?;
        let tbs = parsed.tbs_certificate();
        if name::parts(&[tbs.subject(), tbs.issuer()]) > NAME_PARTS_MAX {
            return Err(damaged("its names have more than 128 parts"));
        }
        if tbs.extensions().is_some_and(|all| all.len() > EXTENSIONS_MAX) {
            return Err(damaged("it has more than 128 extensions"));
        }
        let public_key = parsed
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()
            .map_err(|_| damaged("its public key cannot be read"))?;
        Ok(Certificate { der: der.to_vec(), parsed, public_key, dropped_trust: false })
    }

    /// Returns whether OpenSSL's trust settings stood behind it and were dropped.
    pub fn dropped_trust(&self) -> bool {
        self.dropped_trust
    }

    /// Returns the number of attributes in its names.
    fn name_parts(&self) -> usize {
        let tbs = self.parsed.tbs_certificate();
        name::parts(&[tbs.subject(), tbs.issuer()])
    }

    /// Returns the certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the parsed certificate.
    pub(crate) fn parsed(&self) -> &x509_cert::Certificate {
        &self.parsed
    }

    /// Returns the signed part (TBSCertificate), byte for byte.
    pub(crate) fn signed_bytes(&self) -> Option<&[u8]> {
        crate::element::first_element(&self.der)
    }

    /// Returns the certificate, PEM.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// Returns all attributes of the subject.
    pub fn subject(&self) -> String {
        name::shown(self.parsed.tbs_certificate().subject())
    }

    /// Returns the subject, or the names of a certificate that has only those.
    pub fn subject_or_names(&self) -> String {
        let subject = self.subject();
        if subject.is_empty() { self.names().join(", ") } else { subject }
    }

    /// Returns all attributes of the issuer.
    pub fn issuer(&self) -> String {
        name::shown(self.parsed.tbs_certificate().issuer())
    }

    /// Returns the common name, if any; characters that could deceive a terminal are escaped.
    pub fn common_name(&self) -> Option<String> {
        name::common_name(self.parsed.tbs_certificate().subject()).map(|text| name::escaped(&text))
    }

    /// Returns the e-mail addresses of the subject alternative names, otherwise of the subject;
    /// escaped as above.
    pub fn emails(&self) -> Vec<String> {
        let found = self.parsed.tbs_certificate().get_extension::<SubjectAltName>();
        let names = found.ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
        let emails: Vec<_> = names.iter().filter_map(email).collect();
        let subject = Comparable::of(self.parsed.tbs_certificate().subject());
        let in_subject = || subject.emails().iter().map(|text| name::escaped(text)).collect();
        if emails.is_empty() { in_subject() } else { emails }
    }

    /// Returns the subject, DER.
    pub fn subject_der(&self) -> Option<Vec<u8>> {
        self.parsed.tbs_certificate().subject().to_der().ok()
    }

    /// Returns the issuer's name, for comparison.
    pub(crate) fn issuer_name(&self) -> Comparable {
        Comparable::of(self.parsed.tbs_certificate().issuer())
    }

    /// Returns the issuer, DER.
    pub fn issuer_der(&self) -> Option<Vec<u8>> {
        self.parsed.tbs_certificate().issuer().to_der().ok()
    }

    /// Returns the serial number in hex, with a colon between bytes.
    pub fn serial(&self) -> String {
        let bytes = self.parsed.tbs_certificate().serial_number().as_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
    }

    /// Returns the first second of validity, since 1970.
    pub fn not_before(&self) -> u64 {
        self.parsed.tbs_certificate().validity().not_before.to_unix_duration().as_secs()
    }

    /// Returns the last second of validity, since 1970.
    pub fn not_after(&self) -> u64 {
        self.parsed.tbs_certificate().validity().not_after.to_unix_duration().as_secs()
    }

    /// Returns the URL of its issuer's certificate (RFC 5280 §4.2.2.1). It is never fetched here.
    pub fn issuer_url(&self) -> Option<String> {
        let found = self.parsed.tbs_certificate().get_extension::<AuthorityInfoAccessSyntax>();
        let (_, access) = found.ok()??;
        let issuers = access.0.iter().filter(|one| one.access_method == CA_ISSUERS);
        issuers.filter_map(|one| shown(&one.access_location)).next()
    }

    /// Returns the certified public key (SubjectPublicKeyInfo, DER).
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    /// Returns algorithm and size of that key; `None` if this library does not support it.
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        public_key_algorithm(&self.public_key)
    }

    /// Returns whether it certifies this key.
    pub fn matches(&self, key: &PrivateKey) -> bool {
        self.public_key == key.public_key_der()
    }

    /// Returns whether it may issue certificates (RFC 5280 §4.2.1.9).
    pub fn is_authority(&self) -> bool {
        let found = self.parsed.tbs_certificate().get_extension::<BasicConstraints>();
        found.is_ok_and(|found| found.is_some_and(|(_, constraints)| constraints.ca))
    }

    /// Returns the subject alternative names as text: DNS names, addresses, e-mail addresses, URIs.
    pub fn names(&self) -> Vec<String> {
        let found = self.parsed.tbs_certificate().get_extension::<SubjectAltName>();
        let Ok(Some((_, names))) = found else { return Vec::new() };
        names.0.iter().filter_map(shown).collect()
    }

    /// Returns the names by which a client is known, in lower case: e-mail addresses, which have an
    /// `@`, URIs, which have a colon, and DNS names, which have neither. A name without the form of
    /// its kind is left out, so that it cannot pass for one of another kind.
    pub fn client_names(&self) -> Vec<String> {
        let found = self.parsed.tbs_certificate().get_extension::<SubjectAltName>();
        let Ok(Some((_, names))) = found else { return Vec::new() };
        let has_form = |name: &GeneralName, text: &str| match name {
            GeneralName::DnsName(_) => !text.contains(['@', ':']),
            GeneralName::UniformResourceIdentifier(_) => text.contains(':'),
            _ => email(name).is_some() && text.contains('@') && !text.contains(':'),
        };
        let all = names.0.iter().filter_map(|name| Some((name, shown(name)?.to_ascii_lowercase())));
        all.filter(|(name, text)| has_form(name, text)).map(|(_, text)| text).collect()
    }

    /// Returns the IP addresses among the subject alternative names.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let found = self.parsed.tbs_certificate().get_extension::<SubjectAltName>();
        let names = found.ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
        names.into_iter().filter_map(|name| address(&name))
    }

    /// Returns whether a client that asks for `name` accepts it: one of the DNS names matches, or a
    /// wildcard covers its first label (RFC 6125 §6.4.3). A common name alone is never accepted.
    /// An address is compared by its value, and no wildcard covers one.
    pub fn covers(&self, name: &str) -> bool {
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.addresses().any(|found| found.to_canonical() == address.to_canonical());
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.names().iter().map(|found| found.to_ascii_lowercase()).any(|found| {
            found == name || wildcard.as_ref().is_some_and(|wildcard| found == *wildcard)
        })
    }
}

pub(crate) fn shown(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name::escaped(name.as_str())),
        GeneralName::Rfc822Name(name) => Some(name::escaped(name.as_str())),
        GeneralName::UniformResourceIdentifier(name) => Some(name::escaped(name.as_str())),
        GeneralName::IpAddress(_) => address(name).map(|address| address.to_string()),
        GeneralName::OtherName(_) => email(name),
        _ => None,
    }
}

fn address(name: &GeneralName) -> Option<IpAddr> {
    let GeneralName::IpAddress(bytes) = name else { return None };
    ip(bytes.as_bytes())
}

/// Reads an address as a certificate has it (RFC 5280 §4.2.1.6).
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}

/// Returns an e-mail address, of either form (RFC 5280 §4.2.1.6, RFC 9598 §3).
fn email(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(name) => Some(name::escaped(name.as_str())),
        GeneralName::OtherName(other) if other.type_id == SMTP_UTF8 => {
            Some(name::escaped(&other.value.decode_as::<String>().ok()?))
        }
        _ => None,
    }
}
