//! Issuing of certificates.

mod account;
mod revocations;
mod subject;

use der::{
    Any, Decode, Encode, Sequence,
    asn1::{BitString, GeneralizedTime, OctetString, Uint, UtcTime},
    flagset::FlagSet,
    oid::AssociatedOid,
};
use std::time::Duration;
use x509_cert::{
    ext::{
        Extension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
            SubjectAltName, SubjectKeyIdentifier, name::GeneralName,
        },
    },
    spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoRef},
    time::{Time, Validity as DerValidity},
};

pub use account::{Account, Purpose, check_crl_url, check_issuer, smime_authority};
pub use revocations::{RevocationReason, Revoked, revocation_list};
pub(crate) use subject::{from_attributes, is_empty};

use crate::{
    certificate::Certificate,
    key::{KeyError, PrivateKey, public_key_algorithm, signature_algorithm},
    name::is_email,
};

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// Reason why a certificate cannot be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A field of the subject is invalid.
    #[error("the {field} is not possible: {why}")]
    Attribute {
        /// The field.
        field: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// A name is invalid.
    #[error("{name:?} cannot stand in a certificate")]
    Name {
        /// The name.
        name: String,
    },
    /// The key cannot sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The issuer's certificate does not allow it.
    #[error("the certificate of {issuer} cannot issue this: {why}")]
    Issuer {
        /// Subject of the certificate.
        issuer: String,
        /// The reason.
        why: &'static str,
    },
    /// The key is not for this purpose.
    #[error("a key of type {key} cannot be certified to {purpose}")]
    Purpose {
        /// Type of the key.
        key: String,
        /// The purpose, as a verb.
        purpose: &'static str,
    },
    /// Nothing is left of the validity inside that of the issuer.
    #[error(
        "the validity does not overlap with that of the issuer, which ends at {not_after} (seconds since 1970)"
    )]
    Validity {
        /// Last second of the issuer's certificate.
        not_after: u64,
    },
    /// Any other error, always a bug.
    #[error("the certificate cannot be encoded")]
    Encode,
}

impl From<der::Error> for IssueError {
    fn from(_: der::Error) -> IssueError {
        IssueError::Encode
    }
}

/// Subject of a certificate. Empty fields are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Common name. It may be empty: then the alternative names alone say whom the certificate is
    /// for.
    pub common_name: String,
    /// Country, two letters.
    pub country: Option<String>,
    /// Province or state.
    pub province: Option<String>,
    /// City.
    pub city: Option<String>,
    /// Organization.
    pub organization: Option<String>,
    /// Unit.
    pub unit: Option<String>,
    /// E-mail address of a contact.
    pub contact: Option<String>,
}

/// Validity of a certificate, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: u64,
    /// Last second.
    pub not_after: u64,
}

/// Kind of certificate to issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    Authority,
    Server,
    Node,
}

/// The issuer of a certificate: its key, and its own certificate unless it signs itself.
struct Issuer<'a> {
    key: &'a PrivateKey,
    certificate: Option<&'a Certificate>,
}

/// Issues a certificate of `key` for servers, signed by `key` itself.
pub fn self_sign(
    key: &PrivateKey,
    attributes: &Attributes,
    names: &[String],
    serial: [u8; 16],
    validity: Validity,
) -> Result<Certificate, IssueError> {
    let issuer = Issuer { key, certificate: None };
    make(&issuer, key.public_key_der(), attributes, names, serial, validity, Usage::Server)
}

/// Issues the certificate of a new authority.
pub fn authority(
    key: &PrivateKey,
    common_name: &str,
    serial: [u8; 16],
    validity: Validity,
) -> Result<Certificate, IssueError> {
    let issuer = Issuer { key, certificate: None };
    let attributes = Attributes { common_name: common_name.to_owned(), ..Attributes::default() };
    make(&issuer, key.public_key_der(), &attributes, &[], serial, validity, Usage::Authority)
}

/// Issues a certificate for a server, signed by an authority. The first name becomes the common
/// name too.
pub fn server(
    authority_key: &PrivateKey,
    authority: &Certificate,
    public_key_der: &[u8],
    names: &[String],
    serial: [u8; 16],
    validity: Validity,
) -> Result<Certificate, IssueError> {
    let issuer = Issuer { key: authority_key, certificate: Some(authority) };
    let common_name = names.first().cloned().unwrap_or_default();
    let attributes = Attributes { common_name, ..Attributes::default() };
    make(&issuer, public_key_der, &attributes, names, serial, validity, Usage::Server)
}

/// Issues a certificate of another authority's name and key, so that who trusts this one trusts the
/// other (RFC 4949, cross-certificate).
pub fn cross(
    authority_key: &PrivateKey,
    authority: &Certificate,
    other: &Certificate,
    mut serial: [u8; 16],
    validity: Validity,
) -> Result<Certificate, IssueError> {
    positive(&mut serial);
    let issuer = Issuer { key: authority_key, certificate: Some(authority) };
    let subject = other.subject_der().ok_or(IssueError::Encode)?;
    let issuer_name = authority.subject_der().ok_or(IssueError::Encode)?;
    let to_be_signed = ToBeSigned {
        version: 2,
        serial: Uint::new(&serial)?,
        signature: signature_algorithm(authority_key.algorithm())?,
        issuer: Any::from_der(&issuer_name)?,
        validity: DerValidity::new(time(validity.not_before)?, time(validity.not_after)?),
        subject: Any::from_der(&subject)?,
        public_key: Any::from_der(other.public_key_der())?,
        extensions: extensions(&issuer, other.public_key_der(), &[], Usage::Authority)?,
    };
    sign(authority_key, &to_be_signed.to_der()?)
}

/// Issues a certificate for a node, which is both server and client of its peers.
pub fn node(
    authority_key: &PrivateKey,
    authority: &Certificate,
    public_key_der: &[u8],
    name: &str,
    serial: [u8; 16],
    validity: Validity,
) -> Result<Certificate, IssueError> {
    let issuer = Issuer { key: authority_key, certificate: Some(authority) };
    let attributes = Attributes { common_name: name.to_owned(), ..Attributes::default() };
    make(&issuer, public_key_der, &attributes, &[name.to_owned()], serial, validity, Usage::Node)
}

/// TBSCertificate, version 3 (RFC 5280 §4.1). The issuer's name is copied byte for byte.
#[derive(Sequence)]
struct ToBeSigned {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: Uint,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    validity: DerValidity,
    subject: Any,
    public_key: Any,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Signed {
    to_be_signed: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

fn make(
    issuer: &Issuer<'_>,
    public_key_der: &[u8],
    attributes: &Attributes,
    names: &[String],
    serial: [u8; 16],
    validity: Validity,
    usage: Usage,
) -> Result<Certificate, IssueError> {
    let extensions = extensions(issuer, public_key_der, names, usage)?;
    let subject = from_attributes(attributes)?;
    assemble(issuer, &subject, public_key_der, serial, validity, extensions)
}

/// Signs a certificate of these parts.
fn assemble(
    issuer: &Issuer<'_>,
    subject: &[u8],
    public_key_der: &[u8],
    mut serial: [u8; 16],
    validity: Validity,
    extensions: Vec<Extension>,
) -> Result<Certificate, IssueError> {
    positive(&mut serial);
    let issuer_name = match issuer.certificate {
        Some(certificate) => certificate.subject_der().ok_or(IssueError::Encode)?,
        // RFC 5280 §4.1.2.4: an issuer has a name, and this certificate is its own issuer.
        None if is_empty(subject) => {
            let why = "a self-signed certificate needs one, or another field of the subject";
            return Err(IssueError::Attribute { field: "common name", why });
        }
        None => subject.to_vec(),
    };
    let to_be_signed = ToBeSigned {
        version: 2,
        serial: Uint::new(&serial)?,
        signature: signature_algorithm(issuer.key.algorithm())?,
        issuer: Any::from_der(&issuer_name)?,
        validity: DerValidity::new(time(validity.not_before)?, time(validity.not_after)?),
        subject: Any::from_der(subject)?,
        public_key: Any::from_der(public_key_der)?,
        extensions,
    }
    .to_der()?;
    sign(issuer.key, &to_be_signed)
}

/// Makes a serial number positive (RFC 5280 §4.1.2.2). The first byte is not zero, so that the
/// length is fixed.
fn positive(serial: &mut [u8; 16]) {
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
}

fn sign(key: &PrivateKey, to_be_signed: &[u8]) -> Result<Certificate, IssueError> {
    let der = signed(key, to_be_signed)?;
    Certificate::from_der(&der).map_err(|_| IssueError::Encode)
}

/// Returns a certificate or revocation list, DER: what is signed, the algorithm and the signature.
fn signed(key: &PrivateKey, to_be_signed: &[u8]) -> Result<Vec<u8>, IssueError> {
    let signature = key.sign(to_be_signed)?;
    let signed = Signed {
        to_be_signed: Any::from_der(to_be_signed)?,
        algorithm: signature_algorithm(key.algorithm())?,
        signature: BitString::from_bytes(&signature)?,
    };
    Ok(signed.to_der()?)
}

/// Issues the same self-signed certificate with another validity. Keeps serial number, subject and
/// extensions.
pub fn refresh(
    key: &PrivateKey,
    certificate: &Certificate,
    validity: Validity,
) -> Result<Certificate, IssueError> {
    let old = certificate.parsed().tbs_certificate();
    let subject = Any::from_der(&old.subject().to_der()?)?;
    let to_be_signed = ToBeSigned {
        version: 2,
        serial: Uint::new(old.serial_number().as_bytes())?,
        signature: signature_algorithm(key.algorithm())?,
        issuer: subject.clone(),
        validity: DerValidity::new(time(validity.not_before)?, time(validity.not_after)?),
        subject,
        public_key: Any::from_der(key.public_key_der())?,
        extensions: old.extensions().cloned().unwrap_or_default(),
    };
    sign(key, &to_be_signed.to_der()?)
}

/// Returns a time as RFC 5280 §4.1.2.5 encodes it: UTCTime through 2049, GeneralizedTime from 2050.
fn time(seconds: u64) -> Result<Time, IssueError> {
    let since_epoch = Duration::from_secs(seconds);
    match UtcTime::from_unix_duration(since_epoch) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => Ok(Time::GeneralTime(GeneralizedTime::from_unix_duration(since_epoch)?)),
    }
}

fn extensions(
    issuer: &Issuer<'_>,
    public_key_der: &[u8],
    names: &[String],
    usage: Usage,
) -> Result<Vec<Extension>, IssueError> {
    if let Some(algorithm) = public_key_algorithm(public_key_der) {
        algorithm.check_signs()?;
    }
    let is_authority = usage == Usage::Authority;
    let key_usage: FlagSet<KeyUsages> = if is_authority {
        KeyUsages::KeyCertSign | KeyUsages::CRLSign
    } else if public_key_der.len() > 200 {
        // Only RSA keys are this long, and only they encipher keys: in the RSA key exchange of TLS
        // 1.2.
        KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment
    } else {
        KeyUsages::DigitalSignature.into()
    };
    let constraints = BasicConstraints { ca: is_authority, path_len_constraint: None };
    let mut all = vec![
        extension(true, &constraints)?,
        extension(true, &KeyUsage(key_usage))?,
        extension(false, &SubjectKeyIdentifier(key_identifier(public_key_der)?))?,
    ];
    if let Some(authority) = issuer.certificate {
        all.push(authority_identifier(authority)?);
    }
    match usage {
        Usage::Authority => {}
        Usage::Server => all.push(extension(false, &ExtendedKeyUsage(vec![SERVER_AUTH]))?),
        Usage::Node => {
            all.push(extension(false, &ExtendedKeyUsage(vec![SERVER_AUTH, CLIENT_AUTH]))?);
        }
    }
    if !names.is_empty() {
        let names = names.iter().map(|name| general_name(name)).collect::<Result<_, _>>()?;
        all.push(extension(false, &SubjectAltName(names))?);
    }
    Ok(all)
}

pub(crate) fn extension<T: Encode + AssociatedOid>(
    is_critical: bool,
    value: &T,
) -> Result<Extension, IssueError> {
    let extn_value = OctetString::new(value.to_der()?)?;
    Ok(Extension { extn_id: T::OID, critical: is_critical, extn_value })
}

/// Returns whether a certificate can be issued for this DNS name, IP address or e-mail address.
pub fn is_name(name: &str) -> bool {
    general_name(name).is_ok()
}

/// Parses a subject alternative name: an IP address, an e-mail address, or a DNS name.
pub(crate) fn general_name(name: &str) -> Result<GeneralName, IssueError> {
    let invalid = || IssueError::Name { name: name.chars().take(80).collect() };
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return Ok(GeneralName::from(address));
    }
    let text = der::asn1::Ia5String::new(name).map_err(|_| invalid())?;
    if name.contains('@') {
        return if is_email(name) { Ok(GeneralName::Rfc822Name(text)) } else { Err(invalid()) };
    }
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if rest.split('.').all(is_label) { Ok(GeneralName::DnsName(text)) } else { Err(invalid()) }
}

/// Returns the identifier of the issuer's key: the one of its own certificate, which another program
/// may have computed in another way (RFC 5280 §4.2.1.1).
fn authority_identifier(authority: &Certificate) -> Result<Extension, IssueError> {
    let identifier = match authority.key_identifier() {
        Some(own) => OctetString::new(own)?,
        None => key_identifier(authority.public_key_der())?,
    };
    let key_identifier = Some(identifier);
    extension(false, &AuthorityKeyIdentifier { key_identifier, ..Default::default() })
}

/// Returns the identifier of RFC 5280 §4.2.1.2, method 1, with SHA-256 cut to 160 bits (RFC 7093
/// §2).
fn key_identifier(public_key_der: &[u8]) -> Result<OctetString, IssueError> {
    let spki = SubjectPublicKeyInfoRef::from_der(public_key_der)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, spki.subject_public_key.raw_bytes());
    Ok(OctetString::new(digest.as_ref().get(..20).unwrap_or_default())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificate::read_certificates, key::KeyAlgorithm};

    fn chance() -> impl FnMut(&mut [u8]) {
        use ring::rand::{SecureRandom, SystemRandom};
        |bytes: &mut [u8]| SystemRandom::new().fill(bytes).unwrap()
    }

    const VALIDITY: Validity = Validity { not_before: 1_700_000_000, not_after: 2_600_000_000 };

    fn has_openssl() -> bool {
        let found = std::process::Command::new("openssl").arg("version").output().is_ok();
        assert!(found || std::env::var_os("CONCLAVE_TEST_ALL").is_none());
        if !found {
            println!("SKIPPED: openssl is not installed");
        }
        found
    }

    fn verify(authority: &Certificate, leaf: &Certificate) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, certificate: &Certificate| {
            let path = dir.path().join(name);
            std::fs::write(&path, certificate.pem()).unwrap();
            path
        };
        let output = std::process::Command::new("openssl")
            .args(["verify", "-x509_strict", "-check_ss_sig", "-CAfile"])
            .arg(write("ca.pem", authority))
            .arg(write("leaf.pem", leaf))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    }

    #[test]
    fn openssl_verifies_what_each_kind_of_key_issues() {
        if !has_openssl() {
            return;
        }
        for algorithm in [
            KeyAlgorithm::EcP256,
            KeyAlgorithm::EcP384,
            KeyAlgorithm::Ed25519,
            KeyAlgorithm::Rsa(2048),
        ] {
            let authority_key = PrivateKey::generate(algorithm, &mut chance()).unwrap();
            let authority = authority(&authority_key, "Test Authority", [9; 16], VALIDITY).unwrap();
            let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut chance()).unwrap();
            let leaf = server(
                &authority_key,
                &authority,
                key.public_key_der(),
                &["a.example".to_owned()],
                [1; 16],
                VALIDITY,
            )
            .unwrap();
            verify(&authority, &leaf);
            assert!(leaf.covers("a.example") && leaf.matches(&key) && authority.is_authority());
        }
    }

    #[test]
    fn a_self_signed_certificate_has_all_that_was_asked_for() {
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut chance()).unwrap();
        let attributes = Attributes {
            common_name: "shop.example".to_owned(),
            country: Some("US".to_owned()),
            city: Some("Zürich".to_owned()),
            organization: Some("ACME Yacht Rentals, Inc.".to_owned()),
            contact: Some("admin@shop.example".to_owned()),
            ..Attributes::default()
        };
        let names = ["shop.example".to_owned(), "*.shop.example".to_owned()];
        let made = self_sign(&key, &attributes, &names, [3; 16], VALIDITY).unwrap();
        let read = read_certificates(made.pem().as_bytes()).unwrap().remove(0);
        assert_eq!(read.der(), made.der());
        assert_eq!(read.common_name().as_deref(), Some("shop.example"));
        assert!(read.subject().contains("O=ACME Yacht Rentals"), "{}", read.subject());
        assert_eq!((read.not_before(), read.not_after()), (1_700_000_000, 2_600_000_000));
        assert!(read.covers("www.shop.example") && !read.covers("a.b.shop.example"));
        if has_openssl() {
            verify(&made, &made);
        }
    }

    #[test]
    fn impossible_attributes_are_refused_by_name() {
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut chance()).unwrap();
        let check = |change: fn(&mut Attributes), expected: &str| {
            let mut attributes =
                Attributes { common_name: "a".to_owned(), ..Attributes::default() };
            change(&mut attributes);
            let error = self_sign(&key, &attributes, &[], [1; 16], VALIDITY).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(|a| a.country = Some("USA".to_owned()), "country");
        check(|a| a.contact = Some("nobody".to_owned()), "contact");
        check(|a| a.unit = Some("x".repeat(65)), "unit");
    }
}
