//! Encryption, with OpenSSL on the other side.

use std::io::Cursor;

use conclave_pki::{
    certificate::Certificate,
    key::{KeyAlgorithm, OaepHash, RsaPadding},
};

use super::{BODY, MAIL, Person, RSA, fill, person, succeed};
use crate::{
    cms::{Cipher, DecryptError, Opening},
    message::{
        Encryption, Form, Kind, MessageError, decrypt, encrypt, kind, sign_and_encrypt, verify,
    },
};

const EC: [KeyAlgorithm; 2] = [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384];
const CIPHERS: [Cipher; 5] =
    [Cipher::Aes128Cbc, Cipher::Aes192Cbc, Cipher::Aes256Cbc, Cipher::Aes128Gcm, Cipher::Aes256Gcm];
const OAEP: RsaPadding = RsaPadding::Oaep { hash: OaepHash::Sha256, mask: OaepHash::Sha256 };

fn certificates(people: &[&Person]) -> Vec<Certificate> {
    people.iter().map(|person| person.certificate.clone()).collect()
}

pub(super) fn decrypted(mail: &[u8], person: &Person) -> Result<String, MessageError> {
    let (mut out, mut spool) = (Vec::new(), Cursor::new(Vec::new()));
    decrypt(mail, &mut out, &[person.holder()], &mut spool, &mut fill)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn openssl_and_we_decrypt_for_each_of_several_recipients() {
    let x25519 = person(KeyAlgorithm::X25519);
    let people = [person(RSA), person(EC[0]), person(EC[1]), x25519];
    let recipients = certificates(&people);
    for cipher in CIPHERS {
        for padding in [RsaPadding::Pkcs1, OAEP] {
            let encryption = Encryption { recipients: &recipients, cipher, padding };
            let mut mail = Vec::new();
            encrypt(MAIL.as_bytes(), &mut mail, &encryption, &mut fill).unwrap();
            assert_eq!(kind(mail.as_slice()).unwrap(), Kind::Encrypted);
            assert!(!String::from_utf8_lossy(&mail).contains("World"));
            for person in people {
                let ours = decrypted(&mail, person).unwrap();
                assert!(ours.ends_with(&format!("charset=utf-8\r\n\r\n{BODY}")), "{ours}");
                assert!(!ours.to_lowercase().contains("hp"), "{ours}");
                // OpenSSL 3 has no X25519 in CMS.
                if person.key.algorithm() == KeyAlgorithm::X25519 {
                    continue;
                }
                let arguments = [
                    "cms",
                    "-decrypt",
                    "-recip",
                    &person.certificate_file,
                    "-inkey",
                    &person.key_file,
                ];
                let Some(theirs) = succeed("openssl", &arguments, &mail) else { continue };
                let theirs = String::from_utf8(theirs).unwrap();
                assert!(theirs.ends_with(BODY) && theirs.contains("hp=\"cipher\""), "{theirs}");
            }
        }
    }
}

#[test]
fn openssl_smime_decrypts_for_rsa() {
    let recipients = certificates(&[person(RSA)]);
    let mut mail = Vec::new();
    encrypt(MAIL.as_bytes(), &mut mail, &Encryption::to(&recipients), &mut fill).unwrap();
    let (certificate, key) = (&person(RSA).certificate_file, &person(RSA).key_file);
    let arguments = ["smime", "-decrypt", "-recip", certificate, "-inkey", key];
    let Some(theirs) = succeed("openssl", &arguments, &mail) else { return };
    assert!(theirs.ends_with(BODY.as_bytes()));
}

#[test]
fn what_openssl_encrypts_is_decrypted() {
    let check = |person: &Person, options: &[&str]| {
        for form in [&[][..], &["-stream"], &["-keyid"]] {
            let start = ["cms", "-encrypt"];
            let end = ["-recip", &person.certificate_file];
            // The options of a key follow its certificate.
            let all = [&start[..], form, &end, options].concat();
            let Some(mail) = succeed("openssl", &all, MAIL.as_bytes()) else { return };
            let out = decrypted(&mail, person).unwrap_or_else(|error| panic!("{all:?}: {error:?}"));
            assert!(out.ends_with(BODY), "{all:?}: {out}");
        }
    };
    for cipher in ["-aes128", "-aes192", "-aes256", "-aes-128-gcm", "-aes-256-gcm"] {
        check(person(RSA), &[cipher]);
        check(person(EC[0]), &[cipher]);
    }
    check(person(RSA), &["-des3"]);
    check(person(EC[0]), &["-des3", "-aes192-wrap"]);
    check(person(EC[1]), &["-aes256"]);
    let oaep = ["-keyopt", "rsa_padding_mode:oaep"];
    check(person(RSA), &oaep);
    check(person(RSA), &[&oaep[..], &["-keyopt", "rsa_oaep_md:sha256"]].concat());
    for kdf in ["sha1", "sha256", "sha384"] {
        check(person(EC[0]), &["-keyopt", &format!("ecdh_kdf_md:{kdf}"), "-aes128-wrap"]);
        check(person(EC[1]), &["-keyopt", &format!("ecdh_kdf_md:{kdf}"), "-aes256-wrap"]);
    }
}

#[test]
fn openssl_smime_encrypts_for_us() {
    for options in [&["-aes256"][..], &["-des3", "-stream"]] {
        let start = ["smime", "-encrypt"];
        let arguments = [&start[..], options, &[&person(RSA).certificate_file]].concat();
        let Some(mail) = succeed("openssl", &arguments, MAIL.as_bytes()) else { return };
        assert!(decrypted(&mail, person(RSA)).unwrap().ends_with(BODY));
    }
}

#[test]
fn signed_and_encrypted_is_both_for_us_and_for_openssl() {
    let (signer, reader) = (person(EC[0]), person(RSA));
    let recipients = certificates(&[reader]);
    for form in [Form::Detached, Form::Opaque] {
        for cipher in [Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
            let encryption = Encryption { cipher, ..Encryption::to(&recipients) };
            let mut mail = Vec::new();
            let signer = signer.signer();
            sign_and_encrypt(MAIL.as_bytes(), &mut mail, &signer, form, &encryption, &mut fill)
                .unwrap();
            let inside = decrypted(&mail, reader).unwrap();
            // The innermost layer says what protects the header (RFC 9788 §2.1).
            assert!(form == Form::Opaque || inside.contains("hp=\"cipher\""), "{inside}");
            let mut out = Vec::new();
            let checked = verify(inside.as_bytes(), &mut out, Opening::default()).unwrap();
            assert!(checked.is_from_signer && checked.is_header_protected);
            assert!(out.ends_with(BODY.as_bytes()));
            assert!(!String::from_utf8_lossy(&out).to_lowercase().contains("hp"));
            let arguments =
                ["cms", "-decrypt", "-recip", &reader.certificate_file, "-inkey", &reader.key_file];
            let Some(theirs) = succeed("openssl", &arguments, &mail) else { return };
            let arguments = ["cms", "-verify", "-CAfile", &super::world().authority_file];
            let Some(theirs) = succeed("openssl", &arguments, &theirs) else { return };
            assert!(theirs.ends_with(BODY.as_bytes()));
        }
    }
}

#[test]
fn only_a_recipient_decrypts() {
    let recipients = certificates(&[person(EC[0])]);
    let mut mail = Vec::new();
    encrypt(MAIL.as_bytes(), &mut mail, &Encryption::to(&recipients), &mut fill).unwrap();
    let error = decrypted(&mail, person(RSA)).err().unwrap();
    assert!(matches!(error, MessageError::Decrypt(DecryptError::NoRecipient { recipients: 1 })));
    let error = decrypted(MAIL.as_bytes(), person(RSA)).err().unwrap();
    assert!(matches!(error, MessageError::Kind { found: Kind::Plain, .. }));
    let signing = certificates(&[person(KeyAlgorithm::Ed25519)]);
    let error = encrypt(MAIL.as_bytes(), &mut mail, &Encryption::to(&signing), &mut fill);
    assert!(error.err().unwrap().to_string().contains("not for encryption"));
    assert!(encrypt(MAIL.as_bytes(), &mut mail, &Encryption::to(&[]), &mut fill).is_err());
}

#[test]
fn the_protection_of_a_message_is_recognised() {
    use std::io::Write;

    use crate::cms::{Encryptor, SignWriter};

    let recipients = certificates(&[person(EC[0])]);
    let (cipher, padding) = (Cipher::Aes128Gcm, RsaPadding::Pkcs1);
    let mut sealed = Encryptor::new(Vec::new(), &recipients, cipher, padding, &mut fill).unwrap();
    sealed.write_all(b"a").unwrap();
    let sealed = data_encoding::BASE64_MIME.encode(&sealed.finish().unwrap());
    let signed = SignWriter::new(Vec::new(), person(RSA).signer()).unwrap();
    let signed = data_encoding::BASE64_MIME.encode(&signed.finish().unwrap());
    let check = |media: &str, body: &str, expected: Kind| {
        let mail = format!(
            "To: bob@a.example\nContent-Type: {media}\nContent-Transfer-Encoding: base64\n\n{body}"
        );
        assert_eq!(kind(mail.as_bytes()).unwrap(), expected, "{media}");
    };
    check("application/pkcs7-mime", &sealed, Kind::Encrypted);
    check("application/x-pkcs7-mime; name=smime.p7m", &signed, Kind::Signed);
    check("application/octet-stream; name=\"smime.p7m\"", &sealed, Kind::Encrypted);
    check("application/pkcs7-mime; smime-type=certs-only", "MAMCAQE=", Kind::Other);
    check("APPLICATION/PKCS7-MIME; smime-type=\"Enveloped-Data\"", "", Kind::Encrypted);
    check("multipart/signed; protocol=\"application/pgp-signature\"", "", Kind::Signed);
    check("multipart/encrypted; protocol=\"application/pgp-encrypted\"", "", Kind::Encrypted);
    check("application/octet-stream; name=a.pdf", "", Kind::Plain);
    check("text/plain", "", Kind::Plain);
    assert_eq!(kind(&b""[..]).unwrap(), Kind::Plain);
    assert!(kind(&b"nothing of a header\n\n"[..]).is_err());
}
