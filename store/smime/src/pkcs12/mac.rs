//! The MAC over a file (RFC 7292 §5.1), also in the form of RFC 9579.

use ring::{digest, hmac};
use x509_cert::spki::ObjectIdentifier;
use zeroize::Zeroizing;

use super::{
    Pkcs12Error,
    derive::{Cost, Passphrase, Purpose, Work, hash, pbkdf2, pkcs12},
    syntax::{HMAC_SHA1, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, MacData, PBMAC1, Pbmac1Parameters},
};
use crate::limits::{PBMAC1_KEY_BYTES_MAX, PBMAC1_KEY_BYTES_MIN};

/// Checks the MAC of `content`. Of the two forms of an empty passphrase, keeps in `passphrase` the
/// one that fits.
pub(super) fn verify(
    mac: &MacData<'_>,
    content: &[u8],
    passphrase: &mut Passphrase<'_>,
    work: &mut Work,
) -> Result<(), Pkcs12Error> {
    if mac.mac.algorithm.oid == PBMAC1 {
        return verify_pbmac1(mac, content, passphrase.utf8, work);
    }
    let hash = hash(mac.mac.algorithm)?;
    let cost = Cost { salt: mac.salt.as_bytes(), iterations: mac.iterations };
    let mut is_mac = |bmp: &[u8]| {
        let key = key(hash, bmp, cost, work)?;
        Ok::<bool, Pkcs12Error>(hmac::verify(&key, content, mac.mac.digest.as_bytes()).is_ok())
    };
    if is_mac(&passphrase.bmp)? {
        return Ok(());
    }
    // An empty passphrase is no bytes at all to some programs, and two zeros to others.
    if passphrase.utf8.is_empty() && is_mac(&[])? {
        passphrase.bmp = Zeroizing::new(Vec::new());
        return Ok(());
    }
    Err(Pkcs12Error::Passphrase)
}

/// Computes the MAC of a new file with this hash.
pub(super) fn make(
    hash: &'static digest::Algorithm,
    content: &[u8],
    passphrase: &Passphrase<'_>,
    cost: Cost<'_>,
    work: &mut Work,
) -> Result<hmac::Tag, Pkcs12Error> {
    Ok(hmac::sign(&key(hash, &passphrase.bmp, cost, work)?, content))
}

fn key(
    hash: &'static digest::Algorithm,
    bmp: &[u8],
    cost: Cost<'_>,
    work: &mut Work,
) -> Result<hmac::Key, Pkcs12Error> {
    let key = pkcs12(hash, Purpose::Mac, bmp, cost, hash.output_len(), work)?;
    let algorithm = match hash.output_len() {
        20 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        32 => hmac::HMAC_SHA256,
        48 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    Ok(hmac::Key::new(algorithm, &key))
}

/// RFC 9579 §4: salt and iterations are those of PBKDF2, and the passphrase is in UTF-8.
fn verify_pbmac1(
    mac: &MacData<'_>,
    content: &[u8],
    passphrase: &[u8],
    work: &mut Work,
) -> Result<(), Pkcs12Error> {
    let damaged = || Pkcs12Error::Damaged { place: "the parameters of PBMAC1" };
    let parameters: Pbmac1Parameters<'_> = mac
        .mac
        .algorithm
        .parameters
        .and_then(|found| found.decode_as().ok())
        .ok_or_else(damaged)?;
    let algorithm = hmac_algorithm(parameters.mac.oid)?;
    let key = pbkdf2(parameters.kdf, passphrase, None, work)?;
    if !(PBMAC1_KEY_BYTES_MIN..=PBMAC1_KEY_BYTES_MAX).contains(&key.len()) {
        return Err(damaged());
    }
    let key = hmac::Key::new(algorithm, &key);
    hmac::verify(&key, content, mac.mac.digest.as_bytes()).map_err(|_| Pkcs12Error::Passphrase)
}

fn hmac_algorithm(oid: ObjectIdentifier) -> Result<hmac::Algorithm, Pkcs12Error> {
    match oid {
        HMAC_SHA1 => Ok(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        HMAC_SHA256 => Ok(hmac::HMAC_SHA256),
        HMAC_SHA384 => Ok(hmac::HMAC_SHA384),
        HMAC_SHA512 => Ok(hmac::HMAC_SHA512),
        other => Err(Pkcs12Error::Unsupported { what: format!("the MAC {other}") }),
    }
}
