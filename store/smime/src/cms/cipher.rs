//! Content encryption in pieces: AES in CBC and GCM (RFC 3565, RFC 5084), and 3DES for reading.

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{
        Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt,
        BlockSizeUser, KeyInit, KeyIvInit, StreamCipher, array::ArraySize, consts::U16,
    },
};
use der::{Decode, Encode, Sequence, asn1::OctetString, oid::ObjectIdentifier};
use ghash::{GHash, universal_hash::UniversalHash};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::algorithm;
use crate::ber::{OCTET_STRING, SEQUENCE, tlv};

/// Length of a GCM nonce (RFC 5084 §3.2).
const NONCE_BYTES: usize = 12;
/// Length of the tag that is written.
const TAG_BYTES: usize = 16;

/// Algorithm of content encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cipher {
    /// AES-128 in CBC mode.
    Aes128Cbc,
    /// AES-192 in CBC mode.
    Aes192Cbc,
    /// AES-256 in CBC mode; the one that every program of the last twenty years reads.
    Aes256Cbc,
    /// AES-128 in GCM mode, which also protects the content from changes (AuthEnvelopedData).
    Aes128Gcm,
    /// AES-256 in GCM mode.
    Aes256Gcm,
    /// Triple DES in CBC mode, for reading old messages only.
    TripleDesCbc,
}

const ALL: [(Cipher, &str); 6] = [
    (Cipher::Aes128Cbc, "2.16.840.1.101.3.4.1.2"),
    (Cipher::Aes192Cbc, "2.16.840.1.101.3.4.1.22"),
    (Cipher::Aes256Cbc, "2.16.840.1.101.3.4.1.42"),
    (Cipher::Aes128Gcm, "2.16.840.1.101.3.4.1.6"),
    (Cipher::Aes256Gcm, "2.16.840.1.101.3.4.1.46"),
    (Cipher::TripleDesCbc, "1.2.840.113549.3.7"),
];

/// GCMParameters (RFC 5084 §3.2).
#[derive(Sequence)]
struct GcmParameters {
    nonce: OctetString,
    #[asn1(default = "tag_bytes_default")]
    tag_bytes: u8,
}

fn tag_bytes_default() -> u8 {
    12
}

impl Cipher {
    /// Those that are written, and told to others, the preferred one first.
    pub(super) const WRITTEN: [Cipher; 4] =
        [Cipher::Aes256Gcm, Cipher::Aes128Gcm, Cipher::Aes256Cbc, Cipher::Aes128Cbc];

    pub(super) fn from_oid(oid: ObjectIdentifier) -> Option<Cipher> {
        ALL.iter().find(|(cipher, _)| cipher.oid() == oid).map(|(cipher, _)| *cipher)
    }

    pub(super) fn oid(self) -> ObjectIdentifier {
        let name = ALL.iter().find(|(cipher, _)| *cipher == self).map_or("0.0", |(_, name)| name);
        ObjectIdentifier::new_unwrap(name)
    }

    /// Returns the length of a key in bytes.
    pub(super) fn key_bytes(self) -> usize {
        match self {
            Cipher::Aes128Cbc | Cipher::Aes128Gcm => 16,
            Cipher::Aes192Cbc | Cipher::TripleDesCbc => 24,
            Cipher::Aes256Cbc | Cipher::Aes256Gcm => 32,
        }
    }

    /// Returns whether it protects the content from changes.
    pub fn is_authenticated(self) -> bool {
        matches!(self, Cipher::Aes128Gcm | Cipher::Aes256Gcm)
    }

    /// Returns the length of its initialization vector or nonce.
    pub(super) fn start_bytes(self) -> usize {
        match self {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => NONCE_BYTES,
            Cipher::TripleDesCbc => 8,
            _ => 16,
        }
    }

    /// Returns the length of a block, to which CBC pads.
    pub(super) fn block_bytes(self) -> usize {
        if self == Cipher::TripleDesCbc { 8 } else { 16 }
    }

    /// Encodes the AlgorithmIdentifier with this initialization vector or nonce.
    pub(super) fn identifier(self, start: &[u8]) -> Vec<u8> {
        let start = tlv(OCTET_STRING, &[start]);
        match self.is_authenticated() {
            true => algorithm(self.oid(), &tlv(SEQUENCE, &[&start, &[2, 1, 16]])),
            false => algorithm(self.oid(), &start),
        }
    }

    /// Reads an AlgorithmIdentifier: cipher, initialization vector or nonce, and length of the tag.
    pub(super) fn read(identifier: &AlgorithmIdentifierOwned) -> Option<(Cipher, Vec<u8>, usize)> {
        let cipher = Cipher::from_oid(identifier.oid)?;
        let parameters = identifier.parameters.as_ref()?.to_der().ok()?;
        let (start, tag_bytes) = match cipher.is_authenticated() {
            true => {
                let read = GcmParameters::from_der(&parameters).ok()?;
                (read.nonce, usize::from(read.tag_bytes))
            }
            false => (OctetString::from_der(&parameters).ok()?, TAG_BYTES),
        };
        let start = start.as_bytes().to_vec();
        let is_valid = start.len() == cipher.start_bytes() && (12..=TAG_BYTES).contains(&tag_bytes);
        is_valid.then_some((cipher, start, tag_bytes))
    }
}

/// Encryption or decryption of the next bytes in place: for CBC whole blocks, for GCM any.
pub(super) type Step = Box<dyn FnMut(&mut [u8]) + Send>;

/// Returns the encryption of a cipher that is written; `None` for a key or start of another length.
pub(super) fn encryption(cipher: Cipher, key: &[u8], start: &[u8]) -> Option<Step> {
    match cipher {
        Cipher::Aes128Cbc => cbc_encryption::<Aes128>(key, start),
        Cipher::Aes192Cbc => cbc_encryption::<Aes192>(key, start),
        Cipher::Aes256Cbc => cbc_encryption::<Aes256>(key, start),
        Cipher::Aes128Gcm | Cipher::Aes256Gcm => Some(keystream(cipher, key, start)?.0),
        Cipher::TripleDesCbc => None,
    }
}

/// Returns the decryption of a cipher; `None` for a key or start of another length.
pub(super) fn decryption(cipher: Cipher, key: &[u8], start: &[u8]) -> Option<Step> {
    match cipher {
        Cipher::Aes128Cbc => cbc_decryption::<Aes128>(key, start),
        Cipher::Aes192Cbc => cbc_decryption::<Aes192>(key, start),
        Cipher::Aes256Cbc => cbc_decryption::<Aes256>(key, start),
        Cipher::Aes128Gcm | Cipher::Aes256Gcm => Some(keystream(cipher, key, start)?.0),
        Cipher::TripleDesCbc => cbc_decryption::<des::TdesEde3>(key, start),
    }
}

fn cbc_encryption<C>(key: &[u8], start: &[u8]) -> Option<Step>
where
    C: BlockCipherEncrypt + KeyInit + Send + 'static,
{
    let mut mode = cbc::Encryptor::<C>::new_from_slices(key, start).ok()?;
    Some(Box::new(move |bytes| mode.encrypt_blocks(blocks(bytes))))
}

fn cbc_decryption<C>(key: &[u8], start: &[u8]) -> Option<Step>
where
    C: BlockCipherDecrypt + KeyInit + Send + 'static,
{
    let mut mode = cbc::Decryptor::<C>::new_from_slices(key, start).ok()?;
    Some(Box::new(move |bytes| mode.decrypt_blocks(blocks(bytes))))
}

fn blocks<N: ArraySize>(bytes: &mut [u8]) -> &mut [Array<u8, N>] {
    Array::slice_as_chunks_mut(bytes).0
}

/// Returns the key stream of GCM for the content, and the mask of the tag before it (NIST SP
/// 800-38D §7.1).
fn keystream(cipher: Cipher, key: &[u8], nonce: &[u8]) -> Option<(Step, [u8; TAG_BYTES])> {
    fn of<C>(key: &[u8], start: &[u8]) -> Option<(Step, [u8; TAG_BYTES])>
    where
        C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + 'static,
    {
        let mut stream = ctr::Ctr32BE::<C>::new_from_slices(key, start).ok()?;
        let mut mask = [0; TAG_BYTES];
        stream.apply_keystream(&mut mask);
        Some((Box::new(move |bytes| stream.apply_keystream(bytes)), mask))
    }
    let start = [nonce, &[0, 0, 0, 1]].concat();
    match cipher {
        Cipher::Aes128Gcm => of::<Aes128>(key, &start),
        Cipher::Aes256Gcm => of::<Aes256>(key, &start),
        _ => None,
    }
}

/// Tag of GCM over a ciphertext that streams (NIST SP 800-38D §7.1). The authenticated attributes
/// come first.
pub(super) struct Tag {
    hash: GHash,
    held: Vec<u8>,
    attributes_bytes: u64,
    bytes: u64,
    mask: [u8; TAG_BYTES],
}

impl Tag {
    pub(super) fn new(cipher: Cipher, key: &[u8], nonce: &[u8], attributes: &[u8]) -> Option<Tag> {
        let (_, mask) = keystream(cipher, key, nonce)?;
        let mut subkey = Array::default();
        match cipher {
            Cipher::Aes128Gcm => Aes128::new_from_slice(key).ok()?.encrypt_block(&mut subkey),
            _ => Aes256::new_from_slice(key).ok()?.encrypt_block(&mut subkey),
        }
        let mut hash = GHash::new(&subkey);
        hash.update_padded(attributes);
        let attributes_bytes = u64::try_from(attributes.len()).ok()?;
        Some(Tag { hash, held: Vec::new(), attributes_bytes, bytes: 0, mask })
    }

    /// Adds the next part of the ciphertext. Returns how long it is so far.
    pub(super) fn update(&mut self, mut part: &[u8]) -> u64 {
        self.bytes = self.bytes.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        if !self.held.is_empty() {
            let (now, rest) = part.split_at((16 - self.held.len()).min(part.len()));
            self.held.extend_from_slice(now);
            part = rest;
            if self.held.len() == 16 {
                self.hash.update_padded(&self.held);
                self.held.clear();
            }
        }
        let (whole, rest) = part.split_at(part.len() - part.len() % 16);
        self.hash.update_padded(whole);
        self.held.extend_from_slice(rest);
        self.bytes
    }

    pub(super) fn finish(mut self) -> [u8; TAG_BYTES] {
        self.hash.update_padded(&self.held);
        let bits = |bytes: u64| bytes.saturating_mul(8).to_be_bytes();
        self.hash.update_padded(&[bits(self.attributes_bytes), bits(self.bytes)].concat());
        let mut tag = self.mask;
        let hash = self.hash.finalize();
        tag.iter_mut().zip(hash.iter()).for_each(|(tag, hash)| *tag ^= hash);
        tag
    }
}

#[cfg(test)]
mod tests {
    use ring::aead;

    use super::*;

    #[test]
    fn gcm_in_pieces_is_that_of_another_library() {
        let (key, nonce, attributes) = ([3; 32], [5; 12], b"attributes of some length");
        let plain: Vec<u8> = (0..1000_u32).map(|n| n.to_be_bytes()[3]).collect();
        let other = aead::UnboundKey::new(&aead::AES_256_GCM, &key).unwrap();
        let (other, mut expected) = (aead::LessSafeKey::new(other), plain.clone());
        let aad = aead::Aad::from(attributes);
        other
            .seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aad, &mut expected)
            .unwrap();
        for size in [1, 7, 16, 17, 100, 1000] {
            let mut step = encryption(Cipher::Aes256Gcm, &key, &nonce).unwrap();
            let mut tag = Tag::new(Cipher::Aes256Gcm, &key, &nonce, attributes).unwrap();
            let mut made = plain.clone();
            for piece in made.chunks_mut(size) {
                step(piece);
                tag.update(piece);
            }
            made.extend(tag.finish());
            assert_eq!(made, expected, "{size}");
        }
    }
}
