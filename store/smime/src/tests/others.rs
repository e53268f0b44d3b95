//! GnuTLS (certtool), NSS (cmsutil, as in Thunderbird) and Python's cryptography.

use std::io::{Cursor, Write};

use conclave_pki::key::{KeyAlgorithm, RsaPadding};

use super::{Person, RSA, file, fill, person, run, succeed, world};
use crate::{
    cms::{self, Cipher, Digests, Encryptor, Opening, SignWriter, sign_detached, verify_detached},
    message::{Form, sign, verify},
};

const CONTENT: &[u8] = b"Hello\r\nWorld\r\n";
const EC: KeyAlgorithm = KeyAlgorithm::EcP256;

fn signed(person: &Person) -> Vec<u8> {
    let mut writer = SignWriter::new(Vec::new(), person.signer()).unwrap();
    writer.write_all(CONTENT).unwrap();
    writer.finish().unwrap()
}

fn digests(person: &Person) -> Digests {
    let mut digests = Digests::of(&[person.signer().hash()]);
    digests.write_all(CONTENT).unwrap();
    digests
}

fn verified(message: &[u8]) {
    let mut out = Vec::new();
    let known = [person(RSA).certificate.clone(), person(EC).certificate.clone()];
    let opening = Opening { known: &known, ..Opening::default() };
    cms::verify(message, &mut out, opening).unwrap();
    assert_eq!(out, CONTENT);
}

#[test]
fn gnutls_verifies_and_signs() {
    for person in [person(RSA), person(EC), person(KeyAlgorithm::Ed25519)] {
        let signature = sign_detached(&person.signer(), &digests(person)).unwrap();
        let (signature, content) = (file(&signature), file(CONTENT));
        let authority = &world().authority_file;
        let start = ["--p7-verify", "--inder", "--load-ca-certificate", authority, "--infile"];
        let end = [&signature, "--load-data", &content];
        let arguments = [&start[..], &end].concat();
        if succeed("certtool", &arguments, b"").is_none() {
            return;
        }
        let whole = file(&signed(person));
        succeed("certtool", &[&start[..], &[&whole]].concat(), b"");
        let sign = |kind: &str| {
            let keys = ["--load-privkey", &person.key_file, "--load-certificate"];
            let options = [&person.certificate_file, "--outder", "--infile", &content];
            // With a time it has signed attributes, without which Ed25519 is not verified.
            let all = [&[kind, "--p7-time"][..], &keys, &options].concat();
            succeed("certtool", &all, b"").unwrap()
        };
        verified(&sign("--p7-sign"));
        let detached = sign("--p7-detached-sign");
        let opening = Opening::default();
        let mut all = Digests::for_reading();
        all.write_all(CONTENT).unwrap();
        verify_detached(detached.as_slice(), &all, opening).unwrap();
    }
}

/// Makes a database of NSS with the authority and a person; `None` where NSS is missing.
fn database(person: &Person) -> Option<(tempfile::TempDir, String)> {
    let directory = tempfile::tempdir().unwrap();
    let name = format!("sql:{}", directory.path().to_str().unwrap());
    succeed("certutil", &["-N", "-d", &name, "--empty-password"], b"")?;
    let trust = ["-A", "-n", "ca", "-t", "CT,C,C", "-d", &name, "-i", &world().authority_file];
    succeed("certutil", &trust, b"")?;
    let export = [
        "pkcs12",
        "-export",
        "-inkey",
        &person.key_file,
        "-in",
        &person.certificate_file,
        "-name",
        "ann",
        "-passout",
        "pass:",
    ];
    let keys = file(&succeed("openssl", &export, b"")?);
    succeed("pk12util", &["-i", &keys, "-d", &name, "-W", ""], b"")?;
    Some((directory, name))
}

#[test]
fn nss_verifies_and_signs() {
    for person in [person(RSA), person(EC)] {
        let Some((_directory, name)) = database(person) else { return };
        let shown = ["-D", "-d", &name, "-h", "0"];
        let detached = sign_detached(&person.signer(), &digests(person)).unwrap();
        for (message, more) in [(signed(person), None), (detached, Some(file(CONTENT)))] {
            let message = file(&message);
            let mut arguments = [&shown[..], &["-i", &message]].concat();
            if let Some(content) = &more {
                arguments.extend(["-c", content]);
            }
            let said = succeed("cmsutil", &arguments, b"").unwrap();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.contains("status=GoodSignature"), "{said}");
        }
        let content = file(CONTENT);
        let start = ["-S", "-d", &name, "-N", "ann", "-i", &content];
        for options in [&[][..], &["-G", "-P", "-H", "SHA384"]] {
            verified(&succeed("cmsutil", &[&start[..], options].concat(), b"").unwrap());
        }
    }
}

#[test]
fn nss_decrypts_and_encrypts() {
    let person = person(RSA);
    let Some((_directory, name)) = database(person) else { return };
    let recipients = [person.certificate.clone(), super::person(EC).certificate.clone()];
    for cipher in [Cipher::Aes128Cbc, Cipher::Aes256Cbc] {
        let padding = RsaPadding::Pkcs1;
        let mut made =
            Encryptor::new(Vec::new(), &recipients[..1], cipher, padding, &mut fill).unwrap();
        made.write_all(CONTENT).unwrap();
        let message = file(&made.finish().unwrap());
        let content = succeed("cmsutil", &["-D", "-d", &name, "-i", &message], b"").unwrap();
        assert_eq!(content, CONTENT, "{cipher:?}");
    }
    let content = file(CONTENT);
    let arguments = ["-E", "-d", &name, "-r", "ann", "-i", &content];
    let message = succeed("cmsutil", &arguments, b"").unwrap();
    let (mut out, mut spool) = (Vec::new(), Cursor::new(Vec::new()));
    let holders = [person.holder()];
    cms::decrypt(message.as_slice(), &mut out, &holders, &mut spool, &mut fill).unwrap();
    assert_eq!(out, CONTENT);
}

/// Returns the Python that can import what `probe` does, which is in `package`; `None` if it cannot.
fn python_with(probe: &str, package: &str) -> Option<String> {
    let python = std::env::var("CONCLAVE_CRYPTOGRAPHY_PYTHON");
    let python = python.unwrap_or_else(|_| "python3".to_owned());
    if !run(&python, &["-c", probe], b"")?.status.success() {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "{python} has no {package}");
        eprintln!("SKIPPED: python3 has no {package}");
        return None;
    }
    Some(python)
}

/// Runs a program of Python with the files of a person; `None` where Python's library is missing.
fn python(program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    // Debian 12 has a version without the builder of encrypted messages.
    let probe = "from cryptography.hazmat.primitives.serialization.pkcs7 import \
        PKCS7EnvelopeBuilder";
    let python = python_with(probe, "cryptography of version 44 or later")?;
    let start = "import sys\n\
        from cryptography import x509\n\
        from cryptography.hazmat.primitives import hashes, serialization as s\n\
        from cryptography.hazmat.primitives.serialization import pkcs7\n\
        read = lambda at: open(sys.argv[at], 'rb').read()\n\
        cert = x509.load_pem_x509_certificate(read(1))\n\
        key = s.load_pem_private_key(read(2), None)\n\
        write = sys.stdout.buffer.write\n";
    let program = [start, program].concat();
    succeed(&python, &[&["-c", program.as_str()][..], arguments].concat(), b"")
}

#[test]
fn python_signs_and_encrypts() {
    for person in [person(RSA), person(EC)] {
        let content = file(CONTENT);
        let files = [person.certificate_file.as_str(), &person.key_file, &content];
        let signer = "b = pkcs7.PKCS7SignatureBuilder().set_data(read(3))\
            .add_signer(cert, key, hashes.SHA256())\n";
        let whole = "write(b.sign(s.Encoding.DER, [pkcs7.PKCS7Options.Binary]))\n";
        let Some(message) = python(&[signer, whole].concat(), &files) else { return };
        verified(&message);
        let mail = "write(b.sign(s.Encoding.SMIME, [pkcs7.PKCS7Options.DetachedSignature, \
            pkcs7.PKCS7Options.Text]))\n";
        let message = python(&[signer, mail].concat(), &files).unwrap();
        let mut out = Vec::new();
        verify(message.as_slice(), &mut out, Opening::default()).unwrap();
        assert!(out.ends_with(CONTENT), "{}", String::from_utf8_lossy(&out));
    }
    let content = file(CONTENT);
    let files = [person(RSA).certificate_file.as_str(), &person(RSA).key_file, &content];
    let program = "b = pkcs7.PKCS7EnvelopeBuilder().set_data(read(3)).add_recipient(cert)\n\
        write(b.encrypt(s.Encoding.DER, [pkcs7.PKCS7Options.Binary]))\n";
    let Some(message) = python(program, &files) else { return };
    let (mut out, mut spool) = (Vec::new(), Cursor::new(Vec::new()));
    let holders = [person(RSA).holder()];
    cms::decrypt(message.as_slice(), &mut out, &holders, &mut spool, &mut fill).unwrap();
    assert_eq!(out, CONTENT);
}

/// pyHanko writes the X9.63 scheme of RFC 8418 §2.1, with user keying material.
#[test]
fn pyhanko_encrypts_for_x25519() {
    let python = python_with("from pyhanko.pdf_utils.crypt import pubkey", "pyHanko");
    let Some(python) = python else { return };
    let program = "import sys\n\
        from asn1crypto import pem, x509\n\
        from pyhanko.pdf_utils.crypt import pubkey\n\
        cert = x509.Certificate.load(pem.unarmor(open(sys.argv[1], 'rb').read())[2])\n\
        policy = pubkey.RecipientEncryptionPolicy(ignore_key_usage=True)\n\
        made = pubkey.construct_recipient_cms([cert], b'twenty bytes of seed', \
            None, policy, include_permissions=False)\n\
        sys.stdout.buffer.write(made.dump())\n";
    let person = person(KeyAlgorithm::X25519);
    let message = succeed(&python, &["-c", program, &person.certificate_file], b"").unwrap();
    let (mut out, mut spool) = (Vec::new(), Cursor::new(Vec::new()));
    let holders = [person.holder()];
    cms::decrypt(message.as_slice(), &mut out, &holders, &mut spool, &mut fill).unwrap();
    assert_eq!(out, b"twenty bytes of seed");
}

#[test]
fn gnutls_finds_the_signature_in_an_opaque_message() {
    let mut mail = Vec::new();
    let text = super::MAIL.as_bytes();
    sign(text, &mut mail, &person(RSA).signer(), Form::Opaque, &mut fill).unwrap();
    let Some(pem) = succeed("certtool", &["--smime-to-p7"], &mail) else { return };
    let arguments = ["--p7-verify", "--load-ca-certificate", &world().authority_file];
    succeed("certtool", &arguments, &pem);
}
