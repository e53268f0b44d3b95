//! Private keys: generation, parsing, self-test. Kept as PKCS#8, wiped when dropped.

mod exchange;
mod pkcs8;
mod read;
mod sign;

use std::{fmt, str::FromStr};

use ::pkcs8::EncodePrivateKey;
use der::{Decode, Encode, asn1::BitString};
use p256::elliptic_curve::Generate;
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned};
use zeroize::Zeroizing;

use crate::content::Foreign;

pub use exchange::{OaepHash, RsaPadding, encrypt};
pub(crate) use read::{article, type_name};
pub use read::{read_private_key, read_public_key};
pub(crate) use sign::signature_algorithm;

pub(crate) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(crate) const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");

/// Algorithm and size of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on P-256; the default.
    EcP256,
    /// ECDSA on P-384.
    EcP384,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// X25519 (RFC 7748), which receives encrypted messages and cannot sign.
    X25519,
    /// RSA with a modulus of that many bits.
    Rsa(usize),
}

impl KeyAlgorithm {
    /// Checks that keys of this algorithm sign, as those of servers and issuers must.
    pub fn check_signs(self) -> Result<(), KeyError> {
        match self {
            KeyAlgorithm::X25519 => Err(KeyError::CannotSign { algorithm: self }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyAlgorithm::EcP256 => out.write_str("EC P-256"),
            KeyAlgorithm::EcP384 => out.write_str("EC P-384"),
            KeyAlgorithm::Ed25519 => out.write_str("Ed25519"),
            KeyAlgorithm::X25519 => out.write_str("X25519"),
            KeyAlgorithm::Rsa(bits) => write!(out, "RSA {bits}"),
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = KeyError;

    /// Parses `p256`, `p384`, `ed25519`, `x25519`, `rsa2048`, `rsa3072`, `rsa4096`.
    fn from_str(text: &str) -> Result<KeyAlgorithm, KeyError> {
        match text.to_ascii_lowercase().replace(['-', '_', ' '], "").as_str() {
            "p256" | "ecp256" => Ok(KeyAlgorithm::EcP256),
            "p384" | "ecp384" => Ok(KeyAlgorithm::EcP384),
            "ed25519" => Ok(KeyAlgorithm::Ed25519),
            "x25519" => Ok(KeyAlgorithm::X25519),
            "rsa2048" => Ok(KeyAlgorithm::Rsa(2048)),
            "rsa3072" => Ok(KeyAlgorithm::Rsa(3072)),
            "rsa4096" => Ok(KeyAlgorithm::Rsa(4096)),
            _ => Err(KeyError::UnknownType { found: text.chars().take(40).collect() }),
        }
    }
}

/// Reason why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The input has no PEM block.
    #[error("the input holds no private key")]
    NoKey,
    /// The input is larger than any key.
    #[error("the input has {bytes} bytes, a private key at most 1 MiB")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
    },
    /// The key is protected by a passphrase.
    #[error("the private key is protected by a passphrase")]
    Encrypted {
        /// Line with the mark of the encryption.
        line: usize,
        /// Whether the encryption is the form from before PKCS#8.
        is_old_form: bool,
    },
    /// The passphrase does not open the key.
    #[error("the passphrase does not open the private key")]
    Passphrase {
        /// Line of the block.
        line: usize,
    },
    /// A block is not a key.
    #[error("expected a private key, found {found}")]
    NotAKey {
        /// Description of the block.
        found: String,
        /// Line of the block.
        line: usize,
    },
    /// The input has more than one key.
    #[error("the input holds {count} private keys, exactly one was expected")]
    Several {
        /// Number of keys.
        count: usize,
        /// Line of the second key.
        line: usize,
    },
    /// The key is truncated or damaged.
    #[error("the private key is damaged: {why}")]
    Damaged {
        /// Description of the damage.
        why: String,
        /// First line of the block.
        line: usize,
    },
    /// The key has the public key of another one beside it.
    #[error("the public key inside does not belong to the private key")]
    OtherPublicKey {
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
    /// The key is too weak.
    #[error("{found} is too weak: {why}")]
    Weak {
        /// Type and size of the key.
        found: String,
        /// The reason.
        why: &'static str,
    },
    /// The type of the key is not supported.
    #[error("keys of type {found} are not supported")]
    Unsupported {
        /// The type.
        found: String,
    },
    /// The key is for receiving encrypted messages only.
    #[error("keys of type {algorithm} cannot sign, they only receive encrypted messages")]
    CannotSign {
        /// The type.
        algorithm: KeyAlgorithm,
    },
    /// A word does not name a type of key.
    #[error("{found:?} is no type of key")]
    UnknownType {
        /// The word.
        found: String,
    },
    /// The key failed its self-test.
    #[error("the key failed its test: {why}")]
    TestFailed {
        /// The failed step.
        why: &'static str,
    },
}

impl KeyError {
    /// Returns the stable error code.
    pub fn code(&self) -> &'static str {
        match self {
            KeyError::NoKey | KeyError::TooLarge { .. } => "K001",
            KeyError::Encrypted { .. } => "K002",
            KeyError::Passphrase { .. } => "K011",
            KeyError::Weak { .. }
            | KeyError::Unsupported { .. }
            | KeyError::CannotSign { .. }
            | KeyError::UnknownType { .. } => "K003",
            KeyError::NotAKey { .. } => "K004",
            KeyError::Several { .. } => "K005",
            KeyError::Damaged { .. } | KeyError::OtherPublicKey { .. } | KeyError::Frame { .. } => {
                "K006"
            }
            KeyError::Foreign(_) => "K007",
            KeyError::TestFailed { .. } => "K008",
        }
    }

    /// Returns the line in the input, from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            KeyError::Encrypted { line, .. }
            | KeyError::Passphrase { line }
            | KeyError::NotAKey { line, .. }
            | KeyError::Several { line, .. }
            | KeyError::OtherPublicKey { line }
            | KeyError::Frame { line, .. }
            | KeyError::Damaged { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// Returns the text of that line, if it cannot be part of a key.
    pub fn text(&self) -> Option<&str> {
        match self {
            KeyError::Frame { text, .. } => text.as_deref(),
            _ => None,
        }
    }

    /// Returns advice for the user, with `INPUT` for the given file.
    pub fn hint(&self) -> &'static str {
        match self {
            KeyError::NoKey | KeyError::TooLarge { .. } => {
                "give the file that begins with -----BEGIN PRIVATE KEY-----"
            }
            KeyError::Passphrase { .. } => "openssl pkey -in INPUT    asks for it and tells",
            KeyError::Encrypted { is_old_form: false, .. } => {
                "add --passphrase-file FILE    or: openssl pkey -in INPUT -out INPUT.plain, then import INPUT.plain"
            }
            KeyError::Encrypted { .. } => {
                "openssl pkey -in INPUT -out INPUT.plain    then import INPUT.plain"
            }
            KeyError::NotAKey { found, .. } if found.starts_with("PKCS#7") => {
                "PKCS#7 never holds a private key: give the key's own file    certificates: openssl pkcs7 -in INPUT -print_certs"
            }
            KeyError::NotAKey { .. } => "did you swap the certificate and --key?",
            KeyError::Several { .. } => "keep one key in the file",
            KeyError::Damaged { .. } => "copy the file again, whole: openssl pkey -in INPUT -check",
            KeyError::OtherPublicKey { .. } => {
                "export the key anew where it was made, and compare its public key with the certificate's"
            }
            KeyError::Frame { .. } => {
                "each block begins with -----BEGIN NAME----- and ends with -----END NAME-----, five dashes on both sides"
            }
            KeyError::Foreign(found) => found.hint(),
            KeyError::Unsupported { found } if found == "OpenSSH" => {
                "cp INPUT INPUT.pem && ssh-keygen -p -m PKCS8 -f INPUT.pem    then give INPUT.pem"
            }
            KeyError::Weak { .. } | KeyError::Unsupported { .. } | KeyError::UnknownType { .. } => {
                "p256, p384, ed25519 and RSA of 2048 to 8192 bits are supported; key generate makes p256, p384, ed25519, rsa2048, rsa3072, rsa4096"
            }
            KeyError::CannotSign { .. } => {
                "key generate makes p256, p384, ed25519, rsa2048, rsa3072, rsa4096; x25519 is for accounts: conclave account key generate EMAIL --type x25519 --purpose encrypt"
            }
            KeyError::TestFailed { .. } => "make a new key: conclave key generate",
        }
    }
}

/// Private key of a supported type.
#[derive(Clone)]
pub struct PrivateKey {
    algorithm: KeyAlgorithm,
    pkcs8: Zeroizing<Vec<u8>>,
    public: Vec<u8>,
}

/// Random number generator on top of a function that fills bytes.
pub struct Filled<'a>(pub &'a mut dyn FnMut(&mut [u8]));

impl rsa::rand_core::TryRng for Filled<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        (self.0)(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        (self.0)(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        (self.0)(bytes);
        Ok(())
    }
}

impl rsa::rand_core::TryCryptoRng for Filled<'_> {}

impl PrivateKey {
    /// Generates a key from the randomness of `fill`. RSA takes up to seconds.
    pub fn generate(
        algorithm: KeyAlgorithm,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<PrivateKey, KeyError> {
        let made = |_| KeyError::TestFailed { why: "it cannot be encoded" };
        let mut chance = Filled(fill);
        let pkcs8 = match algorithm {
            KeyAlgorithm::EcP256 => {
                let key = p256::SecretKey::generate_from_rng(&mut chance);
                key.to_pkcs8_der().map_err(made)?.to_bytes()
            }
            KeyAlgorithm::EcP384 => {
                let key = p384::SecretKey::generate_from_rng(&mut chance);
                key.to_pkcs8_der().map_err(made)?.to_bytes()
            }
            KeyAlgorithm::Ed25519 | KeyAlgorithm::X25519 => {
                let mut secret = Zeroizing::new([0; 32]);
                (chance.0)(secret.as_mut_slice());
                read::curve25519_pkcs8(algorithm, &secret)
            }
            KeyAlgorithm::Rsa(bits) => {
                let key = rsa::PrivateKey::new(&mut chance, bits)
                    .map_err(|_| KeyError::Unsupported { found: algorithm.to_string() })?;
                key.to_pkcs8_der().map_err(made)?.to_bytes()
            }
        };
        PrivateKey::from_pkcs8_der(&pkcs8)
    }

    /// Parses a PKCS#8 key of a supported type.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<PrivateKey, KeyError> {
        read::pkcs8(der, 1)
    }

    /// Returns the key as PKCS#8 DER, in the form that ring and OpenSSL 3.0 both read.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Returns algorithm and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Returns the public key (SubjectPublicKeyInfo, DER).
    pub fn public_key_der(&self) -> &[u8] {
        &self.public
    }

    /// Returns whether every version of this program signs with it. Versions before 0.2.1 have ring
    /// alone, which takes RSA of 2048 to 4096 bits in steps of 512.
    pub fn is_signed_with_by_all(&self) -> bool {
        sign::is_of_ring(self)
    }

    /// Signs and verifies a test message, and for RSA also encrypts and decrypts one. For X25519,
    /// agrees on a secret with another key, from both sides.
    pub fn test(&self) -> Result<(), KeyError> {
        match self.algorithm {
            KeyAlgorithm::X25519 => exchange::test(self),
            _ => sign::test(self),
        }
    }
}

/// Wraps a public key, in ring's form, into a SubjectPublicKeyInfo.
fn spki(algorithm: KeyAlgorithm, public_key: &[u8]) -> Result<Vec<u8>, der::Error> {
    let (oid, parameters) = match algorithm {
        KeyAlgorithm::EcP256 => (EC, Some(der::Any::encode_from(&P256)?)),
        KeyAlgorithm::EcP384 => (EC, Some(der::Any::encode_from(&P384)?)),
        KeyAlgorithm::Ed25519 => (ED25519, None),
        KeyAlgorithm::X25519 => (X25519, None),
        KeyAlgorithm::Rsa(_) => (RSA, Some(der::Any::null())),
    };
    SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned { oid, parameters },
        subject_public_key: BitString::from_bytes(public_key)?,
    }
    .to_der()
}

/// Returns whether `signature` is that of [`PrivateKey::sign`] over `message`, by the private half
/// of this public key (SubjectPublicKeyInfo, DER).
pub fn is_signed(spki_der: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Some(algorithm) = public_key_algorithm(spki_der) else { return false };
    SubjectPublicKeyInfoOwned::from_der(spki_der).is_ok_and(|spki| {
        sign::is_signed(algorithm, spki.subject_public_key.raw_bytes(), message, signature)
    })
}

/// Returns algorithm and size of a public key (SubjectPublicKeyInfo, DER); `None` if unsupported.
pub fn public_key_algorithm(spki_der: &[u8]) -> Option<KeyAlgorithm> {
    let spki = SubjectPublicKeyInfoOwned::from_der(spki_der).ok()?;
    let curve = |any: &der::Any| any.decode_as::<ObjectIdentifier>().ok();
    match spki.algorithm.oid {
        ED25519 => Some(KeyAlgorithm::Ed25519),
        X25519 => Some(KeyAlgorithm::X25519),
        EC => match spki.algorithm.parameters.as_ref().and_then(curve)? {
            P256 => Some(KeyAlgorithm::EcP256),
            P384 => Some(KeyAlgorithm::EcP384),
            _ => None,
        },
        RSA => {
            let key = rsa::pkcs1::RsaPublicKey::<der::asn1::UintRef<'_>>::from_der(
                spki.subject_public_key.raw_bytes(),
            );
            let modulus = key.ok()?.modulus.as_bytes().to_vec();
            let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
            let bits = modulus.len() * 8 - usize::try_from(leading).ok()?;
            Some(KeyAlgorithm::Rsa(bits))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
