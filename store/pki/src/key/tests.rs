//! Keys of every kind, and every mistake.

use std::process::{Command, Stdio};

use super::*;

fn chance() -> impl FnMut(&mut [u8]) {
    use ring::rand::{SecureRandom, SystemRandom};
    |bytes: &mut [u8]| SystemRandom::new().fill(bytes).unwrap()
}

/// Runs the real openssl; `None` where there is none.
pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write;
    let child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CONCLAVE_TEST_ALL").is_none(), "openssl is not installed");
        println!("SKIPPED: openssl is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    Some(output.stdout)
}

const ALGORITHMS: [KeyAlgorithm; 6] = [
    KeyAlgorithm::EcP256,
    KeyAlgorithm::EcP384,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::X25519,
    KeyAlgorithm::Rsa(2048),
    KeyAlgorithm::Rsa(3072),
];

#[test]
fn every_kind_of_key_is_made_tested_and_read_by_openssl() {
    for algorithm in ALGORITHMS {
        let key = PrivateKey::generate(algorithm, &mut chance()).unwrap();
        key.test().unwrap();
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(public_key_algorithm(key.public_key_der()), Some(algorithm));
        let Some(public) =
            openssl(&["pkey", "-inform", "DER", "-pubout", "-outform", "DER"], key.pkcs8_der())
        else {
            return;
        };
        assert_eq!(public, key.public_key_der(), "{algorithm}");
    }
}

#[test]
fn every_form_that_openssl_writes_is_read() {
    let check = |make: &[&str], expected: KeyAlgorithm| {
        let Some(pem) = openssl(make, b"") else { return };
        let key = read_private_key(&pem, None).unwrap_or_else(|error| panic!("{make:?}: {error}"));
        assert_eq!(key.algorithm(), expected);
        key.test().unwrap();
    };
    let rsa = KeyAlgorithm::Rsa(2048);
    check(&["genrsa", "-traditional", "2048"], rsa);
    check(&["genrsa", "2048"], rsa);
    check(&["ecparam", "-genkey", "-name", "prime256v1"], KeyAlgorithm::EcP256);
    check(&["ecparam", "-genkey", "-name", "secp384r1", "-noout"], KeyAlgorithm::EcP384);
    check(&["genpkey", "-algorithm", "ed25519"], KeyAlgorithm::Ed25519);
    let p256 = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    check(&p256, KeyAlgorithm::EcP256);
}

#[test]
fn every_mistake_has_its_own_code_and_line() {
    let check = |input: &[u8], code: &str, line: Option<usize>| {
        let error = read_private_key(input, None).err().expect("a mistake");
        assert_eq!((error.code(), error.line()), (code, line), "{error}");
    };
    check(b"", "K001", None);
    check(b"hello", "K001", None);
    check(&vec![0xAA; 10_000_000], "K001", None);
    check(&[0x30, 0x82, 1, 2], "K007", None);
    check(b"x\n-----BEGIN PRIVATE KEY-----\nMIIE\n", "K006", Some(2));
    check(b"-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n", "K006", Some(1));
    check(b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "K006", Some(1));
    check(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "K004", Some(1));
    let old = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-CBC,00\n\nAA==\n-----END RSA PRIVATE KEY-----\n";
    check(old, "K002", Some(2));
    let new =
        b"\n-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    check(new, "K002", Some(2));
    let one = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    check(format!("{one}{one}").as_bytes(), "K005", Some(4));
}

#[test]
fn weak_and_odd_keys_are_refused_by_name() {
    let check = |make: &[&str], expected: &str| {
        let Some(pem) = openssl(make, b"") else { return };
        let error = read_private_key(&pem, None).err().expect("a refusal");
        assert_eq!(error.code(), "K003");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&["genrsa", "1024"], "RSA 1024");
    check(&["genrsa", "-3", "2048"], "exponent");
    for (curve, name) in [
        ("secp521r1", "P-521"),
        ("secp224r1", "P-224"),
        ("prime192v1", "P-192"),
        ("secp256k1", "secp256k1"),
        ("brainpoolP256r1", "brainpoolP256r1"),
        ("brainpoolP384r1", "brainpoolP384r1"),
        ("brainpoolP512r1", "brainpoolP512r1"),
        ("sect233k1", "1.3.132.0.26"),
    ] {
        check(&["ecparam", "-genkey", "-name", curve, "-noout"], name);
        let curve = format!("ec_paramgen_curve:{curve}");
        check(&["genpkey", "-algorithm", "EC", "-pkeyopt", &curve], name);
    }
    let explicit = ["-name", "prime256v1", "-param_enc", "explicit", "-noout"];
    check(&[&["ecparam", "-genkey"], &explicit[..]].concat(), "explicit curve");
    let explicit = ["-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"];
    check(&[&["genpkey", "-algorithm", "EC"], &explicit[..]].concat(), "explicit curve");
    for (algorithm, name) in [("ed448", "Ed448"), ("x25519", "X25519"), ("x448", "X448")] {
        check(&["genpkey", "-algorithm", algorithm], name);
    }
    check(&["genpkey", "-algorithm", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], "RSA-PSS");
    check(&["dsaparam", "-genkey", "-noout", "1024"], "DSA");
    let ssh = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let error = read_private_key(ssh, None).err().expect("a refusal");
    assert_eq!((error.code(), error.to_string().contains("OpenSSH")), ("K003", true), "{error}");
}

#[test]
fn an_impossible_cost_of_a_passphrase_is_refused() {
    // PBES2 with scrypt of N = 0, which panics in pkcs5 0.8.1; found by fuzzing.
    let pem = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGSME4GCSqGSIb3DQEFDTBBMCAGCSsGAQQB2kcECzATBAiW7W8keSalLgIBAAIBAAIBDjAdBglghkgBZQMEASoE
ELmR3SPzU6cOiYSB/m/AzvAEQO8ukCh28KtAo61SU0EgUFJJGQQAACBLTgYJKoZIhvcNAQUNMEEwIAYJKwYBBAHa
RwIBCAIBDjAdBglghkjPNXA=
-----END ENCRYPTED PRIVATE KEY-----
";
    let error = read_private_key(pem.as_bytes(), Some(b"x")).err().expect("a refusal");
    assert_eq!(error.code(), "K003", "{error}");
}

/// A key of a curve or of RSA, as PKCS#8 and as its own kind.
fn both_forms(make: &[&str]) -> Option<(Vec<u8>, Vec<u8>)> {
    let pem = openssl(make, b"")?;
    let pkcs8 = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem)?;
    let own = openssl(&["pkey", "-traditional", "-outform", "DER"], &pem)?;
    Some((pkcs8, own))
}

#[test]
fn a_label_that_is_not_that_of_the_key_does_not_matter() {
    for make in [
        &["genrsa", "2048"][..],
        &["ecparam", "-genkey", "-name", "prime256v1", "-noout"],
        &["ecparam", "-genkey", "-name", "secp384r1", "-noout"],
    ] {
        let Some((pkcs8, own)) = both_forms(make) else { return };
        let plain = PrivateKey::from_pkcs8_der(&pkcs8).ok().unwrap();
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ANY PRIVATE KEY"] {
            for der in [&pkcs8, &own] {
                let read = read_private_key(crate::pem::encode(label, der).as_bytes(), None);
                let read = read.unwrap_or_else(|error| panic!("{make:?} {label}: {error}"));
                assert_eq!(read.pkcs8_der(), plain.pkcs8_der());
            }
        }
        let pem = crate::pem::encode("PRIVATE KEY", &pkcs8);
        let encrypt = ["pkcs8", "-topk8", "-outform", "DER", "-passout", "pass:x"];
        let encrypted = openssl(&encrypt, pem.as_bytes()).unwrap();
        let pem = crate::pem::encode("PRIVATE KEY", &encrypted);
        let error = read_private_key(pem.as_bytes(), None).err().unwrap();
        assert_eq!(error.code(), "K002", "{error}");
        assert!(read_private_key(pem.as_bytes(), Some(b"x")).is_ok());
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

/// Ed25519 as OneAsymmetricKey, with what follows the private key.
fn ed25519(version: u8, seed: &[u8], more: &[u8]) -> Vec<u8> {
    let parts = [&[2, 1, version][..], &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70]].concat();
    tlv(0x30, &[parts, tlv(4, &tlv(4, seed)), more.to_vec()].concat())
}

#[test]
fn ed25519_is_read_in_every_form_and_a_foreign_public_key_is_refused() {
    let key = PrivateKey::generate(KeyAlgorithm::Ed25519, &mut chance()).unwrap();
    let seed = &key.pkcs8_der()[16..];
    let public = &key.public_key_der()[12..];
    let foreign = PrivateKey::generate(KeyAlgorithm::Ed25519, &mut chance()).unwrap();
    let foreign = &foreign.public_key_der()[12..];
    let implicit = |public: &[u8]| tlv(0x81, &[&[0], public].concat());
    // As ring 0.14 to 0.16 wrote it.
    let explicit = |public: &[u8]| tlv(0xa1, &tlv(3, &[&[0], public].concat()));
    let attributes = tlv(0xa0, &[]);
    let read = |der: &[u8]| PrivateKey::from_pkcs8_der(der);
    for der in [
        ed25519(0, seed, &[]),
        ed25519(1, seed, &[]),
        ed25519(1, seed, &implicit(public)),
        ed25519(0, seed, &implicit(public)),
        ed25519(1, seed, &explicit(public)),
        ed25519(0, seed, &attributes),
        ed25519(1, seed, &[attributes.clone(), implicit(public)].concat()),
    ] {
        let found = read(&der).unwrap_or_else(|error| panic!("{der:x?}: {error}"));
        assert_eq!(found.pkcs8_der(), key.pkcs8_der());
    }
    for more in [implicit(foreign), explicit(foreign), implicit(&public[..31]), implicit(&[])] {
        let error = read(&ed25519(1, seed, &more)).err().unwrap();
        assert_eq!(error, KeyError::OtherPublicKey { line: 1 }, "{more:x?}");
    }
    for der in [ed25519(2, seed, &[]), ed25519(0, &seed[..31], &[])] {
        assert_eq!(read(&der).err().unwrap().code(), "K006");
    }
}

#[test]
fn x25519_is_read_as_openssl_writes_it_and_is_refused_by_whatever_signs() {
    let Some(pem) = openssl(&["genpkey", "-algorithm", "x25519"], b"") else { return };
    let der = openssl(&["pkey", "-outform", "DER"], &pem).unwrap();
    let key = PrivateKey::from_pkcs8_der(&der).unwrap();
    key.test().unwrap();
    assert_eq!((key.algorithm(), key.pkcs8_der()), (KeyAlgorithm::X25519, der.as_slice()));
    let foreign = PrivateKey::generate(KeyAlgorithm::X25519, &mut chance()).unwrap();
    let beside = tlv(0x81, &[&[0], &foreign.public_key_der()[12..]].concat());
    let error = PrivateKey::from_pkcs8_der(&tlv(0x30, &[&der[2..], &beside].concat())).err();
    assert_eq!(error, Some(KeyError::OtherPublicKey { line: 1 }));

    let refusal = KeyError::CannotSign { algorithm: KeyAlgorithm::X25519 };
    assert_eq!(read_private_key(&pem, None).err(), Some(refusal.clone()));
    assert_eq!(refusal.code(), "K003");
    assert!(refusal.hint().contains("--purpose encrypt"));
    assert_eq!(key.sign(b"x").err(), Some(refusal.clone()));
    assert!(!is_signed(key.public_key_der(), b"x", &[0; 64]));
    let refusal = crate::issue::IssueError::Key(refusal);
    let validity = crate::issue::Validity { not_before: 0, not_after: 1_000 };
    let attributes = crate::issue::Attributes {
        common_name: "shop.example".to_owned(),
        ..crate::issue::Attributes::default()
    };
    let names = ["shop.example".to_owned()];
    let made = crate::issue::self_sign(&key, &attributes, &names, [1; 16], validity);
    assert_eq!(made.err(), Some(refusal.clone()));
    let made = crate::issue::smime_authority(&key, &attributes, [1; 16], validity);
    assert_eq!(made.err(), Some(refusal.clone()));
    assert_eq!(crate::csr::request(&key, &attributes, &names).err(), Some(refusal.clone()));
    let own = PrivateKey::generate(KeyAlgorithm::EcP256, &mut chance()).unwrap();
    let authority = crate::issue::authority(&own, "a", [1; 16], validity).unwrap();
    let public = key.public_key_der();
    let made = crate::issue::server(&own, &authority, public, &names, [1; 16], validity);
    assert_eq!(made.err(), Some(refusal));
}

#[test]
fn a_foreign_public_key_beside_an_ec_or_rsa_key_is_refused() {
    let id = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let make = || PrivateKey::generate(KeyAlgorithm::EcP256, &mut chance()).unwrap();
    let (key, other) = (make(), make());
    let point = |key: &PrivateKey| key.public_key_der()[26..].to_vec();
    let compressed = |key: &PrivateKey| {
        let point = point(key);
        [&[2 + (point[64] & 1)], &point[1..33]].concat()
    };
    // The scalar stands at a fixed place of the form that this library writes.
    let scalar = key.pkcs8_der()[36..68].to_vec();
    let sec1 = |scalar: &[u8], public: Option<Vec<u8>>| {
        let public = public.map(|point| tlv(0xa1, &tlv(3, &[&[0], &point[..]].concat())));
        let parts = [vec![2, 1, 1], tlv(4, scalar), tlv(0xa0, &id), public.unwrap_or_default()];
        crate::pem::encode("EC PRIVATE KEY", &tlv(0x30, &parts.concat()))
    };
    let read = |pem: String| read_private_key(pem.as_bytes(), None);
    let zero = [&[0], &scalar[..]].concat();
    for pem in [
        sec1(&scalar, None),
        sec1(&scalar, Some(point(&key))),
        sec1(&scalar, Some(compressed(&key))),
        sec1(&zero, Some(point(&key))),
    ] {
        assert_eq!(read(pem).unwrap().pkcs8_der(), key.pkcs8_der());
    }
    for foreign in [point(&other), compressed(&other), Vec::new()] {
        let error = read(sec1(&scalar, Some(foreign))).err().unwrap();
        assert_eq!(error, KeyError::OtherPublicKey { line: 1 });
    }
    let Some((pkcs8, _)) = both_forms(&["genrsa", "2048"]) else { return };
    let foreign = other.public_key_der()[26..].to_vec();
    let foreign = tlv(0x81, &[&[0], &foreign[..]].concat());
    let longer = u16::from_be_bytes([pkcs8[2], pkcs8[3]]) + u16::try_from(foreign.len()).unwrap();
    let body = [&[2, 1, 1][..], &pkcs8[7..], &foreign].concat();
    let der = [&[0x30, 0x82][..], &longer.to_be_bytes(), &body].concat();
    let error = PrivateKey::from_pkcs8_der(&der).err().unwrap();
    assert_eq!(error, KeyError::OtherPublicKey { line: 1 });
}

#[test]
fn rsa_of_every_size_signs() {
    for bits in [2049, 2056, 2559, 3000, 4000, 4095, 4096] {
        let key = PrivateKey::generate(KeyAlgorithm::Rsa(bits), &mut chance());
        let key = key.unwrap_or_else(|error| panic!("{bits}: {error}"));
        assert_eq!(key.algorithm(), KeyAlgorithm::Rsa(bits));
        key.test().unwrap_or_else(|error| panic!("{bits}: {error}"));
        assert_eq!(public_key_algorithm(key.public_key_der()), Some(key.algorithm()));
        assert_eq!(key.is_signed_with_by_all(), bits == 4096, "{bits}");
        let attributes = crate::issue::Attributes {
            common_name: "shop.example".to_owned(),
            ..crate::issue::Attributes::default()
        };
        let names = ["shop.example".to_owned()];
        let validity = crate::issue::Validity { not_before: 0, not_after: 1_000 };
        let made = crate::issue::self_sign(&key, &attributes, &names, [1; 16], validity).unwrap();
        assert!(made.is_issued_by(&made), "{bits}");
        let request = crate::csr::request(&key, &attributes, &names).unwrap();
        assert!(crate::csr::read_request(request.as_bytes()).unwrap().is_signed, "{bits}");
    }
    let Some(pem) = openssl(&["genrsa", "-primes", "3", "2048"], b"") else { return };
    let error = read_private_key(&pem, None).err().unwrap();
    assert_eq!(error.code(), "K003");
    assert!(error.to_string().contains("more than two primes"), "{error}");
}

/// The largest size, from a file: to make one takes a minute.
#[test]
fn rsa_of_8192_bits_signs() {
    let pem = include_bytes!("../../../../tests/fixtures/rsa8192.pem");
    let key = read_private_key(pem, None).unwrap();
    key.test().unwrap();
    assert_eq!(key.algorithm(), KeyAlgorithm::Rsa(8192));
    assert!(!key.is_signed_with_by_all());
}

proptest::proptest! {
    #[test]
    fn no_input_panics(input: Vec<u8>) {
        let _ = read_private_key(&input, None);
        let framed = [b"-----BEGIN PRIVATE KEY-----\n", &input[..], b"\n-----END PRIVATE KEY-----\n"].concat();
        let _ = read_private_key(&framed, Some(b"x"));
        let _ = PrivateKey::from_pkcs8_der(&input);
        let _ = crate::content::foreign(&input);
        let _ = crate::content::kind(&input);
        let _ = public_key_algorithm(&input);
    }
}
