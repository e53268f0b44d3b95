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

const ALGORITHMS: [KeyAlgorithm; 5] = [
    KeyAlgorithm::EcP256,
    KeyAlgorithm::EcP384,
    KeyAlgorithm::Ed25519,
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

proptest::proptest! {
    #[test]
    fn no_input_panics(input: Vec<u8>) {
        let _ = read_private_key(&input, None);
        let framed = [b"-----BEGIN PRIVATE KEY-----\n", &input[..], b"\n-----END PRIVATE KEY-----\n"].concat();
        let _ = read_private_key(&framed, Some(b"x"));
        let _ = PrivateKey::from_pkcs8_der(&input);
        let _ = public_key_algorithm(&input);
    }
}
