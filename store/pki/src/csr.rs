//! Signing requests (PKCS#10, RFC 2986).

use der::{Decode, Encode, asn1::BitString};
use x509_cert::{
    ext::pkix::SubjectAltName,
    name::Name,
    request::{CertReq, CertReqInfo, ExtensionReq, Version},
    spki::SubjectPublicKeyInfoOwned,
};

use crate::{
    issue::{Attributes, IssueError, extension, general_name},
    key::{PrivateKey, signature_algorithm},
    name, pem,
};

/// A signing request, PEM, signed by the key that it asks a certificate for.
pub fn request(
    key: &PrivateKey,
    attributes: &Attributes,
    names: &[String],
) -> Result<String, IssueError> {
    let names = names.iter().map(|name| general_name(name)).collect::<Result<Vec<_>, _>>()?;
    let asked = ExtensionReq(vec![extension(false, &SubjectAltName(names))?]);
    let mut asked_for = der::asn1::SetOfVec::new();
    asked_for.insert(asked.try_into()?)?;
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::from_der(&name::from_attributes(attributes)?)?,
        public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key_der())?,
        attributes: asked_for,
    };
    let signature = key.sign(&info.to_der()?).map_err(|_| IssueError::Key)?;
    let request = CertReq {
        info,
        algorithm: signature_algorithm(key.algorithm()),
        signature: BitString::from_bytes(&signature)?,
    };
    Ok(pem::encode("CERTIFICATE REQUEST", &request.to_der()?))
}
