//! Secrets for the owner of a key: RSA encryption (RFC 8017 §7), ECDH (SEC1 §3.3.1) and X25519
//! (RFC 7748 §6.1).

use ::pkcs8::DecodePrivateKey;
use aws_lc_rs::agreement;
use der::Decode;
use p256::elliptic_curve::ecdh::diffie_hellman;
use rsa::{Oaep, Pkcs1v15Encrypt, sha2::Sha256, traits::PublicKeyParts};
use sha1::Sha1;
use x509_cert::spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

use super::{Filled, KeyAlgorithm, KeyError, PrivateKey, public_key_algorithm};
use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};

/// Hash function inside RSAES-OAEP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OaepHash {
    /// SHA-1, the default of RFC 8017, for reading.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// Padding of RSA encryption (RFC 8017 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RsaPadding {
    /// RSAES-PKCS1-v1_5.
    Pkcs1,
    /// RSAES-OAEP with an empty label.
    Oaep {
        /// Hash of the label.
        hash: OaepHash,
        /// Hash of MGF1.
        mask: OaepHash,
    },
}

fn unsupported(found: impl ToString) -> KeyError {
    KeyError::Unsupported { found: found.to_string() }
}

/// Encrypts a short secret to an RSA public key (SubjectPublicKeyInfo, DER) of 2048 to 8192 bits.
/// PKCS#1 v1.5 has room for 11 bytes less than the modulus, OAEP for 66 bytes less. Only SHA-256 is
/// written for OAEP.
pub fn encrypt(
    public_key_der: &[u8],
    padding: RsaPadding,
    secret: &[u8],
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<u8>, KeyError> {
    const WRITTEN: RsaPadding = RsaPadding::Oaep { hash: OaepHash::Sha256, mask: OaepHash::Sha256 };
    let bits = match public_key_algorithm(public_key_der) {
        Some(KeyAlgorithm::Rsa(bits)) => bits,
        _ => return Err(unsupported("other than RSA for encryption")),
    };
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(unsupported(KeyAlgorithm::Rsa(bits)));
    }
    let spki = SubjectPublicKeyInfoRef::from_der(public_key_der).map_err(|_| unsupported("RSA"))?;
    let public: rsa::PublicKey =
        rsa::pkcs1::DecodeRsaPublicKey::from_pkcs1_der(spki.subject_public_key.raw_bytes())
            .map_err(|_| unsupported("RSA with impossible numbers"))?;
    let mut chance = Filled(fill);
    let encrypted = match padding {
        RsaPadding::Pkcs1 => public.encrypt(&mut chance, Pkcs1v15Encrypt, secret),
        WRITTEN => public.encrypt(&mut chance, Oaep::<Sha256>::new(), secret),
        RsaPadding::Oaep { .. } => return Err(unsupported("RSA with SHA-1 in OAEP")),
    };
    encrypted.map_err(|_| KeyError::TestFailed { why: "it does not encrypt" })
}

impl PrivateKey {
    /// Decrypts a secret of `substitute.len()` bytes. Returns the substitute, which the caller fills
    /// with randomness, where the padding or the length is wrong: an error would answer the
    /// questions of a Bleichenbacher attack (RFC 3218 §2.3). Fails only for a key other than RSA.
    pub fn decrypt(
        &self,
        padding: RsaPadding,
        encrypted: &[u8],
        substitute: Zeroizing<Vec<u8>>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let private = match self.algorithm {
            KeyAlgorithm::Rsa(_) => rsa::PrivateKey::from_pkcs8_der(&self.pkcs8),
            other => return Err(unsupported(format!("{other} for decryption"))),
        };
        let private = private.map_err(|_| KeyError::TestFailed { why: "it cannot be read" })?;
        // Some programs drop zeros at the front of the number.
        let Some(zeros) = private.size().checked_sub(encrypted.len()) else {
            return Ok(substitute);
        };
        let whole = [&vec![0; zeros], encrypted].concat();
        let (rng, whole) = (&mut Filled(fill), whole.as_slice());
        // PKCS#1 v1.5 in this library itself returns a pseudorandom message for a wrong padding.
        use OaepHash::{Sha1 as S1, Sha256 as S256};
        let opened = match padding {
            RsaPadding::Pkcs1 => private.decrypt_blinded(rng, Pkcs1v15Encrypt, whole),
            RsaPadding::Oaep { hash: S256, mask: S256 } => {
                private.decrypt_blinded(rng, Oaep::<Sha256>::new(), whole)
            }
            RsaPadding::Oaep { hash: S1, mask: S1 } => {
                private.decrypt_blinded(rng, Oaep::<Sha1>::new(), whole)
            }
            RsaPadding::Oaep { hash: S256, mask: S1 } => {
                private.decrypt_blinded(rng, Oaep::<Sha256, Sha1>::new_with_mgf_hash(), whole)
            }
            RsaPadding::Oaep { hash: S1, mask: S256 } => {
                private.decrypt_blinded(rng, Oaep::<Sha1, Sha256>::new_with_mgf_hash(), whole)
            }
        };
        let opened = opened.map(Zeroizing::new).ok();
        Ok(opened.filter(|secret| secret.len() == substitute.len()).unwrap_or(substitute))
    }

    /// Returns the secret shared with the owner of `point`, a public key of the same curve (SEC1
    /// §2.3.3, RFC 7748 §5): the x coordinate, 32 or 48 bytes. A point of X25519 with which every
    /// key would share zeros is refused (RFC 7748 §6.1).
    pub fn agree(&self, point: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let unread = || KeyError::TestFailed { why: "it cannot be read" };
        let foreign = |_| unsupported("EC of another curve, or with an invalid point,");
        let refused = || unsupported("other than X25519, or with an invalid point,");
        match self.algorithm {
            KeyAlgorithm::EcP256 => {
                let own = p256::SecretKey::from_pkcs8_der(&self.pkcs8).map_err(|_| unread())?;
                let peer = p256::PublicKey::from_sec1_bytes(point).map_err(foreign)?;
                let shared = diffie_hellman(own.to_nonzero_scalar(), peer.as_affine());
                Ok(Zeroizing::new(shared.raw_secret_bytes().to_vec()))
            }
            KeyAlgorithm::EcP384 => {
                let own = p384::SecretKey::from_pkcs8_der(&self.pkcs8).map_err(|_| unread())?;
                let peer = p384::PublicKey::from_sec1_bytes(point).map_err(foreign)?;
                let shared = diffie_hellman(own.to_nonzero_scalar(), peer.as_affine());
                Ok(Zeroizing::new(shared.raw_secret_bytes().to_vec()))
            }
            KeyAlgorithm::X25519 => {
                let own = x25519(&self.pkcs8).ok_or_else(unread)?;
                let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, point);
                agreement::agree(&own, peer, refused(), |shared| Ok(shared.to_vec().into()))
            }
            other => Err(unsupported(format!("{other} for key agreement"))),
        }
    }
}

/// Reads an X25519 key from the form that [`super::read::curve25519_pkcs8`] writes. AWS-LC, since
/// ring agrees with keys that it has just made alone.
fn x25519(pkcs8: &[u8]) -> Option<agreement::PrivateKey> {
    let secret = pkcs8.last_chunk::<32>()?;
    agreement::PrivateKey::from_private_key(&agreement::X25519, secret).ok()
}

/// Returns the public key of an X25519 key.
pub(super) fn public_key(pkcs8: &[u8]) -> Option<Vec<u8>> {
    Some(x25519(pkcs8)?.compute_public_key().ok()?.as_ref().to_vec())
}

/// Agrees on a secret with a known key, from both sides.
pub(super) fn test(key: &PrivateKey) -> Result<(), KeyError> {
    let point = |key: &PrivateKey| public_key(&key.pkcs8);
    let failed = || KeyError::TestFailed { why: "what it agrees on is not what its peer does" };
    // The secret need not be secret, so the peer need not be random.
    let peer = PrivateKey::generate(key.algorithm, &mut |bytes| bytes.fill(0x55))?;
    let (own, theirs) = point(key).zip(point(&peer)).ok_or_else(failed)?;
    if key.agree(&theirs)? == peer.agree(&own)? { Ok(()) } else { Err(failed()) }
}

#[cfg(test)]
mod tests {
    use ring::rand::{SecureRandom, SystemRandom};

    use super::*;
    use crate::key::tests::openssl;

    fn chance(bytes: &mut [u8]) {
        SystemRandom::new().fill(bytes).unwrap();
    }

    #[test]
    fn a_secret_comes_back_under_each_padding_and_a_wrong_one_is_the_substitute() {
        let key = PrivateKey::generate(KeyAlgorithm::Rsa(2048), &mut chance).unwrap();
        let oaep = RsaPadding::Oaep { hash: OaepHash::Sha256, mask: OaepHash::Sha256 };
        let substitute = || Zeroizing::new(vec![9; 32]);
        for padding in [RsaPadding::Pkcs1, oaep] {
            let sent = encrypt(key.public_key_der(), padding, &[5; 32], &mut chance).unwrap();
            let got = key.decrypt(padding, &sent, substitute(), &mut chance).unwrap();
            assert_eq!(got.as_slice(), [5; 32]);
            let (mut bad, shorter) = (sent.clone(), Zeroizing::new(vec![9; 16]));
            bad[100] ^= 1;
            let got = key.decrypt(padding, &bad, substitute(), &mut chance).unwrap();
            assert!(got.len() == 32 && got.as_slice() != [5; 32]);
            let got = key.decrypt(padding, &sent, shorter, &mut chance).unwrap();
            assert_eq!(got.as_slice(), [9; 16]);
            let got = key.decrypt(padding, &[1; 300], substitute(), &mut chance).unwrap();
            assert_eq!(got.as_slice(), [9; 32]);
        }
    }

    #[test]
    fn openssl_encrypts_with_each_hash_of_oaep() {
        let key = PrivateKey::generate(KeyAlgorithm::Rsa(2048), &mut chance).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("public.der");
        std::fs::write(&file, key.public_key_der()).unwrap();
        let (one, two) = (OaepHash::Sha1, OaepHash::Sha256);
        for (hash, mask) in [(one, one), (one, two), (two, one), (two, two)] {
            let word = |hash| if hash == OaepHash::Sha1 { "sha1" } else { "sha256" };
            let (digest, mgf) =
                (format!("rsa_oaep_md:{}", word(hash)), format!("rsa_mgf1_md:{}", word(mask)));
            let arguments = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey"];
            let options = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", &digest, "-pkeyopt"];
            let all = [&arguments[..], &[file.to_str().unwrap()], &options, &[&mgf]].concat();
            let Some(sent) = openssl(&all, &[7; 16]) else { return };
            let (padding, zeros) = (RsaPadding::Oaep { hash, mask }, Zeroizing::new(vec![0; 16]));
            let got = key.decrypt(padding, &sent, zeros, &mut chance).unwrap();
            assert_eq!(got.as_slice(), [7; 16], "{hash:?} {mask:?}");
        }
    }

    #[test]
    fn two_keys_of_a_curve_agree_and_no_others() {
        let make = |algorithm| PrivateKey::generate(algorithm, &mut chance).unwrap();
        let point = |key: &PrivateKey| {
            let spki = SubjectPublicKeyInfoRef::from_der(key.public_key_der()).unwrap();
            spki.subject_public_key.raw_bytes().to_vec()
        };
        for (algorithm, bytes) in [(KeyAlgorithm::EcP256, 32), (KeyAlgorithm::EcP384, 48)] {
            let (a, b) = (make(algorithm), make(algorithm));
            let shared = a.agree(&point(&b)).unwrap();
            assert_eq!((shared.len(), &shared), (bytes, &b.agree(&point(&a)).unwrap()));
            assert!(a.agree(&point(&make(KeyAlgorithm::Ed25519))).is_err());
        }
        assert!(make(KeyAlgorithm::EcP256).agree(&point(&make(KeyAlgorithm::EcP384))).is_err());
        assert!(make(KeyAlgorithm::X25519).agree(&point(&make(KeyAlgorithm::EcP256))).is_err());
        assert!(make(KeyAlgorithm::Ed25519).agree(&[4; 65]).is_err());
    }
    fn bytes(hex: &str) -> [u8; 32] {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(byte)
    }

    fn x25519_key(secret: &str) -> PrivateKey {
        let der = crate::key::read::curve25519_pkcs8(KeyAlgorithm::X25519, &bytes(secret));
        PrivateKey::from_pkcs8_der(&der).unwrap()
    }

    #[test]
    fn x25519_agrees_as_rfc_7748_does() {
        // RFC 7748 §6.1.
        let alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
        let bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
        let public = [
            bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
            bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
        ];
        let shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        let (alice, bob) = (x25519_key(alice), x25519_key(bob));
        assert!(alice.public_key_der().ends_with(&public[0]));
        assert!(bob.public_key_der().ends_with(&public[1]));
        assert_eq!(alice.agree(&public[1]).unwrap().as_slice(), shared);
        assert_eq!(bob.agree(&public[0]).unwrap().as_slice(), shared);
    }

    #[test]
    fn points_with_which_every_x25519_key_shares_zeros_are_refused() {
        let key = PrivateKey::generate(KeyAlgorithm::X25519, &mut chance).unwrap();
        // The points of order 1, 2, 4 and 8, and those of their encodings above the prime.
        for point in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            assert!(key.agree(&bytes(point)).is_err(), "{point}");
        }
        assert!(key.agree(&[9; 31]).is_err() && key.agree(&[9; 33]).is_err());
        assert!(key.agree(&bytes(&["09", &"00".repeat(31)].concat())).is_ok());
    }

    #[test]
    fn openssl_derives_the_same_secret_of_x25519() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            std::fs::write(dir.path().join(name), content).unwrap();
            dir.path().join(name).to_str().unwrap().to_owned()
        };
        let make = || PrivateKey::generate(KeyAlgorithm::X25519, &mut chance).unwrap();
        let (own, other) = (make(), make());
        let key = file("key", own.pkcs8_der());
        let peer = file("peer", other.public_key_der());
        let arguments = ["pkeyutl", "-derive", "-keyform", "DER", "-inkey", &key];
        let arguments = [&arguments[..], &["-peerform", "DER", "-peerkey", &peer]].concat();
        let Some(shared) = openssl(&arguments, b"") else { return };
        assert!(other.agree(&own.public_key_der()[12..]).unwrap().as_slice() == shared);
    }
}
