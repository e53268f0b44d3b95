//! Encryption under a passphrase: PBES2 (RFC 8018 §6.2) and the schemes of RFC 7292 appendix C.

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{
        BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
        KeyInit, block_padding::Pkcs7,
    },
};
use der::asn1::OctetStringRef;
use des::{TdesEde2, TdesEde3};
use rc2::Rc2;
use ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::{
    Pkcs12Error,
    derive::{Cost, Passphrase, Purpose, Work, pbkdf2, pkcs12},
    syntax::{
        AES_128_CBC, AES_192_CBC, AES_256_CBC, DES_EDE3_CBC, PBES2, Pbes2Parameters,
        Pkcs12Parameters, SHA1_3DES, SHA1_3DES_TWO_KEYS, SHA1_RC2_40, SHA1_RC2_128,
    },
};

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    TripleDesOfTwoKeys,
    Rc2Of128Bits,
    Rc2Of40Bits,
}

impl Cipher {
    fn key_bytes(self) -> usize {
        match self {
            Cipher::Aes128 | Cipher::TripleDesOfTwoKeys | Cipher::Rc2Of128Bits => 16,
            Cipher::Aes192 | Cipher::TripleDes => 24,
            Cipher::Aes256 => 32,
            Cipher::Rc2Of40Bits => 5,
        }
    }
}

/// A cipher with the key and the initialization vector of one ciphertext.
pub(super) struct Keyed {
    cipher: Cipher,
    key: Zeroizing<Vec<u8>>,
    iv: Zeroizing<Vec<u8>>,
}

impl Keyed {
    /// Derives the key for the algorithm.
    pub(super) fn derive(
        algorithm: AlgorithmIdentifierRef<'_>,
        passphrase: &Passphrase<'_>,
        work: &mut Work,
    ) -> Result<Keyed, Pkcs12Error> {
        let cipher = match algorithm.oid {
            PBES2 => return Keyed::of_pbes2(algorithm, passphrase.utf8, work),
            SHA1_3DES => Cipher::TripleDes,
            SHA1_3DES_TWO_KEYS => Cipher::TripleDesOfTwoKeys,
            SHA1_RC2_128 => Cipher::Rc2Of128Bits,
            SHA1_RC2_40 => Cipher::Rc2Of40Bits,
            other => return Err(unsupported(other)),
        };
        let parameters: Pkcs12Parameters<'_> =
            algorithm.parameters.and_then(|found| found.decode_as().ok()).ok_or(DAMAGED)?;
        let cost = Cost { salt: parameters.salt.as_bytes(), iterations: parameters.iterations };
        let mut derived = |purpose, length| {
            pkcs12(&SHA1_FOR_LEGACY_USE_ONLY, purpose, &passphrase.bmp, cost, length, work)
        };
        let key = derived(Purpose::Encryption, cipher.key_bytes())?;
        // All of them have blocks of 8 bytes.
        Ok(Keyed { cipher, key, iv: derived(Purpose::Iv, 8)? })
    }

    fn of_pbes2(
        algorithm: AlgorithmIdentifierRef<'_>,
        passphrase: &[u8],
        work: &mut Work,
    ) -> Result<Keyed, Pkcs12Error> {
        let parameters: Pbes2Parameters<'_> =
            algorithm.parameters.and_then(|found| found.decode_as().ok()).ok_or(DAMAGED)?;
        let cipher = match parameters.scheme.oid {
            AES_128_CBC => Cipher::Aes128,
            AES_192_CBC => Cipher::Aes192,
            AES_256_CBC => Cipher::Aes256,
            DES_EDE3_CBC => Cipher::TripleDes,
            other => return Err(unsupported(other)),
        };
        let iv = parameters.scheme.parameters;
        let iv: &OctetStringRef = iv.and_then(|found| found.decode_as().ok()).ok_or(DAMAGED)?;
        let key = pbkdf2(parameters.kdf, passphrase, Some(cipher.key_bytes()), work)?;
        Ok(Keyed { cipher, key, iv: Zeroizing::new(iv.as_bytes().to_vec()) })
    }

    /// Decrypts; `None` if the padding is wrong, as it nearly always is under another passphrase.
    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut data = Zeroizing::new(ciphertext.to_vec());
        let length = match self.cipher {
            Cipher::Aes128 => self.decrypt_with::<Aes128>(&mut data),
            Cipher::Aes192 => self.decrypt_with::<Aes192>(&mut data),
            Cipher::Aes256 => self.decrypt_with::<Aes256>(&mut data),
            Cipher::TripleDes => self.decrypt_with::<TdesEde3>(&mut data),
            Cipher::TripleDesOfTwoKeys => self.decrypt_with::<TdesEde2>(&mut data),
            Cipher::Rc2Of128Bits | Cipher::Rc2Of40Bits => self.decrypt_with::<Rc2>(&mut data),
        }?;
        data.truncate(length);
        Some(data)
    }

    fn decrypt_with<C: BlockCipherDecrypt + KeyInit>(&self, data: &mut [u8]) -> Option<usize> {
        let cipher = C::new_from_slice(&self.key).ok()?;
        let mode = cbc::Decryptor::inner_iv_slice_init(cipher, &self.iv).ok()?;
        Some(mode.decrypt_padded::<Pkcs7>(data).ok()?.len())
    }

    /// Encrypts with one of the ciphers that are written; `None` for the others.
    pub(super) fn encrypt(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        match self.cipher {
            Cipher::Aes256 => self.encrypt_with::<Aes256>(plaintext),
            Cipher::TripleDes => self.encrypt_with::<TdesEde3>(plaintext),
            _ => None,
        }
    }

    fn encrypt_with<C: BlockCipherEncrypt + KeyInit>(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let cipher = C::new_from_slice(&self.key).ok()?;
        let mode = cbc::Encryptor::inner_iv_slice_init(cipher, &self.iv).ok()?;
        Some(mode.encrypt_padded_vec::<Pkcs7>(plaintext))
    }
}

const DAMAGED: Pkcs12Error = Pkcs12Error::Damaged { place: "the parameters of an encryption" };

fn unsupported(algorithm: x509_cert::spki::ObjectIdentifier) -> Pkcs12Error {
    Pkcs12Error::Unsupported { what: format!("the encryption {algorithm}") }
}
