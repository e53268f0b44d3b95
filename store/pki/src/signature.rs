//! Signatures on certificates and lists, and the accepted keys (RFC 4055, 5480, 5758, 8410).

use ::ring::digest::{self, SHA256, SHA384, SHA512};
use der::{Decode, Encode, oid::ObjectIdentifier};
use p521::ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier};
use ring::signature as ring;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::{
    budget::{Budget, each},
    certificate::Certificate,
    element::elements,
    key::{self, KeyAlgorithm, public_key_algorithm},
    name,
    rule::{Broken, Reason},
};

const RSA_SHA1: &[&str] = &["1.2.840.113549.1.1.5", "1.2.840.10045.4.1", "1.2.840.113549.1.1.4"];
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Algorithm to verify a signature with.
enum Algorithm {
    Ring(&'static dyn ring::VerificationAlgorithm),
    /// ECDSA on P-521 with this hash; `ring` lacks the curve.
    P521(&'static digest::Algorithm),
}

/// Returns the algorithm of `identifier` for this key; `None` if the combination is not accepted.
fn algorithm(
    identifier: &AlgorithmIdentifierOwned,
    key: &SubjectPublicKeyInfoOwned,
    key_der: &[u8],
) -> Option<Algorithm> {
    let oid = identifier.oid.to_string();
    if is_p521(key) {
        return Some(Algorithm::P521(match oid.as_str() {
            "1.2.840.10045.4.3.2" => &SHA256,
            "1.2.840.10045.4.3.3" => &SHA384,
            "1.2.840.10045.4.3.4" => &SHA512,
            _ => return None,
        }));
    }
    let found: &'static dyn ring::VerificationAlgorithm =
        match (oid.as_str(), public_key_algorithm(key_der)?) {
            ("1.2.840.113549.1.1.11", KeyAlgorithm::Rsa(_)) => &ring::RSA_PKCS1_2048_8192_SHA256,
            ("1.2.840.113549.1.1.12", KeyAlgorithm::Rsa(_)) => &ring::RSA_PKCS1_2048_8192_SHA384,
            ("1.2.840.113549.1.1.13", KeyAlgorithm::Rsa(_)) => &ring::RSA_PKCS1_2048_8192_SHA512,
            ("1.2.840.113549.1.1.10", KeyAlgorithm::Rsa(_)) => pss(identifier)?,
            ("1.2.840.10045.4.3.2", KeyAlgorithm::EcP256) => &ring::ECDSA_P256_SHA256_ASN1,
            ("1.2.840.10045.4.3.3", KeyAlgorithm::EcP256) => &ring::ECDSA_P256_SHA384_ASN1,
            ("1.2.840.10045.4.3.2", KeyAlgorithm::EcP384) => &ring::ECDSA_P384_SHA256_ASN1,
            ("1.2.840.10045.4.3.3", KeyAlgorithm::EcP384) => &ring::ECDSA_P384_SHA384_ASN1,
            ("1.3.101.112", KeyAlgorithm::Ed25519) => &ring::ED25519,
            _ => return None,
        };
    Some(Algorithm::Ring(found))
}

fn is_p521(key: &SubjectPublicKeyInfoOwned) -> bool {
    let curve = key.algorithm.parameters.as_ref().map(|any| any.decode_as::<ObjectIdentifier>());
    key.algorithm.oid == EC && curve == Some(Ok(P521))
}

/// Verifies ECDSA (FIPS 186-5 §6.4.2) on P-521. The hash may be shorter than the curve's order.
fn is_p521_signature(point: &[u8], hash: &[u8], signature: &[u8]) -> bool {
    const BYTES: usize = 66;
    let Some(zeros) = BYTES.checked_sub(hash.len()) else { return false };
    let number = [&vec![0; zeros], hash].concat();
    let signature = Signature::from_der(signature);
    let key = VerifyingKey::from_sec1_bytes(point);
    matches!((key, signature), (Ok(key), Ok(signature))
        if key.verify_prehash(&number, &signature).is_ok())
}

/// Returns RSASSA-PSS for the usual parameters: MGF1 with the same hash, and a salt of its length.
fn pss(identifier: &AlgorithmIdentifierOwned) -> Option<&'static dyn ring::VerificationAlgorithm> {
    let parameters = identifier.parameters.as_ref()?.to_der().ok()?;
    // RFC 4055 §3.1, DER, for SHA-256, SHA-384 and SHA-512; hash parameters NULL or absent.
    let known: [(u8, u8, &'static dyn ring::VerificationAlgorithm); 3] = [
        (1, 32, &ring::RSA_PSS_2048_8192_SHA256),
        (2, 48, &ring::RSA_PSS_2048_8192_SHA384),
        (3, 64, &ring::RSA_PSS_2048_8192_SHA512),
    ];
    let found = known.into_iter().find(|(hash, salt, _)| {
        [true, false].into_iter().any(|null| parameters == pss_parameters(*hash, *salt, null))
    });
    found.map(|(_, _, algorithm)| algorithm)
}

/// Encodes RSASSA-PSS-params for one hash of the SHA-2 family (its last arc) and a salt length.
fn pss_parameters(hash: u8, salt: u8, with_null: bool) -> Vec<u8> {
    let wrap = |tag: u8, content: Vec<u8>| {
        let length = u8::try_from(content.len()).unwrap_or(0);
        [vec![tag, length], content].concat()
    };
    let mut hash_id = vec![0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash];
    if with_null {
        hash_id.extend([0x05, 0x00]);
    }
    let hash_id = wrap(0x30, hash_id);
    let mgf1 = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
    let mgf1 = wrap(0x30, [mgf1.to_vec(), hash_id.clone()].concat());
    let salt = vec![0x02, 0x01, salt];
    wrap(0x30, [wrap(0xa0, hash_id), wrap(0xa1, mgf1), wrap(0xa2, salt)].concat())
}

/// Names a signature algorithm.
fn name_of(identifier: &AlgorithmIdentifierOwned) -> String {
    let name = match identifier.oid.to_string().as_str() {
        "1.2.840.113549.1.1.10" => return pss_name(identifier),
        "1.2.840.113549.1.1.2" => "MD2 with RSA",
        "1.2.840.113549.1.1.14" => "SHA-224 with RSA",
        "1.2.840.113549.1.1.11" => "SHA-256 with RSA",
        "1.2.840.113549.1.1.12" => "SHA-384 with RSA",
        "1.2.840.113549.1.1.13" => "SHA-512 with RSA",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.2.840.10040.4.3" => "DSA with SHA-1",
        "2.16.840.1.101.3.4.3.1" => "DSA with SHA-224",
        "2.16.840.1.101.3.4.3.2" => "DSA with SHA-256",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        "1.2.156.10197.1.501" => "SM2 with SM3",
        other => return format!("the algorithm {other}"),
    };
    name.to_owned()
}

/// Names RSASSA-PSS with its parameters (RFC 4055 §3.1): hash, hash of MGF1, length of the salt.
fn pss_name(identifier: &AlgorithmIdentifierOwned) -> String {
    let parameters = identifier.parameters.as_ref().and_then(|any| any.to_der().ok());
    let parameters = parameters.unwrap_or_default();
    let parts = elements(&parameters, 1).first().map_or(&[][..], |(_, content)| *content);
    let parts = elements(parts, 4);
    let part = |tag: u8| parts.iter().find(|(found, _)| *found == tag).map(|(_, content)| *content);
    // The last arc of the hash's identifier, at the end of the first element inside.
    let hash = |content: Option<&[u8]>, arc: &[u8]| {
        let Some(content) = content else { return "SHA-1" };
        let last = content.windows(arc.len() + 1).find(|window| window.starts_with(arc));
        match last.and_then(<[u8]>::last) {
            Some(1) => "SHA-256",
            Some(2) => "SHA-384",
            Some(3) => "SHA-512",
            Some(4) => "SHA-224",
            _ => "another hash",
        }
    };
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
    let (own, mask) = (hash(part(0xa0), SHA2), hash(part(0xa1), SHA2));
    let salt = part(0xa2).and_then(|content| match elements(content, 1).first() {
        Some((0x02, bytes)) => Some(
            bytes
                .iter()
                .fold(0_u64, |all, byte| all.saturating_mul(256).saturating_add(u64::from(*byte))),
        ),
        _ => None,
    });
    let salt = salt.unwrap_or(20);
    match own == mask {
        true => format!("RSASSA-PSS with {own} and a salt of {salt} bytes"),
        false => format!("RSASSA-PSS with {own}, MGF1 with {mask} and a salt of {salt} bytes"),
    }
}

/// Checks that the key of a certificate is accepted; `must_sign`: for what it is for it has to sign.
pub(crate) fn check_key(certificate: &Certificate, must_sign: bool) -> Result<(), Broken> {
    let weak = |what: String| {
        Err(Broken::new(Reason::Signature, "NIST SP 800-131A", format!("its key is {what}")))
    };
    match certificate.key_algorithm() {
        Some(KeyAlgorithm::Rsa(bits)) if bits < 2048 => {
            weak(format!("RSA of {bits} bits, too weak"))
        }
        Some(KeyAlgorithm::Rsa(bits)) if bits > 8192 => {
            weak(format!("RSA of {bits} bits, which is not supported"))
        }
        // TLS and signatures need a key that signs.
        Some(key @ KeyAlgorithm::X25519) if must_sign => {
            let detail = format!("its key is {key}, which cannot sign");
            Err(Broken::new(Reason::Signature, "RFC 8410 §5", detail))
        }
        Some(_) => Ok(()),
        None => match SubjectPublicKeyInfoOwned::from_der(certificate.public_key_der()) {
            Ok(key) if is_p521(&key) => Ok(()),
            _ => {
                let name = key::type_name(certificate.public_key_der());
                weak(format!("of the type {name}, which is not supported"))
            }
        },
    }
}

/// Returns the estimated nanoseconds to verify the signature of `certificate` with `issuer`'s key:
/// for hashing, and for ring, with the largest exponent for RSA.
pub(crate) fn cost(certificate: &Certificate, issuer: &Certificate) -> u64 {
    key_cost(issuer).saturating_add(each(certificate.der().len(), 2))
}

/// Returns the part of the cost that depends on the key.
pub(crate) fn key_cost(issuer: &Certificate) -> u64 {
    match issuer.key_algorithm() {
        Some(KeyAlgorithm::EcP256) => 60_000,
        Some(KeyAlgorithm::EcP384) => 800_000,
        Some(KeyAlgorithm::Ed25519) => 60_000,
        Some(KeyAlgorithm::Rsa(bits)) if bits <= 8_192 => each(bits * bits, 1) / 65,
        // Refused by its size or its type alone.
        Some(KeyAlgorithm::Rsa(_) | KeyAlgorithm::X25519) => 1_000,
        // P-521, or an unknown key.
        None => 800_000,
    }
}

/// Checks that `issuer`'s key signed `certificate`.
pub(crate) fn check(
    certificate: &Certificate,
    issuer: &Certificate,
    budget: &mut Budget,
) -> Result<(), Broken> {
    budget.spend(cost(certificate, issuer))?;
    let signed = certificate.signed_bytes().unwrap_or_default();
    let parsed = certificate.parsed();
    let signature = parsed.signature().as_bytes().unwrap_or_default();
    check_bytes(issuer.public_key_der(), parsed.signature_algorithm(), signed, signature)
}

/// Checks that the key signed these bytes.
pub(crate) fn check_bytes(
    public_key_der: &[u8],
    identifier: &AlgorithmIdentifierOwned,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), Broken> {
    let broken = |detail: String| Broken::new(Reason::Signature, "RFC 5280 §4.1.1.3", detail);
    let oid = identifier.oid.to_string();
    if RSA_SHA1.contains(&oid.as_str()) {
        return Err(broken("it is signed with SHA-1 or MD5".to_owned()));
    }
    let has_parameters = identifier.parameters.as_ref().is_some_and(|any| !any.is_null());
    if has_parameters && identifier.oid != RSA_PSS {
        return Err(broken("the signature's algorithm has parameters".to_owned()));
    }
    let key = SubjectPublicKeyInfoOwned::from_der(public_key_der);
    let key = key.map_err(|_| broken("the issuer's key cannot be read".to_owned()))?;
    let point = key.subject_public_key.raw_bytes();
    let is_signature = match algorithm(identifier, &key, public_key_der) {
        Some(Algorithm::Ring(algorithm)) => {
            ring::UnparsedPublicKey::new(algorithm, point).verify(signed, signature).is_ok()
        }
        Some(Algorithm::P521(hash)) => {
            is_p521_signature(point, digest::digest(hash, signed).as_ref(), signature)
        }
        None => {
            let name = name_of(identifier);
            return Err(broken(format!("it is signed with {name}, which is not accepted here")));
        }
    };
    match is_signature {
        true => Ok(()),
        false => Err(broken("its signature is not that of its issuer".to_owned())),
    }
}

impl Certificate {
    /// Returns whether `issuer` issued it: the names match, and the issuer's key signed it.
    pub fn is_issued_by(&self, issuer: &Certificate) -> bool {
        let (own, other) = (self.parsed().tbs_certificate(), issuer.parsed().tbs_certificate());
        name::Comparable::of(own.issuer()) == name::Comparable::of(other.subject())
            && is_signed_by(self, issuer)
    }
}

/// Returns whether `issuer`'s key signed `certificate`, by an accepted algorithm.
pub(crate) fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    check(certificate, issuer, &mut Budget::new()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificate::read_bundle, key::tests::openssl};

    /// Returns why a self-signed certificate of these settings is refused.
    fn refused(settings: &[&str]) -> Option<String> {
        let make = ["req", "-x509", "-nodes", "-subj", "/CN=a", "-keyout", "/dev/null"];
        let pem = openssl(&[&make[..], settings].concat(), b"")?;
        let one = read_bundle(&pem).unwrap().remove(0);
        let key = check_key(&one, true).err();
        let broken = key.or_else(|| check(&one, &one, &mut Budget::new()).err());
        Some(broken.expect("a refusal").detail)
    }

    #[test]
    fn what_is_not_accepted_is_told_by_its_name() {
        let pss = ["-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss", "-sigopt"];
        let salt = |salt: &'static str, hash: &'static str| [&pss[..], &[salt, hash]].concat();
        for (settings, expected) in [
            (
                salt("rsa_pss_saltlen:20", "-sha256"),
                "RSASSA-PSS with SHA-256 and a salt of 20 bytes",
            ),
            (salt("rsa_pss_saltlen:20", "-sha1"), "RSASSA-PSS with SHA-1 and a salt of 20 bytes"),
            (
                salt("rsa_pss_saltlen:32", "-sha512"),
                "RSASSA-PSS with SHA-512 and a salt of 32 bytes",
            ),
            (vec!["-newkey", "rsa-pss"], "RSA-PSS"),
            (vec!["-newkey", "rsa:2048", "-sha224"], "SHA-224 with RSA"),
            (vec!["-newkey", "ed448"], "Ed448"),
        ] {
            let Some(told) = refused(&settings) else { return };
            assert!(told.contains(expected), "{settings:?}: {told}");
        }
    }
}
