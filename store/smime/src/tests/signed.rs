//! Signatures, with OpenSSL on the other side.

use conclave_pki::key::{KeyAlgorithm, KeyError};

use super::{BODY, MAIL, NOW, Person, RSA, file, fill, person, succeed, world};
use crate::{
    cms::{Age, Opening, SignError},
    message::{Form, Kind, MessageError, kind, sign, verify},
};

fn signed(person: &Person, form: Form, mail: &str) -> Vec<u8> {
    let mut out = Vec::new();
    sign(mail.as_bytes(), &mut out, &person.signer(), form, &mut fill).unwrap();
    out
}

#[test]
fn openssl_verifies_what_each_key_signs_in_each_form() {
    for algorithm in [RSA, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384] {
        for form in [Form::Detached, Form::Opaque] {
            let mail = signed(person(algorithm), form, MAIL);
            assert!(mail.is_ascii());
            for command in ["cms", "smime"] {
                let arguments = [command, "-verify", "-CAfile", &world().authority_file];
                let Some(inside) = succeed("openssl", &arguments, &mail) else { return };
                let inside = String::from_utf8(inside).unwrap();
                assert!(inside.ends_with(BODY), "{algorithm} {form:?}: {inside}");
                assert!(inside.contains("hp=\"clear\"") && inside.contains("Subject: A test"));
            }
        }
    }
}

#[test]
fn a_key_that_cannot_sign_is_refused_before_anything_is_written() {
    let (mut out, signer) = (Vec::new(), person(KeyAlgorithm::X25519).signer());
    let error = sign(MAIL.as_bytes(), &mut out, &signer, Form::Opaque, &mut fill).err().unwrap();
    let refusal = KeyError::CannotSign { algorithm: KeyAlgorithm::X25519 };
    assert!(matches!(error, MessageError::Sign(SignError::Key(found)) if found == refusal));
    assert!(out.is_empty());
}

#[test]
fn each_key_signs_and_the_message_comes_back() {
    for algorithm in [RSA, KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::Ed25519] {
        for form in [Form::Detached, Form::Opaque] {
            let person = person(algorithm);
            let mail = signed(person, form, MAIL);
            assert_eq!(kind(mail.as_slice()).unwrap(), Kind::Signed);
            assert!(String::from_utf8_lossy(&mail).starts_with("From: Ann <ann@a.example>\r\nTo:"));
            let mut out = Vec::new();
            let checked = verify(mail.as_slice(), &mut out, Opening::default()).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert!(out.ends_with(&format!("charset=utf-8\r\n\r\n{BODY}")), "{out}");
            assert!(out.contains("Received: by b.example\r\n") && !out.contains("hp="), "{out}");
            assert_eq!(out.matches("Subject: A test").count(), 1, "{out}");
            assert!(checked.is_from_signer && checked.is_header_protected);
            let signer = &checked.verified.signers[0];
            assert_eq!(signer.time, Some(NOW));
            assert_eq!(signer.certificate.der(), person.certificate.der());
            assert!(signer.certificate.is_issued_by(&world().authority));
            assert_eq!(signer.ciphers.len(), 4);
        }
    }
}

/// Signs with OpenSSL, and verifies. Returns the algorithm that was found.
fn verified(person: &Person, options: &[&str], opening: Opening<'_>) -> Option<String> {
    let (certificate, key) = (&person.certificate_file, &person.key_file);
    let start = ["-sign", "-signer", certificate, "-inkey", key, "-from", "ann@a.example"];
    let mail = succeed("openssl", &[&["cms"], &start[..], options].concat(), MAIL.as_bytes())?;
    let mut out = Vec::new();
    let checked = verify(mail.as_slice(), &mut out, opening).unwrap_or_else(|error| {
        panic!("{options:?}: {error:?}\n{}", String::from_utf8_lossy(&mail))
    });
    assert!(out.ends_with(BODY.as_bytes()), "{options:?}: {}", String::from_utf8_lossy(&out));
    assert!(checked.is_from_signer && !checked.is_header_protected);
    Some(checked.verified.signers[0].algorithm.clone())
}

#[test]
fn what_openssl_signs_is_verified() {
    let pss = ["-keyopt", "rsa_padding_mode:pss"];
    let salt = ["-keyopt", "rsa_pss_saltlen:digest"];
    let cases: [(KeyAlgorithm, Vec<&str>, &str); 15] = [
        (RSA, vec![], "RSA with SHA-256"),
        (RSA, vec!["-md", "sha384"], "RSA with SHA-384"),
        (RSA, vec!["-md", "sha512", "-nodetach"], "RSA with SHA-512"),
        (RSA, vec!["-nodetach", "-stream"], "RSA with SHA-256"),
        (RSA, vec!["-nodetach", "-indef", "-keyid"], "RSA with SHA-256"),
        (RSA, vec!["-keyid"], "RSA with SHA-256"),
        (RSA, vec!["-noattr"], "RSA with SHA-256"),
        (RSA, vec!["-noattr", "-nodetach"], "RSA with SHA-256"),
        (RSA, pss.to_vec(), "RSASSA-PSS with SHA-256"),
        (RSA, [&pss[..], &salt, &["-md", "sha512"]].concat(), "RSASSA-PSS with SHA-512"),
        (KeyAlgorithm::EcP256, vec![], "ECDSA with SHA-256"),
        (KeyAlgorithm::EcP256, vec!["-md", "sha512", "-nodetach"], "ECDSA with SHA-512"),
        (KeyAlgorithm::EcP256, vec!["-noattr"], "ECDSA with SHA-256"),
        (KeyAlgorithm::EcP384, vec!["-md", "sha384", "-keyid"], "ECDSA with SHA-384"),
        (KeyAlgorithm::EcP384, vec!["-nosmimecap", "-stream"], "ECDSA with SHA-256"),
    ];
    for (algorithm, options, expected) in cases {
        let Some(found) = verified(person(algorithm), &options, Opening::default()) else { return };
        assert_eq!(found, expected, "{options:?}");
    }
}

#[test]
fn a_signer_without_certificate_in_the_message_is_found_among_the_known() {
    let known = [person(RSA).certificate.clone()];
    let opening = Opening { known: &known, age: Age::Current };
    if verified(person(RSA), &["-nocerts"], opening).is_none() {
        return;
    }
    let (certificate, key) = (&person(RSA).certificate_file, &person(RSA).key_file);
    let arguments = ["cms", "-sign", "-nocerts", "-signer", certificate, "-inkey", key];
    let mail = succeed("openssl", &arguments, MAIL.as_bytes()).unwrap();
    let error = verify(mail.as_slice(), std::io::sink(), Opening::default()).err().unwrap();
    assert!(error.to_string().contains("does not have the certificate"), "{error}");
}

#[test]
fn sha_1_is_accepted_from_an_archive_only() {
    let old = Opening { known: &[], age: Age::Old };
    let Some(found) = verified(person(RSA), &["-md", "sha1"], old) else { return };
    assert_eq!(found, "RSA with SHA-1");
    let (certificate, key) = (&person(RSA).certificate_file, &person(RSA).key_file);
    let arguments = ["cms", "-sign", "-md", "sha1", "-signer", certificate, "-inkey", key];
    let mail = succeed("openssl", &arguments, MAIL.as_bytes()).unwrap();
    let error = verify(mail.as_slice(), std::io::sink(), Opening::default()).err().unwrap();
    assert!(error.to_string().contains("SHA-1"), "{error}");
}

#[test]
fn every_signer_of_a_message_is_verified() {
    let (one, two) = (person(RSA), person(KeyAlgorithm::EcP256));
    let arguments = [
        "cms",
        "-sign",
        "-signer",
        &one.certificate_file,
        "-inkey",
        &one.key_file,
        "-signer",
        &two.certificate_file,
        "-inkey",
        &two.key_file,
    ];
    let Some(mail) = succeed("openssl", &arguments, MAIL.as_bytes()) else { return };
    let checked = verify(mail.as_slice(), std::io::sink(), Opening::default()).unwrap();
    assert_eq!(checked.verified.signers.len(), 2);
}

#[test]
fn another_author_or_two_are_not_the_signer() {
    let check = |from: &str, expected: bool| {
        let mail = MAIL.replace("From: Ann <ann@a.example>", from);
        for form in [Form::Detached, Form::Opaque] {
            let mail = signed(person(RSA), form, &mail);
            let checked = verify(mail.as_slice(), std::io::sink(), Opening::default()).unwrap();
            assert_eq!(checked.is_from_signer, expected, "{from}");
        }
    };
    check("From: \"ann@a.example\" <eve@a.example>", false);
    check("From: ann@a.example, eve@a.example", false);
    check("From: ann@a.example\r\nFrom: eve@a.example", false);
    check("X-From: ann@a.example", false);
    check("From: ANN@a.example", true);
}

#[test]
fn fields_changed_outside_do_not_replace_protected_ones() {
    let mail = String::from_utf8(signed(person(RSA), Form::Detached, MAIL)).unwrap();
    let changed = mail.replacen("Subject: A test", "Subject: Pay now", 1);
    let changed = changed.replacen("Ann <ann@a.example>", "eve@a.example", 1);
    let changed = format!("Cc: eve@a.example\r\nReceived: by c.example\r\n{changed}");
    let mut out = Vec::new();
    let checked = verify(changed.as_bytes(), &mut out, Opening::default()).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(checked.is_from_signer && !out.contains("Pay now") && !out.contains("eve@"), "{out}");
    assert!(out.starts_with("Received: by c.example\r\nReceived: by b.example\r\n"), "{out}");
}

#[test]
fn the_certificate_must_be_that_of_the_key() {
    let mut signer = person(RSA).signer();
    signer.certificate = &person(KeyAlgorithm::EcP256).certificate;
    let made = sign(MAIL.as_bytes(), std::io::sink(), &signer, Form::Opaque, &mut fill);
    assert!(matches!(made, Err(MessageError::Sign(_))));
    let plain = verify(MAIL.as_bytes(), std::io::sink(), Opening::default());
    assert!(matches!(plain, Err(MessageError::Kind { found: Kind::Plain, .. })));
}

#[test]
fn a_signature_in_a_file_is_verified_by_openssl() {
    use std::io::Write;

    use crate::cms::{Digests, sign_detached, verify_detached};

    let signer = person(KeyAlgorithm::EcP256).signer();
    let mut digests = Digests::of(&[signer.hash()]);
    digests.write_all(b"content").unwrap();
    let signature = sign_detached(&signer, &digests).unwrap();
    let (signature_file, content_file) = (file(&signature), file(b"content"));
    let arguments = [
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        &signature_file,
        "-content",
        &content_file,
        "-CAfile",
        &world().authority_file,
    ];
    let Some(content) = succeed("openssl", &arguments, b"") else { return };
    assert_eq!(content, b"content");
    assert!(verify_detached(signature.as_slice(), &digests, Opening::default()).is_ok());
    digests.write_all(b"!").unwrap();
    assert!(verify_detached(signature.as_slice(), &digests, Opening::default()).is_err());
}

#[test]
fn p_521_is_verified() {
    let (key, certificate) = (file(b""), file(b""));
    let make = [
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-521",
        "-subj",
        "/CN=Ann",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    if succeed("openssl", &make, b"").is_none() {
        return;
    }
    for hash in ["sha256", "sha384", "sha512"] {
        let start = ["cms", "-sign", "-signer", &certificate, "-inkey", &key, "-md", hash];
        let mail = succeed("openssl", &start, MAIL.as_bytes()).unwrap();
        let checked = verify(mail.as_slice(), std::io::sink(), Opening::default()).unwrap();
        assert!(!checked.is_from_signer, "the certificate has no address");
    }
}
