//! Digests of a content that streams.

use std::io;

use aws_lc_rs::digest::{self, Algorithm, Context, Digest};
use der::oid::ObjectIdentifier;

/// Hash function of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hash {
    /// SHA-1, for reading old messages only.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

const ALL: [Hash; 4] = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

impl Hash {
    /// Returns its name in `micalg` (RFC 8551 §3.5.3.2).
    pub fn micalg(self) -> &'static str {
        match self {
            Hash::Sha1 => "sha-1",
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        }
    }

    /// Returns its identifier (RFC 5754 §2).
    pub(super) fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Hash::Sha1 => "1.3.14.3.2.26",
            Hash::Sha256 => "2.16.840.1.101.3.4.2.1",
            Hash::Sha384 => "2.16.840.1.101.3.4.2.2",
            Hash::Sha512 => "2.16.840.1.101.3.4.2.3",
        })
    }

    pub(super) fn from_oid(oid: ObjectIdentifier) -> Option<Hash> {
        ALL.into_iter().find(|hash| hash.oid() == oid)
    }

    pub(super) fn algorithm(self) -> &'static Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        }
    }
}

/// Digests of one content by several hash functions. Write the content to it.
#[derive(Clone)]
pub struct Digests {
    contexts: Vec<(Hash, Context)>,
}

impl Digests {
    /// Makes the digests by these functions.
    pub fn of(hashes: &[Hash]) -> Digests {
        let context = |hash: &Hash| (*hash, Context::new(hash.algorithm()));
        Digests { contexts: hashes.iter().map(context).collect() }
    }

    /// Makes the digests for every function that a signature may have. A reader knows which only
    /// after the content, or by the word of the sender.
    pub fn for_reading() -> Digests {
        Digests::of(&ALL)
    }

    /// Returns the digest of what was written so far; `None` for a function that was not asked for.
    pub(super) fn digest(&self, hash: Hash) -> Option<Digest> {
        let found = self.contexts.iter().find(|(own, _)| *own == hash)?;
        Some(found.1.clone().finish())
    }
}

impl io::Write for Digests {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.contexts.iter_mut().for_each(|(_, context)| context.update(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
