//! Every kind of file that people give by mistake.
#![allow(clippy::unwrap_used)]

use crate::{
    certificate::{CertificateError, read_bundle, read_many},
    crl::read_crls,
    csr::read_request,
    key::{KeyAlgorithm, KeyError, PrivateKey, read_private_key, tests::openssl},
    pem,
};

fn key() -> PrivateKey {
    let mut seed = 0_u8;
    let mut fill = |bytes: &mut [u8]| {
        for byte in bytes {
            seed = seed.wrapping_mul(31).wrapping_add(7);
            *byte = seed;
        }
    };
    PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill).unwrap()
}

/// Makes a self-signed certificate with its key, and has openssl convert them.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    /// `None` where there is no openssl.
    fn make() -> Option<Files> {
        let files = Files { directory: tempfile::tempdir().unwrap() };
        let made = openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=shop.example",
                "-keyout",
                &files.path("key"),
                "-out",
                &files.path("pem"),
            ],
            b"",
        );
        made.map(|_| files)
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn made(&self, arguments: &[&str]) -> Vec<u8> {
        let paths: Vec<String> = arguments
            .iter()
            .map(|word| word.strip_prefix('@').map_or((*word).to_owned(), |name| self.path(name)))
            .collect();
        let words: Vec<&str> = paths.iter().map(String::as_str).collect();
        openssl(&words, b"").unwrap()
    }
}

/// Title and hint of every reader for certificates, and of the reader for keys.
fn answers(input: &[u8]) -> Vec<(String, String)> {
    let told = |error: CertificateError| (error.to_string(), error.hint().to_owned());
    let key = |error: KeyError| (error.to_string(), error.hint().to_owned());
    vec![
        told(read_bundle(input).err().unwrap()),
        told(read_many(input, 64).err().unwrap()),
        key(read_private_key(input, None).err().unwrap()),
    ]
}

#[test]
fn every_other_form_is_named_with_the_command_that_converts_it() {
    let Some(files) = Files::make() else { return };
    let p12 = ["pkcs12", "-export", "-in", "@pem", "-inkey", "@key", "-passout", "pass:x"];
    let p7b = ["crl2pkcs7", "-nocrl", "-certfile", "@pem"];
    let der = |words: &[&'static str]| [words, &["-outform", "DER"]].concat();
    let check = |input: &[u8], name: &str, command: &str| {
        for (title, hint) in answers(input) {
            assert!(title.contains(name), "{name}: {title}");
            assert!(hint.contains(command), "{name}: {hint}");
        }
    };
    check(&files.made(&p12), "PKCS#12", "openssl pkcs12 -in INPUT -nodes");
    check(&files.made(&der(&p7b)), "PKCS#7", "openssl pkcs7 -inform DER -in INPUT -print_certs");
    check(&files.made(&p7b), "PKCS#7", "openssl pkcs7 -in INPUT -print_certs");
    let x509 = ["x509", "-in", "@pem"];
    check(&files.made(&der(&x509)), "a certificate in DER form", "openssl x509 -inform DER");
    let pkey = ["pkey", "-in", "@key"];
    check(&files.made(&der(&pkey)), "a private key in DER form", "openssl pkey -inform DER");
    let request = ["req", "-new", "-key", "@key", "-subj", "/CN=shop.example"];
    check(&files.made(&der(&request)), "a signing request in DER form", "openssl req -inform DER");
    check(&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], "Java key store", "keytool");
    check(b"PK\x03\x04\x14\0", "ZIP", "unzip");
    check(b"\n<!DOCTYPE html>\n<html>", "web page", "again");
    let text = files.text("pem");
    let units = || text.encode_utf16();
    let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    check(&[&[0xff, 0xfe][..], &little].concat(), "UTF-16", "iconv -f UTF-16");
    check(&[&[0xfe, 0xff][..], &big].concat(), "UTF-16", "iconv -f UTF-16");
    check(&little, "UTF-16", "iconv -f UTF-16");
    check(&big, "UTF-16", "iconv -f UTF-16");
    let bare: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    check(bare.as_bytes(), "a certificate without its BEGIN and END lines", "put -----BEGIN");
    let bare: String = files.text("key").lines().filter(|line| !line.starts_with('-')).collect();
    check(bare.as_bytes(), "a private key without its BEGIN and END lines", "put -----BEGIN");
}

#[test]
fn a_label_does_not_hide_what_is_in_a_block() {
    let Some(files) = Files::make() else { return };
    let p7b = files.made(&["crl2pkcs7", "-nocrl", "-certfile", "@pem", "-outform", "DER"]);
    let as_certificate = pem::encode("CERTIFICATE", &p7b);
    let error = read_bundle(as_certificate.as_bytes()).err().unwrap();
    assert!(error.to_string().contains("PKCS#7"), "{error}");
    assert!(error.hint().contains("openssl pkcs7"), "{}", error.hint());
    let request = files.made(&["req", "-new", "-key", "@key", "-subj", "/CN=a", "-outform", "DER"]);
    let as_certificate = pem::encode("CERTIFICATE", &request);
    let error = read_bundle(as_certificate.as_bytes()).err().unwrap();
    assert!(error.to_string().contains("a signing request"), "{error}");
    for label in ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"] {
        assert!(read_request(pem::encode(label, &request).as_bytes()).is_ok(), "{label}");
    }
    // A key stands before the request, as `openssl req -newkey` writes it to one output.
    let both = format!("{}{}", files.text("key"), pem::encode("CERTIFICATE REQUEST", &request));
    assert!(read_request(both.as_bytes()).is_ok());
    let error = read_crls(files.text("pem").as_bytes()).err().unwrap();
    assert_eq!(error.to_string(), "expected a revocation list, found a certificate");
}

#[test]
fn trust_settings_behind_a_certificate_are_dropped_and_distrust_is_heard() {
    let Some(files) = Files::make() else { return };
    let made =
        |words: &[&str]| files.made(&[&["x509", "-in", "@pem", "-trustout"][..], words].concat());
    let plain = read_bundle(files.text("pem").as_bytes()).unwrap().remove(0);
    for words in [&[][..], &["-addtrust", "serverAuth"], &["-setalias", "a"]] {
        let one = read_bundle(&made(words)).unwrap().remove(0);
        assert_eq!(one.der(), plain.der(), "{words:?}");
        assert_eq!(one.dropped_trust(), !words.is_empty(), "{words:?}");
    }
    let error = read_bundle(&made(&["-addreject", "serverAuth"])).err().unwrap();
    assert!(error.to_string().contains("not to be trusted"), "{error}");
    let old = files.text("pem").replace("BEGIN CERT", "BEGIN X509 CERT");
    let old = old.replace("END CERT", "END X509 CERT");
    assert_eq!(read_bundle(old.as_bytes()).unwrap()[0].der(), plain.der());
}

#[test]
fn joined_and_broken_frames_are_taken_or_shown() {
    let pem = pem::encode("PRIVATE KEY", key().pkcs8_der());
    let certificate = pem::encode("CERTIFICATE", &[0x30, 0]);
    let joined = format!("{}{certificate}", pem.trim_end());
    let blocks = |text: &str| pem::blocks(text.as_bytes()).map(|found| found.len());
    assert_eq!(blocks(&joined), Ok(2));
    // The dashes of the one have become those of the other.
    assert_eq!(blocks(&joined.replace("----------BEGIN", "-----BEGIN")), Ok(2));
    let line = pem.lines().count();
    for (dashes, text) in [
        ("---------", "-----END PRIVATE KEY---------BEGIN CERTIFICATE-----"),
        ("-------", "-----END PRIVATE KEY-------BEGIN CERTIFICATE-----"),
    ] {
        let shown = match blocks(&joined.replace("----------", dashes)) {
            Err(pem::PemError::Frame { line, text }) => (line, text),
            other => panic!("{dashes}: {other:?}"),
        };
        // The dashes of the END are taken off by the block before.
        assert_eq!(shown.0, line, "{dashes}");
        assert!(text.ends_with(shown.1.unwrap().trim_start_matches('-')), "{dashes}");
    }
    let lost = certificate.replace("-----BEGIN CERTIFICATE-----\n", "");
    let found = blocks(&format!("{pem}{lost}"));
    let text = Some("-----END CERTIFICATE-----".to_owned());
    assert_eq!(found, Err(pem::PemError::Frame { line: line + 2, text }));
    // Marks of byte order in the middle, as `cat` of two files leaves them.
    assert_eq!(blocks(&format!("\u{feff}{pem}\u{feff}{certificate}")), Ok(2));
}
