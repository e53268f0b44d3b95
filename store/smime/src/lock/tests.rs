//! Locked and sealed keys, wrong passphrases, and old samples.

use std::path::PathBuf;

use conclave_pki::key::KeyAlgorithm;
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::*;
use crate::tests::fill;

const PASSPHRASE: &str = "correct horse battery";
const CONTEXT: Context<'_> = Context { address: "ann@shop.example", key_id: &[1, 2, 3] };

fn small() -> Cost {
    Cost::new(64, 1, 1).unwrap()
}

fn key(algorithm: KeyAlgorithm) -> PrivateKey {
    PrivateKey::generate(algorithm, &mut fill).unwrap()
}

fn locked(key: &PrivateKey) -> Vec<u8> {
    lock(key, PASSPHRASE, small(), &CONTEXT, &mut fill).unwrap()
}

#[test]
fn a_locked_key_opens_with_its_passphrase_in_its_context_only() {
    use KeyAlgorithm::{EcP256, Ed25519, Rsa, X25519};
    for algorithm in [EcP256, Ed25519, X25519, Rsa(2048)] {
        let key = key(algorithm);
        let locked = locked(&key);
        assert!(!locked.windows(16).any(|part| key.pkcs8_der().windows(16).any(|of| of == part)));
        let again = unlock(&locked, PASSPHRASE, &CONTEXT).unwrap();
        assert_eq!(again.pkcs8_der(), key.pkcs8_der());
        let check = |passphrase: &str, context: &Context<'_>, expected: LockError| {
            assert_eq!(unlock(&locked, passphrase, context).err(), Some(expected));
        };
        check("correct horse batterz", &CONTEXT, LockError::Passphrase);
        check("", &CONTEXT, LockError::Passphrase);
        check(&"x".repeat(2000), &CONTEXT, LockError::Passphrase);
        let other = Context { address: "bob@shop.example", ..CONTEXT };
        check(PASSPHRASE, &other, LockError::Broken);
        // The two parts of a context do not run into each other.
        let shifted = Context { address: "ann@shop.exampl", key_id: b"e\x01\x02\x03" };
        check(PASSPHRASE, &shifted, LockError::Broken);
    }
}

#[test]
fn a_new_passphrase_opens_and_the_old_one_no_longer() {
    let key = key(KeyAlgorithm::EcP384);
    let change = |old, new| {
        let passphrases = PassphraseChange { old, new };
        change_passphrase(&locked(&key), passphrases, small(), &CONTEXT, &mut fill)
    };
    let changed = change(PASSPHRASE, "another long one").unwrap();
    assert_eq!(unlock(&changed, PASSPHRASE, &CONTEXT).err(), Some(LockError::Passphrase));
    let again = unlock(&changed, "another long one", &CONTEXT).unwrap();
    assert_eq!(again.pkcs8_der(), key.pkcs8_der());
    assert_eq!(change("wrong", "another long one"), Err(LockError::Passphrase));
    assert_eq!(change(PASSPHRASE, "eleven char"), Err(LockError::Short { chars: 11 }));
}

#[test]
fn a_passphrase_is_measured_in_characters_and_taken_as_typed() {
    let key = key(KeyAlgorithm::EcP256);
    let lock = |passphrase: &str| lock(&key, passphrase, small(), &CONTEXT, &mut fill);
    assert_eq!(lock("éééééé"), Err(LockError::Short { chars: 6 }));
    assert_eq!(lock(&"x".repeat(1025)), Err(LockError::Long { bytes: 1025 }));
    let composed = lock("caf\u{e9} caf\u{e9} caf\u{e9}").unwrap();
    let error = unlock(&composed, "cafe\u{301} cafe\u{301} cafe\u{301}", &CONTEXT).err();
    assert_eq!(error, Some(LockError::Passphrase));
    assert!(unlock(&composed, "café café café", &CONTEXT).is_ok());
}

#[test]
fn parameters_are_bounded() {
    let check = |memory_kib, passes, lanes, is_ok: bool| {
        let expected = LockError::Cost { memory_kib, passes, lanes };
        let found = Cost::new(memory_kib, passes, lanes);
        assert_eq!(found.err(), (!is_ok).then_some(expected));
    };
    check(64 * 1024, 3, 4, true);
    check(LOCK_MEMORY_KIB_MAX, LOCK_PASSES_MAX, LOCK_LANES_MAX, true);
    check(LOCK_MEMORY_KIB_MAX + 1, 1, 1, false);
    check(1024, LOCK_PASSES_MAX + 1, 1, false);
    check(1024, 1, LOCK_LANES_MAX + 1, false);
    check(7, 1, 1, false);
    check(64, 0, 1, false);
    check(64, 1, 0, false);
    let Cost { memory_kib, passes, lanes } = Cost::RECOMMENDED;
    assert_eq!(Cost::new(memory_kib, passes, lanes), Ok(Cost::RECOMMENDED));
}

#[test]
fn a_hostile_cost_in_a_locked_key_is_refused_before_it_is_paid() {
    let locked = locked(&key(KeyAlgorithm::EcP256));
    let outer = Versioned::from_der(&locked).unwrap();
    let body: LockedV1<'_> = outer.body.decode_as().unwrap();
    let body = LockedV1 { memory_kib: u32::MAX, passes: u32::MAX, ..body }.to_der().unwrap();
    let body = AnyRef::from_der(&body).unwrap();
    let hostile = Versioned { version: 1, body }.to_der().unwrap();
    let error = unlock(&hostile, PASSPHRASE, &CONTEXT).err().unwrap();
    assert_eq!(error, LockError::Cost { memory_kib: u32::MAX, passes: u32::MAX, lanes: 1 });
    let later = Versioned { version: 2, body }.to_der().unwrap();
    let error = unlock(&later, PASSPHRASE, &CONTEXT).err();
    assert_eq!(error, Some(LockError::Version { found: 2 }));
    let long = vec![0x30; LOCKED_BYTES_MAX + 1];
    assert_eq!(unlock(&long, PASSPHRASE, &CONTEXT).err(), Some(LockError::Broken));
}

#[test]
fn a_sealed_key_is_recovered_by_its_recovery_key_in_its_context_only() {
    let (key, recovery) = (key(KeyAlgorithm::Rsa(2048)), key(KeyAlgorithm::EcP256));
    let public = recovery.public_key_der();
    let sealed = seal_for_recovery(&key, public, &CONTEXT, &mut fill).unwrap();
    let again = recover(&sealed, &recovery, &CONTEXT).unwrap();
    assert_eq!(again.pkcs8_der(), key.pkcs8_der());
    let check = |private: &PrivateKey, context: &Context<'_>, expected: RecoveryError| {
        assert_eq!(recover(&sealed, private, context).err(), Some(expected));
    };
    check(&self::key(KeyAlgorithm::EcP256), &CONTEXT, RecoveryError::OtherKey);
    check(&key, &CONTEXT, RecoveryError::NotP256);
    check(&recovery, &Context { key_id: &[1, 2, 4], ..CONTEXT }, RecoveryError::Broken);
    for public in [key.public_key_der(), &public[..public.len() - 1], &[]] {
        let error = seal_for_recovery(&key, public, &CONTEXT, &mut fill).err();
        assert_eq!(error, Some(RecoveryError::NotP256));
    }
    assert_eq!(recover(&locked(&key), &recovery, &CONTEXT).err(), Some(RecoveryError::Broken));
    assert_eq!(unlock(&sealed, PASSPHRASE, &CONTEXT).err(), Some(LockError::Broken));
}

/// Reads a sample, which `CONCLAVE_FIXTURES` makes first if there is none.
fn sample(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "../../tests/fixtures/smime", name].iter().collect();
    if std::env::var_os("CONCLAVE_FIXTURES").is_some() && !path.exists() {
        std::fs::write(&path, make()).unwrap();
    }
    std::fs::read(path).unwrap()
}

#[test]
fn samples_of_version_1_open() {
    let fixture = |of| sample(of, || key(KeyAlgorithm::EcP256).pkcs8_der().to_vec());
    let mine = PrivateKey::from_pkcs8_der(&fixture("account-key.pk8")).unwrap();
    let recovery = PrivateKey::from_pkcs8_der(&fixture("recovery-key.pk8")).unwrap();
    let locked = sample("locked-v1.der", || {
        lock(&mine, PASSPHRASE, Cost::RECOMMENDED, &CONTEXT, &mut fill).unwrap()
    });
    let opened = unlock(&locked, PASSPHRASE, &CONTEXT).unwrap();
    assert_eq!(opened.pkcs8_der(), mine.pkcs8_der());
    let sealed = sample("sealed-v1.der", || {
        seal_for_recovery(&mine, recovery.public_key_der(), &CONTEXT, &mut fill).unwrap()
    });
    let opened = recover(&sealed, &recovery, &CONTEXT).unwrap();
    assert_eq!(opened.pkcs8_der(), mine.pkcs8_der());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_changed_locked_or_sealed_key_never_opens(
        at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<prop::sample::Index>()
    ) {
        let (mine, recovery) = (key(KeyAlgorithm::Ed25519), key(KeyAlgorithm::EcP256));
        let mut locked = locked(&mine);
        let place = at.index(locked.len());
        // A changed number of KiB or passes would take its time.
        if place > 16 {
            locked[place] ^= 1 << bit;
            assert!(unlock(&locked, PASSPHRASE, &CONTEXT).is_err());
        }
        assert!(unlock(&locked[..cut.index(locked.len())], PASSPHRASE, &CONTEXT).is_err());
        let public = recovery.public_key_der();
        let mut sealed = seal_for_recovery(&mine, public, &CONTEXT, &mut fill).unwrap();
        let place = at.index(sealed.len());
        sealed[place] ^= 1 << bit;
        assert!(recover(&sealed, &recovery, &CONTEXT).is_err());
        assert!(recover(&sealed[..cut.index(sealed.len())], &recovery, &CONTEXT).is_err());
    }
}
