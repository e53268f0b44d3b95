//! Parsing of private keys: PKCS#1, SEC1 and PKCS#8 into one normal form.

use ::pkcs8::{EncodePrivateKey, EncryptedPrivateKeyInfoRef};
use der::{Decode, Encode};
use rsa::traits::PublicKeyParts;
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::{
    EC, ED25519, KeyAlgorithm, KeyError, P256, P384, PrivateKey, RSA, X25519, exchange,
    pkcs8::Wrapped, sign, spki,
};
use crate::{
    content::{self, Kind},
    limits::{PASSPHRASE_ITERATIONS_MAX, PASSPHRASE_MEMORY_MAX, RSA_BITS_MAX, RSA_BITS_MIN},
    pem::{self, Block, PemError},
};

/// Shortest public key, that of Ed25519 and X25519.
const PUBLIC_BYTES_MIN: usize = 32;

/// Reads the one private key of a PEM input, which must be of a type that signs. An encrypted PKCS#8
/// key needs its passphrase.
pub fn read_private_key(input: &[u8], passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
    let blocks = pem::blocks(input).map_err(|error| pem_error(&error))?;
    // OpenSSL writes the curve of an EC key into a separate block before the key.
    let blocks: Vec<&Block> =
        blocks.iter().filter(|block| !block.label.ends_with(" PARAMETERS")).collect();
    let keys: Vec<&&Block> =
        blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY")).collect();
    match (keys.as_slice(), blocks.first()) {
        ([key], _) => {
            let key = read_block(key, passphrase)?;
            key.algorithm.check_signs().map(|()| key)
        }
        ([_, second, ..], _) => Err(KeyError::Several { count: keys.len(), line: second.line }),
        ([], Some(other)) => {
            Err(KeyError::NotAKey { found: article(other.label), line: other.line })
        }
        ([], None) => Err(KeyError::NoKey),
    }
}

/// Reads the one public key of a PEM input: by itself or in a certificate. Returns its
/// SubjectPublicKeyInfo, DER; `None`: the input holds something else, or more.
pub fn read_public_key(input: &[u8]) -> Option<Vec<u8>> {
    let blocks = pem::blocks(input).ok()?;
    let [Block { label, der, .. }] = blocks.as_slice() else { return None };
    match *label {
        "PUBLIC KEY" => SubjectPublicKeyInfoRef::from_der(der).ok().map(|_| der.to_vec()),
        "CERTIFICATE" => {
            let read = x509_cert::Certificate::from_der(der).ok()?;
            read.tbs_certificate().subject_public_key_info().to_der().ok()
        }
        _ => None,
    }
}

fn pem_error(error: &PemError) -> KeyError {
    match error {
        PemError::TooLarge { bytes } => KeyError::TooLarge { bytes: *bytes },
        PemError::Foreign(found) => KeyError::Foreign(*found),
        PemError::Frame { line, text } => KeyError::Frame { line: *line, text: text.clone() },
        PemError::None => KeyError::NoKey,
        PemError::Encrypted { line } => KeyError::Encrypted { line: *line, is_old_form: true },
        PemError::Cut { line, label } => KeyError::Damaged {
            why: format!("the end of the block {label} is missing"),
            line: *line,
        },
        PemError::Damaged { line, label } => {
            KeyError::Damaged { why: format!("the block {label} is not base64"), line: *line }
        }
    }
}

/// Describes a label, for use in a sentence.
pub(crate) fn article(label: &str) -> String {
    match label {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => "a certificate".to_owned(),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => "a signing request".to_owned(),
        "PUBLIC KEY" => "a public key".to_owned(),
        "X509 CRL" => "a revocation list".to_owned(),
        "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => Kind::Pkcs7.to_string(),
        label if label.ends_with("PRIVATE KEY") => "a private key".to_owned(),
        // Only labels of a fixed list get here, so the message cannot contain input.
        other => format!("a block {other}"),
    }
}

/// Decrypts PBES2 (RFC 8018 §6.2). Bounds the cost that the key demands before paying it.
fn decrypted(der: &[u8], line: usize, passphrase: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der)
        .map_err(|_| damaged(line, "it is no encrypted PKCS#8"))?;
    let kdf = info.encryption_algorithm.pbes2().map(|parameters| &parameters.kdf);
    let is_bounded = kdf.is_some_and(|kdf| match (kdf.pbkdf2(), kdf.scrypt()) {
        (Some(pbkdf2), _) => pbkdf2.iteration_count <= PASSPHRASE_ITERATIONS_MAX,
        (_, Some(scrypt)) => {
            // RFC 7914 §2: a power of two above 1. The scrypt library panics at 0.
            let is_formed = scrypt.cost_parameter > 1 && scrypt.cost_parameter.is_power_of_two();
            let blocks = u64::from(scrypt.block_size) * u64::from(scrypt.parallelization);
            let work = scrypt.cost_parameter.saturating_mul(blocks.saturating_mul(128));
            is_formed && work <= PASSPHRASE_MEMORY_MAX
        }
        _ => false,
    });
    if !is_bounded {
        let found = "an encryption of old, or one of no sane cost,".to_owned();
        return Err(KeyError::Unsupported { found });
    }
    let opened = info.decrypt(passphrase).map_err(|_| KeyError::Passphrase { line })?;
    pkcs8(opened.as_bytes(), line)
}

fn damaged(line: usize, why: &str) -> KeyError {
    KeyError::Damaged { why: why.to_owned(), line }
}

/// Reads a block by what it holds. Programs write PKCS#8 under the labels of PKCS#1 and SEC1, and the
/// other way round; OpenSSL reads that too.
fn read_block(block: &Block, passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
    let (der, line) = (block.der.as_slice(), block.line);
    let unsupported = |found: &str| Err(KeyError::Unsupported { found: found.to_owned() });
    if block.label == "OPENSSH PRIVATE KEY" {
        return unsupported("OpenSSH");
    }
    let is_encrypted = block.label == "ENCRYPTED PRIVATE KEY";
    match (content::kind(der), passphrase) {
        (Some(Kind::Pkcs8), _) => pkcs8(der, line),
        (Some(Kind::EncryptedPkcs8), Some(passphrase)) => decrypted(der, line, passphrase),
        (Some(Kind::EncryptedPkcs8), None) => Err(KeyError::Encrypted { line, is_old_form: false }),
        (Some(Kind::Pkcs1), _) => pkcs1(der, line),
        (Some(Kind::Sec1), _) => sec1(der, None, line),
        (Some(Kind::Dsa), _) => unsupported("DSA"),
        (Some(other), _) => Err(KeyError::NotAKey { found: other.to_string(), line }),
        (None, None) if is_encrypted => Err(KeyError::Encrypted { line, is_old_form: false }),
        (None, Some(passphrase)) if is_encrypted => decrypted(der, line, passphrase),
        (None, _) if block.label == "DSA PRIVATE KEY" => unsupported("DSA"),
        (None, _) => Err(damaged(line, "it is none of PKCS#8, PKCS#1 and SEC1")),
    }
}

/// Parses an RSA key (RFC 8017 §A.1.2).
fn pkcs1(der: &[u8], line: usize) -> Result<PrivateKey, KeyError> {
    check_rsa_pkcs1(der, line)?;
    let key = rsa::pkcs1::DecodeRsaPrivateKey::from_pkcs1_der(der)
        .map_err(|_| damaged(line, "it is no RSA key"))?;
    rsa_key(&key, line)
}

/// Parses an EC key (RFC 5915). `curve` is the one that PKCS#8 names outside.
fn sec1(der: &[u8], curve: Option<ObjectIdentifier>, line: usize) -> Result<PrivateKey, KeyError> {
    let key = sec1::EcPrivateKey::from_der(der).map_err(|_| match holds_explicit_curve(der) {
        true => explicit_curve(),
        false => damaged(line, "it is no EC key"),
    })?;
    let inside = key.parameters.and_then(|parameters| parameters.named_curve());
    let read = ec(curve.or(inside), key.private_key, line)?;
    check_public(&read, key.public_key, line)?;
    Ok(read)
}

/// Checks that a public key beside a private one belongs to it: who signs with the one and shows the
/// other tells strangers about the private key.
fn check_public(key: &PrivateKey, public: Option<&[u8]>, line: usize) -> Result<(), KeyError> {
    let Some(public) = public else { return Ok(()) };
    let is_own = match (key.algorithm, public) {
        // A compressed point; its number is that of the whole point (SEC1 §2.3.3).
        (KeyAlgorithm::EcP256, [2 | 3, x @ ..]) => {
            p256::PublicKey::from_sec1_bytes(public).is_ok() && is_of_point(key, public, x)
        }
        (KeyAlgorithm::EcP384, [2 | 3, x @ ..]) => {
            p384::PublicKey::from_sec1_bytes(public).is_ok() && is_of_point(key, public, x)
        }
        _ => key.public_key_der().ends_with(public) && public.len() >= PUBLIC_BYTES_MIN,
    };
    if is_own { Ok(()) } else { Err(KeyError::OtherPublicKey { line }) }
}

/// Returns whether a compressed point is that of the key.
fn is_of_point(key: &PrivateKey, compressed: &[u8], x: &[u8]) -> bool {
    let point = key.public_key_der();
    let whole = point.get(point.len().saturating_sub(2 * x.len())..).unwrap_or_default();
    let is_odd = whole.last().is_some_and(|byte| byte & 1 == 1);
    whole.starts_with(x) && compressed.first() == Some(if is_odd { &3 } else { &2 })
}

/// Refuses explicit curve parameters. Curves must be named (RFC 5480 §2.1.1): parameters could
/// describe any curve.
fn explicit_curve() -> KeyError {
    KeyError::Unsupported { found: "EC with explicit curve parameters".to_owned() }
}

fn holds_explicit_curve(der: &[u8]) -> bool {
    // id-prime-field, which is in explicit parameters only (RFC 3279 §2.3.5).
    const PRIME_FIELD: [u8; 9] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 1, 1];
    der.windows(PRIME_FIELD.len()).any(|bytes| bytes == PRIME_FIELD)
}

/// Parses PKCS#8 (RFC 5958).
pub(super) fn pkcs8(der: &[u8], line: usize) -> Result<PrivateKey, KeyError> {
    let info = Wrapped::read(der).ok_or_else(|| damaged(line, "it is no PKCS#8"))?;
    let inner = info.private_key;
    let key = match info.algorithm.oid {
        RSA => pkcs1(inner, line)?,
        EC => {
            let curve = info.algorithm.parameters.and_then(|any| any.decode_as().ok());
            if curve.is_none() && holds_explicit_curve(der) {
                return Err(explicit_curve());
            }
            sec1(inner, curve, line)?
        }
        ED25519 => curve25519(KeyAlgorithm::Ed25519, inner, line)?,
        X25519 => curve25519(KeyAlgorithm::X25519, inner, line)?,
        other => return Err(KeyError::Unsupported { found: algorithm_name(other) }),
    };
    check_public(&key, info.public_key, line)?;
    Ok(key)
}

/// Reads CurvePrivateKey (RFC 8410 §7).
fn curve25519(algorithm: KeyAlgorithm, der: &[u8], line: usize) -> Result<PrivateKey, KeyError> {
    let secret = <&der::asn1::OctetStringRef>::from_der(der).ok();
    let secret = secret.and_then(|secret| <&[u8; 32]>::try_from(secret.as_bytes()).ok());
    let secret = secret.ok_or_else(|| damaged(line, &format!("it is no {algorithm} key")))?;
    finish(algorithm, curve25519_pkcs8(algorithm, secret), line)
}

/// Encodes PKCS#8 version 1 (RFC 8410 §7) of an Ed25519 or X25519 key. OpenSSL 3.0 cannot read
/// version 2, which also contains the public key.
pub(super) fn curve25519_pkcs8(algorithm: KeyAlgorithm, secret: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    // The last byte of the identifier: 1.3.101.110 or 1.3.101.112.
    let arc = if algorithm == KeyAlgorithm::X25519 { 0x6e } else { 0x70 };
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, arc, 4, 0x22, 4, 0x20];
    let mut der = Zeroizing::new(Vec::with_capacity(prefix.len() + secret.len()));
    der.extend_from_slice(&prefix);
    der.extend_from_slice(secret);
    der
}

/// Names the type of a public key (SubjectPublicKeyInfo, DER) that is not supported.
pub(crate) fn type_name(spki_der: &[u8]) -> String {
    let Ok(spki) = SubjectPublicKeyInfoRef::from_der(spki_der) else {
        return "that cannot be read".to_owned();
    };
    let curve = || spki.algorithm.parameters.and_then(|any| any.decode_as().ok());
    match spki.algorithm.oid {
        EC => {
            curve().map_or_else(|| "EC with explicit curve parameters".to_owned(), algorithm_name)
        }
        other => algorithm_name(other),
    }
}

fn algorithm_name(oid: ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.10" => "RSA-PSS".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        "1.2.840.10046.2.1" | "1.2.840.113549.1.3.1" => "DH".to_owned(),
        "1.3.101.111" => "X448".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        "1.2.840.10045.3.1.1" => "EC P-192".to_owned(),
        "1.3.132.0.33" => "EC P-224".to_owned(),
        "1.3.132.0.35" => "EC P-521".to_owned(),
        "1.3.132.0.10" => "EC secp256k1".to_owned(),
        "1.3.36.3.3.2.8.1.1.7" => "EC brainpoolP256r1".to_owned(),
        "1.3.36.3.3.2.8.1.1.11" => "EC brainpoolP384r1".to_owned(),
        "1.3.36.3.3.2.8.1.1.13" => "EC brainpoolP512r1".to_owned(),
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44".to_owned(),
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65".to_owned(),
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87".to_owned(),
        "1.2.156.10197.1.301" => "SM2".to_owned(),
        other => format!("{other} (object identifier)"),
    }
}

fn ec(curve: Option<ObjectIdentifier>, scalar: &[u8], line: usize) -> Result<PrivateKey, KeyError> {
    let invalid = || damaged(line, "its number does not belong to its curve");
    // Programs that write a number instead of a field element put a zero before it.
    let scalar = match (curve, scalar) {
        (Some(P256), [0, rest @ ..]) if scalar.len() == 33 => rest,
        (Some(P384), [0, rest @ ..]) if scalar.len() == 49 => rest,
        _ => scalar,
    };
    match curve {
        Some(P256) => {
            let key = p256::SecretKey::from_slice(scalar).map_err(|_| invalid())?;
            let der = key.to_pkcs8_der().map_err(|_| invalid())?;
            finish(KeyAlgorithm::EcP256, der.to_bytes(), line)
        }
        Some(P384) => {
            let key = p384::SecretKey::from_slice(scalar).map_err(|_| invalid())?;
            let der = key.to_pkcs8_der().map_err(|_| invalid())?;
            finish(KeyAlgorithm::EcP384, der.to_bytes(), line)
        }
        Some(other) => Err(KeyError::Unsupported { found: algorithm_name(other) }),
        None => Err(damaged(line, "it does not name its curve")),
    }
}

/// Checks the sizes of an RSA key before any arithmetic on its untrusted numbers.
fn check_rsa_pkcs1(der: &[u8], line: usize) -> Result<(), KeyError> {
    let key = rsa::pkcs1::RsaPrivateKey::<der::asn1::UintRef<'_>>::from_der(der)
        .map_err(|_| damaged(line, "it is no RSA key"))?;
    let modulus = key.modulus.as_bytes();
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(0));
    let found = format!("RSA {bits}");
    if key.version() != rsa::pkcs1::Version::TwoPrime {
        let found = format!("{found} with more than two primes");
        return Err(KeyError::Unsupported { found });
    }
    if bits < RSA_BITS_MIN {
        return Err(KeyError::Weak { found, why: "2048 bits are the least" });
    }
    if bits > RSA_BITS_MAX {
        return Err(KeyError::Unsupported { found: format!("{found} (8192 bits are the most)") });
    }
    // A number of fewer bytes is smaller. At three bytes, the order of bytes is that of numbers.
    let exponent = key.public_exponent.as_bytes();
    if exponent.len() < 3 || (exponent.len() == 3 && exponent < [1, 0, 1].as_slice()) {
        return Err(KeyError::Weak {
            found: format!("{found} with a small exponent"),
            why: "65537 is the least",
        });
    }
    Ok(())
}

fn rsa_key(key: &rsa::PrivateKey, line: usize) -> Result<PrivateKey, KeyError> {
    key.validate().map_err(|_| damaged(line, "its numbers do not belong together"))?;
    let bits = usize::try_from(key.n().bit_width()).unwrap_or(usize::MAX);
    let der = key.to_pkcs8_der().map_err(|_| damaged(line, "it is no RSA key"))?;
    finish(KeyAlgorithm::Rsa(bits), der.to_bytes(), line)
}

fn finish(
    algorithm: KeyAlgorithm,
    pkcs8: Zeroizing<Vec<u8>>,
    line: usize,
) -> Result<PrivateKey, KeyError> {
    let public = match algorithm {
        KeyAlgorithm::X25519 => exchange::public_key(&pkcs8),
        _ => sign::public_key(algorithm, &pkcs8),
    };
    let public = public.ok_or_else(|| damaged(line, "the cryptographic library refuses it"))?;
    let public = spki(algorithm, &public).map_err(|_| damaged(line, "it has no public key"))?;
    Ok(PrivateKey { algorithm, pkcs8, public })
}
