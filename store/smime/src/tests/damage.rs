//! Damaged messages are refused, and never a panic.

use std::io::Cursor;

use conclave_pki::key::{KeyAlgorithm, OaepHash, RsaPadding};
use data_encoding::BASE64_MIME;
use proptest::prelude::*;

use super::{BODY, MAIL, RSA, fill, person};
use crate::{
    cms::{self, Cipher, DecryptError, Encryptor, Opening, SignWriter},
    message::{Encryption, Form, decrypt, encrypt, kind, sign, verify},
};

const EC: KeyAlgorithm = KeyAlgorithm::EcP256;
const X25519: KeyAlgorithm = KeyAlgorithm::X25519;

fn signed(form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    sign(MAIL.as_bytes(), &mut out, &person(EC).signer(), form, &mut fill).unwrap();
    out
}

fn sealed(recipient: KeyAlgorithm, cipher: Cipher, padding: RsaPadding) -> Vec<u8> {
    use std::io::Write;
    let recipients = [person(recipient).certificate.clone()];
    let mut made = Encryptor::new(Vec::new(), &recipients, cipher, padding, &mut fill).unwrap();
    made.write_all(MAIL.as_bytes()).unwrap();
    made.finish().unwrap()
}

fn opened(sealed: &[u8], recipient: KeyAlgorithm) -> Result<Vec<u8>, DecryptError> {
    let (mut out, mut spool) = (Vec::new(), Cursor::new(Vec::new()));
    let holders = [person(recipient).holder()];
    cms::decrypt(sealed, &mut out, &holders, &mut spool, &mut fill).map(|()| out)
}

#[test]
fn no_changed_byte_changes_what_a_signature_proves() {
    let mut writer = SignWriter::new(Vec::new(), person(EC).signer()).unwrap();
    std::io::Write::write_all(&mut writer, MAIL.as_bytes()).unwrap();
    let whole = writer.finish().unwrap();
    let mut accepted = 0;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let mut out = Vec::new();
        if let Ok(verified) = cms::verify(changed.as_slice(), &mut out, Opening::default()) {
            accepted += 1;
            assert_eq!(out, MAIL.as_bytes(), "byte {at}");
            let own = person(EC).certificate.public_key_der();
            assert_eq!(verified.signers[0].certificate.public_key_der(), own);
        }
    }
    // Versions, the list of digest algorithms, and what the certificate's own signature covers.
    assert!(accepted < whole.len() / 2, "{accepted} of {}", whole.len());
}

#[test]
fn no_changed_byte_changes_what_gcm_protects() {
    for recipient in [EC, X25519] {
        let whole = sealed(recipient, Cipher::Aes256Gcm, RsaPadding::Pkcs1);
        let holders = [person(recipient).holder()];
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let (mut out, mut spool) = (Vec::new(), Cursor::new(Vec::new()));
            match cms::decrypt(changed.as_slice(), &mut out, &holders, &mut spool, &mut fill) {
                Ok(()) => assert_eq!(out, MAIL.as_bytes(), "byte {at}"),
                Err(_) => assert!(out.is_empty(), "byte {at}"),
            }
        }
    }
}

#[test]
fn a_wrong_key_has_the_error_of_a_wrong_content() {
    let oaep = RsaPadding::Oaep { hash: OaepHash::Sha256, mask: OaepHash::Sha256 };
    let pkcs1 = RsaPadding::Pkcs1;
    for (recipient, padding) in [(RSA, pkcs1), (RSA, oaep), (EC, pkcs1), (X25519, pkcs1)] {
        for cipher in [Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
            let whole = sealed(recipient, cipher, padding);
            let find = |mark: &[u8]| {
                let at = whole.windows(mark.len()).position(|bytes| bytes == mark);
                at.map(|at| at + mark.len())
            };
            // The encrypted key is the last OCTET STRING of its length before the content.
            let key = find(if recipient == RSA { &[4, 0x82, 1, 0] } else { &[4, 40] }).unwrap();
            // The key of the sender, X25519.
            let point = if recipient == X25519 { find(&[3, 33, 0]) } else { None };
            for at in [key, key + 1, key + 17, key + 39].into_iter().chain(point) {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                match opened(&changed, recipient) {
                    Err(error) => assert!(matches!(error, DecryptError::Failed), "{error:?}"),
                    // One padding in 256 looks right under a random key.
                    Ok(out) => assert!(!out.ends_with(BODY.as_bytes())),
                }
            }
            let mut changed = whole.clone();
            let content = whole.len() - 40;
            changed[content] ^= 1;
            assert!(opened(&changed, recipient).map_or(true, |out| out != MAIL.as_bytes()));
            assert_eq!(opened(&whole, recipient).unwrap(), MAIL.as_bytes());
        }
    }
}

#[test]
fn text_and_signature_of_a_readable_message_belong_together() {
    let mail = String::from_utf8(signed(Form::Detached)).unwrap();
    let check = |from: &str, to: &str| {
        let changed = mail.replace(from, to);
        assert_ne!(changed, mail, "{from}");
        let result = verify(changed.as_bytes(), std::io::sink(), Opening::default());
        assert!(result.is_err(), "{from}");
    };
    check("Hello\r\n", "Hallo\r\n");
    check("World = 1\r\n", "World = 1\r\n\r\n");
    check("charset=utf-8", "charset=latin1");
    check("application/pkcs7-signature", "application/pgp-signature");
    let cut = mail.split("Content-Type: application/pkcs7-signature").next().unwrap();
    assert!(verify(cut.as_bytes(), std::io::sink(), Opening::default()).is_err());
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let sealed = sealed(EC, Cipher::Aes256Cbc, RsaPadding::Pkcs1);
    for length in 0..sealed.len() {
        assert!(opened(&sealed[..length], EC).is_err(), "{length}");
    }
    let mail = signed(Form::Opaque);
    let mail = mail.strip_suffix(b"\r\n").unwrap();
    for length in (0..mail.len()).step_by(7) {
        let result = verify(&mail[..length], std::io::sink(), Opening::default());
        assert!(result.is_err(), "{length}");
    }
}

/// A change of a message: a byte, a cut, or a part twice.
fn changed(mut bytes: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    for (at, value, how) in changes {
        let at = at % bytes.len().max(1);
        match how % 4 {
            0 if !bytes.is_empty() => bytes[at] = *value,
            1 => bytes.truncate(at),
            2 => {
                let part: Vec<u8> = bytes[at..].iter().copied().take(usize::from(*value)).collect();
                bytes.splice(at..at, part);
            }
            _ => {
                bytes.drain(at..(at + usize::from(*value)).min(bytes.len()));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_input_panics(
        changes in prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..6),
        which in 0..6,
    ) {
        use std::sync::OnceLock;
        static SAMPLES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        let samples = SAMPLES.get_or_init(|| {
            let recipients = [person(EC).certificate.clone(), person(RSA).certificate.clone()];
            let mut mail = Vec::new();
            let encryption = Encryption::to(&recipients);
            encrypt(MAIL.as_bytes(), &mut mail, &encryption, &mut fill).unwrap();
            let mut writer = SignWriter::new(Vec::new(), person(EC).signer()).unwrap();
            std::io::Write::write_all(&mut writer, MAIL.as_bytes()).unwrap();
            let binary = |content: Vec<u8>| {
                let start = b"Content-Type: application/pkcs7-mime\r\n\r\n";
                [&start[..], BASE64_MIME.encode(&content).as_bytes()].concat()
            };
            vec![
                signed(Form::Detached),
                mail,
                writer.finish().unwrap(),
                sealed(EC, Cipher::Aes256Gcm, RsaPadding::Pkcs1),
                sealed(EC, Cipher::Aes128Cbc, RsaPadding::Pkcs1),
                binary(sealed(EC, Cipher::Aes128Cbc, RsaPadding::Pkcs1)),
            ]
        });
        let input = changed(samples[usize::try_from(which).unwrap()].clone(), &changes);
        let holders = [person(EC).holder()];
        let mut spool = Cursor::new(Vec::new());
        let _ = kind(input.as_slice());
        let _ = verify(input.as_slice(), std::io::sink(), Opening::default());
        let _ = decrypt(input.as_slice(), std::io::sink(), &holders, &mut spool, &mut fill);
        let _ = cms::content_type(&input);
        let _ = cms::verify(input.as_slice(), &mut std::io::sink(), Opening::default());
        let mut spool = Cursor::new(Vec::new());
        let out = &mut std::io::sink();
        let _ = cms::decrypt(input.as_slice(), out, &holders, &mut spool, &mut fill);
        let _ = sign(
            input.as_slice(), std::io::sink(), &person(EC).signer(), Form::Detached, &mut fill,
        );
    }
}
