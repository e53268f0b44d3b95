//! Signing requests (PKCS#10, RFC 2986).

use der::{
    Decode, Encode,
    asn1::BitString,
    oid::{AssociatedOid, ObjectIdentifier},
};
use x509_cert::{
    ext::{
        Extension,
        pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectAltName},
    },
    name::Name,
    request::{CertReq, CertReqInfo, ExtensionReq, Version},
    spki::SubjectPublicKeyInfoOwned,
};

use crate::{
    certificate::{CertificateError, pem_error, shown},
    content::{self, Kind},
    issue::{Attributes, IssueError, extension, from_attributes, general_name, is_empty},
    key::{KeyAlgorithm, PrivateKey, public_key_algorithm, signature_algorithm},
    limits::CERTIFICATE_BYTES_MAX,
    name,
    pem::{self, Block},
    signature::check_bytes,
};

const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");

/// Content of a signing request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// All attributes of the requested subject.
    pub subject: String,
    /// Subject alternative names, in text.
    pub names: Vec<String>,
    /// Algorithm and size of the key; `None` if this library does not support it.
    pub algorithm: Option<KeyAlgorithm>,
    /// Public key (SubjectPublicKeyInfo, DER).
    pub public_key_der: Vec<u8>,
    /// Whether the signature of the request is valid for that key.
    pub is_signed: bool,
}

/// Reads the signing request of a PEM input.
pub fn read_request(input: &[u8]) -> Result<Request, CertificateError> {
    let not = |found: String, line| CertificateError::NotARequest { found, line };
    let blocks = pem::blocks(input).map_err(|error| match pem_error(&error) {
        CertificateError::NoCertificate => not("no PEM block".to_owned(), 1),
        CertificateError::NotACertificate { found, line } => not(found, line),
        other => other,
    })?;
    // The key may stand in the same file, as openssl writes it.
    let is_request = |block: &&Block| block.label.ends_with("CERTIFICATE REQUEST");
    let first = blocks.first().ok_or_else(|| not("no PEM block".to_owned(), 1))?;
    let Some(block) = blocks.iter().find(is_request) else {
        return Err(not(crate::key::article(first.label), first.line));
    };
    let line = block.line;
    if let Some(kind) = content::kind(&block.der).filter(|kind| *kind != Kind::Request) {
        return Err(not(kind.to_string(), line));
    }
    let damaged = |why: &str| CertificateError::Damaged { why: why.to_owned(), line };
    if block.der.len() > CERTIFICATE_BYTES_MAX {
        return Err(damaged("it is larger than 64 KiB"));
    }
    let not_pkcs10 = "it is not a request as RFC 2986 defines it";
    let parsed = CertReq::from_der(&block.der).map_err(|_| damaged(not_pkcs10))?;
    let public_key_der =
        parsed.info.public_key.to_der().map_err(|_| damaged("its public key cannot be read"))?;
    let signed = crate::element::first_element(&block.der).unwrap_or_default();
    let signature = parsed.signature.as_bytes().unwrap_or_default();
    let checked = check_bytes(&public_key_der, &parsed.algorithm, signed, signature);
    Ok(Request {
        subject: name::shown(&parsed.info.subject),
        names: asked_names(&parsed.info).unwrap_or_default(),
        algorithm: public_key_algorithm(&public_key_der),
        is_signed: checked.is_ok(),
        public_key_der,
    })
}

fn asked_names(info: &CertReqInfo) -> Option<Vec<String>> {
    let asked = info.attributes.iter().find(|one| one.oid == EXTENSION_REQUEST)?;
    let extensions = ExtensionReq::from_der(&asked.values.get(0)?.to_der().ok()?).ok()?;
    let found = extensions.0.iter().find(|one| one.extn_id == SubjectAltName::OID)?;
    let names = SubjectAltName::from_der(found.extn_value.as_bytes()).ok()?;
    Some(names.0.iter().filter_map(shown).collect())
}

/// Returns a signing request (PEM), signed by the key for which it requests a certificate.
pub fn request(
    key: &PrivateKey,
    attributes: &Attributes,
    names: &[String],
) -> Result<String, IssueError> {
    let names = names.iter().map(|name| general_name(name)).collect::<Result<Vec<_>, _>>()?;
    let subject = from_attributes(attributes)?;
    // RFC 5280 §4.2.1.6: critical if there is no other name.
    signed(key, &subject, vec![extension(is_empty(&subject), &SubjectAltName(names))?])
}

/// Returns a signing request (PEM) for an authority that issues certificates of end entities only.
pub fn authority_request(key: &PrivateKey, attributes: &Attributes) -> Result<String, IssueError> {
    let subject = from_attributes(attributes)?;
    if is_empty(&subject) {
        let why = "an authority needs one, or another field of the subject";
        return Err(IssueError::Attribute { field: "common name", why });
    }
    let usages = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    let constraints = BasicConstraints { ca: true, path_len_constraint: Some(0) };
    signed(key, &subject, vec![extension(true, &constraints)?, extension(true, &usages)?])
}

/// Signs a request for these extensions.
fn signed(
    key: &PrivateKey,
    subject: &[u8],
    extensions: Vec<Extension>,
) -> Result<String, IssueError> {
    let asked = ExtensionReq(extensions);
    let mut asked_for = der::asn1::SetOfVec::new();
    asked_for.insert(asked.try_into()?)?;
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::from_der(subject)?,
        public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key_der())?,
        attributes: asked_for,
    };
    let signature = key.sign(&info.to_der()?)?;
    let request = CertReq {
        info,
        algorithm: signature_algorithm(key.algorithm())?,
        signature: BitString::from_bytes(&signature)?,
    };
    Ok(pem::encode("CERTIFICATE REQUEST", &request.to_der()?))
}
