//! Private keys of accounts, locked under their owners' passphrases or sealed for recovery.
//!
//! A locked key says itself how it is opened (Argon2id, RFC 9106) and opens only in its
//! [`Context`], so that one account's key is never taken for another's. The formats are frozen;
//! samples are in `tests/fixtures/smime`.
//!
//! ```text
//! LockedKey ::= SEQUENCE { version INTEGER (1), body SEQUENCE {
//!     memoryKib INTEGER, passes INTEGER, lanes INTEGER, salt OCTET STRING (SIZE (16)),
//!     check OCTET STRING (SIZE (32)), nonce OCTET STRING (SIZE (12)), ciphertext OCTET STRING } }
//! ```
//!
//! `Argon2id(passphrase, salt)` makes 64 bytes: the key of AES-256-GCM, then `check`. The latter
//! tells a wrong passphrase from a damaged ciphertext, and binds the ciphertext to one key, which
//! GCM alone does not. The plaintext is PKCS#8; the associated data is [`Context`] in DER.
//!
//! A passphrase is taken as the UTF-8 that was typed, without normalization: normalizing would tie
//! stored keys to a version of Unicode's tables. An owner who types `é` on one device as a single
//! character and on another one as two therefore has two passphrases.
//!
//! ```
//! use conclave_pki::key::{KeyAlgorithm, PrivateKey};
//! use conclave_smime::lock::{Context, Cost, LockError, lock, unlock};
//!
//! let mut fill = |bytes: &mut [u8]| bytes.fill(7); // a real caller has real randomness
//! let key = PrivateKey::generate(KeyAlgorithm::Ed25519, &mut fill).unwrap();
//! let context = Context { address: "ann@shop.example", key_id: &[1] };
//! let cost = Cost::new(1024, 1, 1).unwrap(); // a real caller has Cost::RECOMMENDED
//! let locked = lock(&key, "correct horse battery", cost, &context, &mut fill).unwrap();
//! assert!(unlock(&locked, "correct horse battery", &context).is_ok());
//! let error = unlock(&locked, "correct horse", &context).err();
//! assert_eq!(error, Some(LockError::Passphrase));
//! ```

mod recovery;

use argon2::{Algorithm, Argon2, Params, Version};
use conclave_pki::key::{KeyError, PrivateKey};
use der::{
    Decode, DecodeValue, Encode, FixedTag, Sequence,
    asn1::{AnyRef, OctetStringRef, Utf8StringRef},
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::limits::{
    LOCK_LANES, LOCK_LANES_MAX, LOCK_MEMORY_KIB, LOCK_MEMORY_KIB_MAX, LOCK_PASSES, LOCK_PASSES_MAX,
    LOCKED_BYTES_MAX, PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN,
};

pub use recovery::{RecoveryError, recover, seal_for_recovery};

const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const CHECK_BYTES: usize = 32;

/// Reason why a key cannot be locked or unlocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A new passphrase is too short.
    #[error("the passphrase has {chars} characters, expected at least {PASSPHRASE_CHARS_MIN}")]
    Short {
        /// Characters found.
        chars: usize,
    },
    /// A new passphrase is too long.
    #[error("the passphrase has {bytes} bytes, expected at most {PASSPHRASE_BYTES_MAX}")]
    Long {
        /// Bytes found.
        bytes: usize,
    },
    /// The passphrase is wrong, or the parameters beside the key were changed. Both look the same.
    #[error("the passphrase does not open the locked key")]
    Passphrase,
    /// The locked key is damaged, or that of another account or key.
    #[error("the locked key is damaged, or belongs to another account")]
    Broken,
    /// A later version of the program wrote it.
    #[error("the locked key has format {found}, expected {VERSION}")]
    Version {
        /// Version found.
        found: u8,
    },
    /// The parameters of Argon2id are outside the bounds.
    #[error(
        "Argon2id with {memory_kib} KiB, {passes} passes and {lanes} lanes, expected at most \
         {LOCK_MEMORY_KIB_MAX} KiB, {LOCK_PASSES_MAX} passes and {LOCK_LANES_MAX} lanes, and at \
         least 8 KiB for each lane"
    )]
    Cost {
        /// Memory found.
        memory_kib: u32,
        /// Passes found.
        passes: u32,
        /// Lanes found.
        lanes: u32,
    },
    /// The memory for Argon2id could not be allocated.
    #[error("no memory for Argon2id: {memory_kib} KiB")]
    Memory {
        /// Memory asked for.
        memory_kib: u32,
    },
    /// What was locked is not a key.
    #[error("the locked key: {0}")]
    Key(#[source] KeyError),
}

/// The account and the key that a locked or sealed key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// The account's address, in the form that the store compares.
    pub address: &'a str,
    /// Identifier of the key within the account.
    pub key_id: &'a [u8],
}

/// The associated data, with a word for each format, so that neither opens as the other.
#[derive(Sequence)]
struct Binding<'a> {
    format: Utf8StringRef<'a>,
    version: u8,
    address: Utf8StringRef<'a>,
    key_id: &'a OctetStringRef,
}

impl Context<'_> {
    /// Encodes the binding to a format; `None` only for more than 256 MiB.
    fn binding(&self, format: &str) -> Option<Vec<u8>> {
        let binding = Binding {
            format: Utf8StringRef::new(format).ok()?,
            version: VERSION,
            address: Utf8StringRef::new(self.address).ok()?,
            key_id: OctetStringRef::new(self.key_id).ok()?,
        };
        binding.to_der().ok()
    }
}

/// Parameters of Argon2id within the bounds of [`crate::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// Those for new locks: some 0.2 seconds and 64 MiB.
    pub const RECOMMENDED: Cost =
        Cost { memory_kib: LOCK_MEMORY_KIB, passes: LOCK_PASSES, lanes: LOCK_LANES };

    /// Checks parameters: memory in KiB, at least 8 for each lane; passes and lanes from 1.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Cost, LockError> {
        let is_bounded = memory_kib <= LOCK_MEMORY_KIB_MAX
            && passes <= LOCK_PASSES_MAX
            && lanes <= LOCK_LANES_MAX
            && Params::new(memory_kib, passes, lanes, None).is_ok();
        if is_bounded {
            Ok(Cost { memory_kib, passes, lanes })
        } else {
            Err(LockError::Cost { memory_kib, passes, lanes })
        }
    }

    /// Derives the key and the check.
    fn derive(self, passphrase: &str, salt: &[u8]) -> Result<Derived, LockError> {
        let Cost { memory_kib, passes, lanes } = self;
        let mut bytes = Zeroizing::new([0; KEY_BYTES + CHECK_BYTES]);
        let params = Params::new(memory_kib, passes, lanes, Some(bytes.len()))
            .map_err(|_| LockError::Cost { memory_kib, passes, lanes })?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, bytes.as_mut_slice())
            .map_err(|_| LockError::Memory { memory_kib })?;
        Ok(Derived(bytes))
    }
}

/// The output of Argon2id. Its 64 bytes are one block of BLAKE2b, so that its halves are
/// independent.
struct Derived(Zeroizing<[u8; KEY_BYTES + CHECK_BYTES]>);

impl Derived {
    fn key(&self) -> Option<LessSafeKey> {
        let (key, _) = self.0.split_at(KEY_BYTES);
        UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
    }

    fn check(&self) -> &[u8] {
        self.0.split_at(KEY_BYTES).1
    }
}

/// Any version of a stored format.
#[derive(Sequence)]
struct Versioned<'a> {
    version: u8,
    body: AnyRef<'a>,
}

fn versioned(body: &impl Encode) -> der::Result<Vec<u8>> {
    let body = body.to_der()?;
    Versioned { version: VERSION, body: AnyRef::from_der(&body)? }.to_der()
}

/// Reason why a stored key cannot be read.
enum Unread {
    Broken,
    /// A later version of the program wrote it.
    Version(u8),
}

/// Reads the body of a stored key.
fn read<'a, B: DecodeValue<'a, Error = der::Error> + FixedTag + 'a>(
    stored: &'a [u8],
) -> Result<B, Unread> {
    if stored.len() > LOCKED_BYTES_MAX {
        return Err(Unread::Broken);
    }
    let outer = Versioned::from_der(stored).map_err(|_| Unread::Broken)?;
    if outer.version != VERSION {
        return Err(Unread::Version(outer.version));
    }
    outer.body.decode_as().map_err(|_| Unread::Broken)
}

impl From<Unread> for LockError {
    fn from(unread: Unread) -> LockError {
        match unread {
            Unread::Broken => LockError::Broken,
            Unread::Version(found) => LockError::Version { found },
        }
    }
}

#[derive(Sequence)]
struct LockedV1<'a> {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: &'a OctetStringRef,
    check: &'a OctetStringRef,
    nonce: &'a OctetStringRef,
    ciphertext: &'a OctetStringRef,
}

const FORMAT: &str = "conclave locked key";

/// Locks a key under a new passphrase, which has at least [`PASSPHRASE_CHARS_MIN`] characters and
/// at most [`PASSPHRASE_BYTES_MAX`] bytes. Takes the time and memory of `cost`.
pub fn lock(
    key: &PrivateKey,
    passphrase: &str,
    cost: Cost,
    context: &Context<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<u8>, LockError> {
    let chars = passphrase.chars().count();
    if chars < PASSPHRASE_CHARS_MIN {
        return Err(LockError::Short { chars });
    }
    if passphrase.len() > PASSPHRASE_BYTES_MAX {
        return Err(LockError::Long { bytes: passphrase.len() });
    }
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_LEN]);
    fill(&mut salt);
    fill(&mut nonce);
    let derived = cost.derive(passphrase, &salt)?;
    let binding = context.binding(FORMAT).ok_or(LockError::Broken)?;
    let mut ciphertext =
        Zeroizing::new(Vec::with_capacity(key.pkcs8_der().len() + AES_256_GCM.tag_len()));
    ciphertext.extend_from_slice(key.pkcs8_der());
    derived
        .key()
        .ok_or(LockError::Broken)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(binding),
            &mut *ciphertext,
        )
        .map_err(|_| LockError::Broken)?;
    let encode = || {
        versioned(&LockedV1 {
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            lanes: cost.lanes,
            salt: OctetStringRef::new(&salt)?,
            check: OctetStringRef::new(derived.check())?,
            nonce: OctetStringRef::new(&nonce)?,
            ciphertext: OctetStringRef::new(&ciphertext)?,
        })
    };
    encode().map_err(|_: der::Error| LockError::Broken)
}

/// Unlocks a key. Takes the time and memory of its parameters, which are bounded.
pub fn unlock(
    locked: &[u8],
    passphrase: &str,
    context: &Context<'_>,
) -> Result<PrivateKey, LockError> {
    let body: LockedV1<'_> = read(locked)?;
    let cost = Cost::new(body.memory_kib, body.passes, body.lanes)?;
    let nonce: [u8; NONCE_LEN] = body.nonce.as_bytes().try_into().map_err(|_| LockError::Broken)?;
    let salt = body.salt.as_bytes();
    if salt.len() != SALT_BYTES || body.check.as_bytes().len() != CHECK_BYTES {
        return Err(LockError::Broken);
    }
    if passphrase.len() > PASSPHRASE_BYTES_MAX {
        return Err(LockError::Passphrase);
    }
    let derived = cost.derive(passphrase, salt)?;
    aws_lc_rs::constant_time::verify_slices_are_equal(derived.check(), body.check.as_bytes())
        .map_err(|_| LockError::Passphrase)?;
    let binding = context.binding(FORMAT).ok_or(LockError::Broken)?;
    let mut data = Zeroizing::new(body.ciphertext.as_bytes().to_vec());
    let plaintext = derived
        .key()
        .ok_or(LockError::Broken)?
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(binding), &mut data)
        .map_err(|_| LockError::Broken)?;
    PrivateKey::from_pkcs8_der(plaintext).map_err(LockError::Key)
}

/// The passphrase that a key has and the one that it gets.
#[derive(Clone, Copy)]
pub struct PassphraseChange<'a> {
    /// Passphrase that opens the key now.
    pub old: &'a str,
    /// Passphrase that opens the result.
    pub new: &'a str,
}

/// Locks the same key again under another passphrase, with new salt and nonce. Copies of the old
/// locked key still open with the old passphrase.
pub fn change_passphrase(
    locked: &[u8],
    passphrases: PassphraseChange<'_>,
    cost: Cost,
    context: &Context<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<u8>, LockError> {
    let key = unlock(locked, passphrases.old, context)?;
    lock(&key, passphrases.new, cost, context, fill)
}

#[cfg(test)]
mod tests;
