//! Keys derived from a passphrase, within a bound of work.

use std::num::NonZeroU32;

use ring::{digest, pbkdf2};
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::{
    Pkcs12Error,
    syntax::{
        HMAC_SHA1, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, PBKDF2, Pbkdf2Parameters, SHA1, SHA256,
        SHA384, SHA512,
    },
};
use crate::limits::{PASSPHRASE_BYTES_MAX, PKCS12_HASHES_MAX};

/// A passphrase in both forms that PKCS#12 uses.
pub(super) struct Passphrase<'a> {
    pub(super) utf8: &'a [u8],
    /// UTF-16, big-endian (RFC 7292 appendix B.1 says BMPString; characters beyond it are pairs, as
    /// OpenSSL and Windows have them), with two zeros at the end.
    pub(super) bmp: Zeroizing<Vec<u8>>,
}

impl<'a> Passphrase<'a> {
    pub(super) fn new(text: &'a str) -> Result<Passphrase<'a>, Pkcs12Error> {
        if text.len() > PASSPHRASE_BYTES_MAX {
            return Err(Pkcs12Error::PassphraseForm { bytes: text.len() });
        }
        let mut bmp = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
        bmp.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        bmp.extend_from_slice(&[0, 0]);
        Ok(Passphrase { utf8: text.as_bytes(), bmp })
    }
}

/// Remaining hashes for one file.
pub(super) struct Work {
    hashes: u64,
}

impl Work {
    pub(super) fn new() -> Work {
        Work { hashes: PKCS12_HASHES_MAX }
    }

    fn spend(&mut self, iterations: NonZeroU32, hashes_each: usize) -> Result<(), Pkcs12Error> {
        let each = u64::try_from(hashes_each).unwrap_or(u64::MAX);
        let hashes = u64::from(iterations.get()).saturating_mul(each);
        self.hashes = self.hashes.checked_sub(hashes).ok_or(Pkcs12Error::TooMuchWork { hashes })?;
        Ok(())
    }
}

/// What a key is for (RFC 7292 appendix B.3).
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Encryption,
    Iv,
    Mac,
}

impl Purpose {
    fn id(self) -> u8 {
        match self {
            Purpose::Encryption => 1,
            Purpose::Iv => 2,
            Purpose::Mac => 3,
        }
    }
}

/// Salt and iterations of a derivation.
#[derive(Clone, Copy)]
pub(super) struct Cost<'a> {
    pub(super) salt: &'a [u8],
    pub(super) iterations: u32,
}

impl Cost<'_> {
    fn iterations(self) -> Result<NonZeroU32, Pkcs12Error> {
        NonZeroU32::new(self.iterations).ok_or(Pkcs12Error::Damaged { place: "a key derivation" })
    }
}

/// Derives `length` bytes as RFC 7292 appendix B.2 says. `bmp` is the passphrase.
pub(super) fn pkcs12(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    bmp: &[u8],
    cost: Cost<'_>,
    length: usize,
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    let iterations = cost.iterations()?;
    work.spend(iterations, length.div_ceil(hash.output_len()))?;
    let block = hash.block_len();
    // S and P of the RFC: each repeated up to whole blocks.
    let whole = |bytes: &[u8]| bytes.len().div_ceil(block) * block;
    let mut input = Zeroizing::new(Vec::with_capacity(whole(cost.salt) + whole(bmp)));
    input.extend(cost.salt.iter().cycle().take(whole(cost.salt)));
    input.extend(bmp.iter().cycle().take(whole(bmp)));
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    while out.len() < length {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose.id(); block]);
        context.update(&input);
        let mut made = context.finish();
        for _ in 1..iterations.get() {
            made = digest::digest(hash, made.as_ref());
        }
        let missing = length - out.len();
        out.extend(made.as_ref().iter().take(missing));
        let mut addend = Zeroizing::new(Vec::with_capacity(block));
        addend.extend(made.as_ref().iter().cycle().take(block));
        for number in input.chunks_mut(block) {
            add_and_one(number, &addend);
        }
    }
    Ok(out)
}

/// Adds `addend` and 1 to a big-endian number of the same length, without the last carry.
fn add_and_one(number: &mut [u8], addend: &[u8]) {
    let mut carry = 1;
    for (byte, other) in number.iter_mut().zip(addend).rev() {
        let sum = u16::from(*byte) + u16::from(*other) + carry;
        let [high, low] = sum.to_be_bytes();
        *byte = low;
        carry = u16::from(high);
    }
}

/// Returns the hash of a name (RFC 8017 appendix B.1).
pub(super) fn hash(
    algorithm: AlgorithmIdentifierRef<'_>,
) -> Result<&'static digest::Algorithm, Pkcs12Error> {
    match algorithm.oid {
        SHA1 => Ok(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        SHA256 => Ok(&digest::SHA256),
        SHA384 => Ok(&digest::SHA384),
        SHA512 => Ok(&digest::SHA512),
        other => Err(Pkcs12Error::Unsupported { what: format!("the hash {other}") }),
    }
}

/// Derives a key with PBKDF2 (RFC 8018 §5.2). The length is that of the parameters if `length` is
/// `None`, and must be equal to it otherwise.
pub(super) fn pbkdf2(
    kdf: AlgorithmIdentifierRef<'_>,
    passphrase: &[u8],
    length: Option<usize>,
    work: &mut Work,
) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    let damaged = || Pkcs12Error::Damaged { place: "the parameters of PBKDF2" };
    let parameters = match (kdf.oid, kdf.parameters) {
        (PBKDF2, Some(found)) => {
            found.decode_as::<Pbkdf2Parameters<'_>>().map_err(|_| damaged())?
        }
        (PBKDF2, None) => return Err(damaged()),
        (other, _) => {
            return Err(Pkcs12Error::Unsupported { what: format!("the key derivation {other}") });
        }
    };
    let prf = parameters.prf.map_or(HMAC_SHA1, |prf| prf.oid);
    let (prf, hash_bytes) = match prf {
        HMAC_SHA1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
        HMAC_SHA256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        HMAC_SHA384 => (pbkdf2::PBKDF2_HMAC_SHA384, 48),
        HMAC_SHA512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        other => {
            return Err(Pkcs12Error::Unsupported { what: format!("the function {other}") });
        }
    };
    let found = parameters.key_bytes.map(usize::from);
    let length = match (length, found) {
        (Some(length), None) | (None, Some(length)) => length,
        (Some(length), Some(found)) if length == found => length,
        _ => return Err(damaged()),
    };
    let cost = Cost { salt: parameters.salt.as_bytes(), iterations: parameters.iterations };
    let iterations = cost.iterations()?;
    // An HMAC with a prepared key is two hashes.
    work.spend(iterations, 2 * length.div_ceil(hash_bytes))?;
    let mut key = Zeroizing::new(vec![0; length]);
    pbkdf2::derive(prf, iterations, cost.salt, passphrase, &mut key);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added_with_their_carries() {
        let check = |number: &[u8], addend: &[u8], expected: &[u8]| {
            let mut number = number.to_vec();
            add_and_one(&mut number, addend);
            assert_eq!(number, expected);
        };
        check(&[0, 0], &[0, 0], &[0, 1]);
        check(&[0, 0xff], &[0, 0], &[1, 0]);
        check(&[0xff, 0xff], &[0xff, 0xff], &[0xff, 0xff]);
        check(&[0xff, 0xff], &[0, 0], &[0, 0]);
    }

    #[test]
    fn a_key_derivation_stops_at_the_bound_of_work() {
        let passphrase = Passphrase::new("x").unwrap();
        let mut work = Work::new();
        let mut derived = |iterations, length| {
            let cost = Cost { salt: b"salt", iterations };
            let hash = &digest::SHA256;
            pkcs12(hash, Purpose::Mac, &passphrase.bmp, cost, length, &mut work).err()
        };
        assert!(matches!(derived(0, 32), Some(Pkcs12Error::Damaged { .. })));
        assert!(matches!(derived(u32::MAX, 32), Some(Pkcs12Error::TooMuchWork { .. })));
        let half = u32::try_from(PKCS12_HASHES_MAX / 2).unwrap() + 1;
        assert!(matches!(derived(half, 33), Some(Pkcs12Error::TooMuchWork { .. })));
        assert!(derived(1000, 33).is_none());
    }
}
