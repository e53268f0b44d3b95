//! Files of other programs, files for other programs, and broken ones.

use std::path::{Path, PathBuf};

use conclave_pki::{
    certificate::read_certificates,
    issue::{self, Validity},
    key::KeyAlgorithm,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::*;
use crate::tests::{fill, succeed_in};

const PASSPHRASE: &str = "correct horse battery";
const NOON: u64 = 1_800_000_000;
const VALIDITY: Validity = Validity { not_before: NOON - 1000, not_after: NOON + 100_000_000 };

fn openssl(dir: &Path, line: &str, more: &[&str]) -> Option<Vec<u8>> {
    succeed_in(
        dir,
        "openssl",
        &[line.split_whitespace().collect::<Vec<_>>().as_slice(), more].concat(),
    )
}

/// A key, its certificate, an intermediate one and a root.
fn identity(algorithm: KeyAlgorithm) -> Identity {
    let make = |algorithm| PrivateKey::generate(algorithm, &mut fill).unwrap();
    let [root_key, middle_key] = [KeyAlgorithm::EcP256; 2].map(make);
    let root = issue::authority(&root_key, "Root", [1; 16], VALIDITY).unwrap();
    let middle = issue::authority(&middle_key, "Middle", [2; 16], VALIDITY).unwrap();
    let middle = issue::cross(&root_key, &root, &middle, [3; 16], VALIDITY).unwrap();
    let key = make(algorithm);
    let names = ["ann.example".to_owned()];
    let public = key.public_key_der();
    let leaf = match algorithm {
        KeyAlgorithm::X25519 => {
            let account = issue::Account {
                public_key_der: public,
                emails: &["ann@a.example".to_owned()],
                common_name: "Ann",
                purpose: issue::Purpose::Encrypt,
                is_client: false,
                crl_url: None,
            };
            account.issue(&middle_key, &middle, [4; 16], VALIDITY).unwrap()
        }
        _ => issue::server(&middle_key, &middle, public, &names, [4; 16], VALIDITY).unwrap(),
    };
    Identity::new(key, vec![leaf, middle, root], Some("Änn 😀".to_owned())).unwrap()
}

const ALGORITHMS: [KeyAlgorithm; 5] = [
    KeyAlgorithm::EcP256,
    KeyAlgorithm::EcP384,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::X25519,
    KeyAlgorithm::Rsa(2048),
];

fn ders(certificates: &[Certificate]) -> Vec<&[u8]> {
    certificates.iter().map(Certificate::der).collect()
}

#[track_caller]
fn assert_same(read: &Identity, expected: &Identity) {
    assert_eq!(read.key().pkcs8_der(), expected.key().pkcs8_der());
    assert_eq!(ders(read.certificates()), ders(expected.certificates()));
}

/// Stages key and certificates as PEM.
fn stage(dir: &Path, identity: &Identity) {
    let key = pem_of(identity.key());
    std::fs::write(dir.join("key.pem"), key).unwrap();
    let [leaf, chain @ ..] = identity.certificates() else { panic!("no leaf") };
    std::fs::write(dir.join("leaf.pem"), leaf.pem()).unwrap();
    let chain: String = chain.iter().rev().map(Certificate::pem).collect();
    std::fs::write(dir.join("chain.pem"), chain).unwrap();
}

fn pem_of(key: &PrivateKey) -> String {
    use der::{EncodePem, pem::LineEnding};
    let info = pkcs8::PrivateKeyInfoRef::try_from(key.pkcs8_der()).unwrap();
    info.to_pem(LineEnding::LF).unwrap()
}

#[test]
fn what_is_written_reads_back() {
    for protection in [Protection::Modern, Protection::Legacy] {
        let written = identity(KeyAlgorithm::EcP256);
        let file = write(&written, PASSPHRASE, protection, &mut fill).unwrap();
        let again = read(&file, PASSPHRASE, None, NOON).unwrap();
        assert_same(&again, &written);
        assert_eq!(again.name(), Some("Änn 😀"));
        for wrong in ["correct horse batterz", "", "correct horse battery "] {
            let error = read(&file, wrong, None, NOON).err();
            assert_eq!(error, Some(Pkcs12Error::Passphrase), "{wrong:?}");
        }
    }
}

#[test]
fn openssl_reads_what_is_written() {
    for algorithm in ALGORITHMS {
        for (protection, legacy) in
            [(Protection::Modern, &[][..]), (Protection::Legacy, &["-legacy"])]
        {
            let (written, dir) = (identity(algorithm), tempfile::tempdir().unwrap());
            // OpenSSL 3.0 prints the last byte of each character of a name.
            let written = Identity { name: Some("Ann".to_owned()), ..written };
            let file = write(&written, PASSPHRASE, protection, &mut fill).unwrap();
            std::fs::write(dir.path().join("ann.p12"), file).unwrap();
            let line = "pkcs12 -in ann.p12 -nodes -passin";
            let pass = ["pass:correct horse battery"];
            let Some(pem) = openssl(dir.path(), line, &[&pass[..], legacy].concat()) else {
                return;
            };
            let text = String::from_utf8(pem).unwrap();
            assert_eq!(text.matches("friendlyName: Ann").count(), 2, "{text}");
            assert_eq!(text.matches("localKeyID").count(), 2, "{text}");
            let [keys, certificates] = [&["-nocerts"], &["-nokeys"]].map(|part| {
                openssl(dir.path(), line, &[&pass[..], legacy, part].concat()).unwrap()
            });
            std::fs::write(dir.path().join("key.pem"), keys).unwrap();
            let line = "pkey -in key.pem -pubout -outform DER";
            let public = openssl(dir.path(), line, &[]).unwrap();
            assert_eq!(public, written.key().public_key_der(), "{algorithm}");
            let certificates = read_certificates(&certificates).unwrap();
            assert_eq!(ders(&certificates), ders(written.certificates()), "{algorithm}");
        }
    }
}

/// Lets OpenSSL write a file with these options.
fn written_by_openssl(written: &Identity, options: &str, passphrase: &str) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    stage(dir.path(), written);
    let line = format!(
        "pkcs12 -export -inkey key.pem -in leaf.pem -certfile chain.pem -out x.p12 {options} -passout"
    );
    openssl(dir.path(), &line, &[&format!("pass:{passphrase}")])?;
    Some(std::fs::read(dir.path().join("x.p12")).unwrap())
}

#[test]
fn every_form_that_openssl_writes_is_read() {
    let check = |algorithm: KeyAlgorithm, options: &str, passphrase: &str| {
        let written = identity(algorithm);
        let Some(file) = written_by_openssl(&written, options, passphrase) else { return };
        let again = read(&file, passphrase, None, NOON);
        let again = again.unwrap_or_else(|error| panic!("{options} {passphrase}: {error}"));
        assert_same(&again, &written);
        let wrong = read(&file, "wrong", None, NOON).err();
        let is_plain = options.contains("NONE");
        assert_eq!(wrong, (!is_plain).then_some(Pkcs12Error::Passphrase), "{options}");
    };
    for algorithm in ALGORITHMS {
        check(algorithm, "", PASSPHRASE);
        check(algorithm, "-legacy", PASSPHRASE);
    }
    let p256 = KeyAlgorithm::EcP256;
    for passphrase in ["", "x", "пароль é 😀", &"long".repeat(64)] {
        check(p256, "", passphrase);
        check(p256, "-legacy", passphrase);
        check(p256, "-keypbe aes-128-cbc -certpbe aes-192-cbc -macalg sha384", passphrase);
    }
    check(p256, "-keypbe des-ede3-cbc -certpbe aes-256-cbc -macalg sha512", PASSPHRASE);
    check(p256, "-legacy -keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-RC2-128", PASSPHRASE);
    check(p256, "-nomac", PASSPHRASE);
    check(p256, "-nomac -keypbe NONE -certpbe NONE", PASSPHRASE);
    check(p256, "-iter 100000 -macalg sha1", PASSPHRASE);
}

#[test]
fn a_file_that_asks_for_too_much_work_is_refused() {
    let whole = sample("openssl-modern.p12");
    let mut pfx = <syntax::Pfx<'_> as der::Decode>::from_der(&whole).unwrap();
    pfx.mac.as_mut().unwrap().iterations = u32::MAX;
    let file = der::Encode::to_der(&pfx).unwrap();
    let error = read(&file, PASSPHRASE, None, NOON).err().unwrap();
    assert_eq!(error, Pkcs12Error::TooMuchWork { hashes: u64::from(u32::MAX) });
}

/// Reads a sample by its name.
fn sample(name: &str) -> Vec<u8> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "../../tests/fixtures/smime", name].iter().collect();
    std::fs::read(path).unwrap()
}

#[test]
fn samples_of_all_programs_are_read() {
    // By OpenSSL 3.0, NSS 3.87 (in BER), GnuTLS 3.7 and OpenJDK 17, of one key.
    let expected = read(&sample("openssl-modern.p12"), PASSPHRASE, None, NOON).unwrap();
    assert_eq!((expected.certificates().len(), expected.name()), (2, Some("Ann")));
    for (name, shown) in [
        ("openssl-legacy.p12", "Ann"),
        ("openssl-plain.p12", "Ann"),
        ("nss.p12", "Ann"),
        ("gnutls.p12", "Ann"),
        ("java.p12", "ann"),
    ] {
        let found = read(&sample(name), PASSPHRASE, None, NOON);
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same(&found, &expected);
        assert_eq!(found.name(), Some(shown), "{name}");
    }
}

#[test]
fn nss_reads_what_is_written_and_its_files_are_read() {
    // NSS 3.87 has no Ed25519.
    for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::Rsa(2048)] {
        for protection in [Protection::Modern, Protection::Legacy] {
            let (written, dir) = (identity(algorithm), tempfile::tempdir().unwrap());
            let written = Identity { name: Some("Ann".to_owned()), ..written };
            let file = write(&written, PASSPHRASE, protection, &mut fill).unwrap();
            std::fs::write(dir.path().join("ann.p12"), file).unwrap();
            let tool = |program: &str, line: &str| {
                let words =
                    line.split(' ').map(|word| if word == "PASS" { PASSPHRASE } else { word });
                succeed_in(dir.path(), program, &words.collect::<Vec<_>>())
            };
            if tool("certutil", "-N -d sql:. --empty-password").is_none() {
                return;
            }
            std::fs::write(dir.path().join("none"), "\n").unwrap();
            tool("pk12util", "-i ann.p12 -d sql:. -k none -W PASS").unwrap();
            let keys = tool("certutil", "-K -d sql:. -f none").unwrap();
            assert!(String::from_utf8_lossy(&keys).contains("Ann"));
            let legacy = match protection {
                Protection::Modern => "",
                Protection::Legacy => {
                    " -c PKCS_#12_V2_PBE_With_SHA-1_And_3KEY_Triple_DES-CBC \
                     -C PKCS_#12_V2_PBE_With_SHA-1_And_40_Bit_RC2_CBC"
                }
            };
            let line = format!("-o out.p12 -n Ann -d sql:. -k none -W PASS{legacy}");
            let words: Vec<String> = line
                .split_whitespace()
                .map(|word| if word == "PASS" { PASSPHRASE.into() } else { word.replace('_', " ") })
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            succeed_in(dir.path(), "pk12util", &words).unwrap();
            let file = std::fs::read(dir.path().join("out.p12")).unwrap();
            assert!(file.starts_with(&[0x30, 0x80]), "NSS writes BER");
            assert_same(&read(&file, PASSPHRASE, None, NOON).unwrap(), &written);
        }
    }
}

#[test]
fn gnutls_reads_what_is_written_and_its_files_are_read() {
    for algorithm in ALGORITHMS {
        let (written, dir) = (identity(algorithm), tempfile::tempdir().unwrap());
        for protection in [Protection::Modern, Protection::Legacy] {
            let file = write(&written, PASSPHRASE, protection, &mut fill).unwrap();
            std::fs::write(dir.path().join("ann.p12"), file).unwrap();
            let info = ["--p12-info", "--inder", "--infile", "ann.p12", "--password", PASSPHRASE];
            let Some(said) = succeed_in(dir.path(), "certtool", &info) else { return };
            let said = String::from_utf8(said).unwrap();
            assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 3, "{said}");
            let (begin, end) = ("-----BEGIN ENCRYPTED", "END ENCRYPTED PRIVATE KEY-----\n");
            let (begin, last) = said.find(begin).zip(said.find(end)).unwrap();
            let pem = dir.path().join("encrypted.pem");
            std::fs::write(pem, &said[begin..last + end.len()]).unwrap();
            let info = ["--pubkey-info", "--load-privkey", "encrypted.pem", "--password"];
            let pem =
                succeed_in(dir.path(), "certtool", &[&info[..], &[PASSPHRASE]].concat()).unwrap();
            let pem = String::from_utf8(pem).unwrap();
            let pem = &pem[pem.find("-----BEGIN PUBLIC KEY").unwrap()..];
            let (_, public) = der::Document::from_pem(pem).unwrap();
            assert_eq!(public.as_bytes(), written.key().public_key_der());
        }
        stage(dir.path(), &written);
        let line = "--to-p12 --load-privkey key.pem --load-certificate leaf.pem --outder \
             --load-ca-certificate chain.pem --outfile out.p12 --p12-name ann --password";
        let line: Vec<&str> = line.split_whitespace().chain([PASSPHRASE]).collect();
        succeed_in(dir.path(), "certtool", &line).unwrap();
        let file = std::fs::read(dir.path().join("out.p12")).unwrap();
        let again = read(&file, PASSPHRASE, None, NOON).unwrap();
        // GnuTLS takes the first certificate of each file.
        assert_eq!(again.key().pkcs8_der(), written.key().pkcs8_der());
        assert_eq!(again.certificates()[0].der(), written.certificates()[0].der());
    }
}

#[test]
fn java_reads_what_is_written_and_of_its_several_keys_one_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let keytool = |line: &str, file: &str| {
        let more = ["-storepass", PASSPHRASE, "-storetype", "PKCS12", "-keystore", file];
        let line = line.split_whitespace().collect::<Vec<_>>();
        succeed_in(dir.path(), "keytool", &[&line[..], &more[..]].concat())
    };
    for (algorithm, protection) in ALGORITHMS
        .map(|algorithm| (algorithm, Protection::Modern))
        .into_iter()
        .chain([(KeyAlgorithm::Rsa(2048), Protection::Legacy)])
    {
        let file = write(&identity(algorithm), PASSPHRASE, protection, &mut fill).unwrap();
        std::fs::write(dir.path().join("ann.p12"), file).unwrap();
        let Some(said) = keytool("-list -v", "ann.p12") else { return };
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("PrivateKeyEntry"), "{said}");
        assert!(said.contains("Certificate chain length: 3"), "{said}");
    }
    let make = "-genkeypair -dname CN=Ann -validity 3650 -alias";
    keytool(&format!("{make} one -keyalg EC -groupname secp256r1"), "two.p12").unwrap();
    let one = std::fs::read(dir.path().join("two.p12")).unwrap();
    let one = read(&one, PASSPHRASE, None, NOON).unwrap();
    keytool(&format!("{make} two -keyalg RSA -keysize 2048"), "two.p12").unwrap();
    let two = std::fs::read(dir.path().join("two.p12")).unwrap();
    let error = read(&two, PASSPHRASE, None, NOON).err().unwrap();
    assert!(error.to_string().contains("holds 2 private keys"), "{error}");
    let Pkcs12Error::SeveralKeys { keys } = error else { panic!("{error}") };
    for key in &keys {
        let id = key.local_key_id.as_deref().unwrap();
        let found = read(&two, PASSPHRASE, Some(id), NOON).unwrap();
        assert_eq!(found.name(), key.name.as_deref());
        let is_one = found.key().public_key_der() == one.key().public_key_der();
        assert_eq!(is_one, key.name.as_deref() == Some("one"));
    }
    assert_eq!(keys.len(), 2);
    let other = read(&two, PASSPHRASE, Some(b"none"), NOON).err();
    assert!(matches!(other, Some(Pkcs12Error::SeveralKeys { .. })));
}

#[test]
fn certificates_outside_the_chain_are_left_out_and_a_missing_one_is_told() {
    let (mine, other) = (identity(KeyAlgorithm::EcP256), identity(KeyAlgorithm::EcP256));
    let dir = tempfile::tempdir().unwrap();
    stage(dir.path(), &mine);
    let all: String = mine.certificates()[1..]
        .iter()
        .chain(other.certificates())
        .rev()
        .map(Certificate::pem)
        .collect();
    std::fs::write(dir.path().join("chain.pem"), all).unwrap();
    let line = "pkcs12 -export -inkey key.pem -in leaf.pem -certfile chain.pem -out x.p12 -passout";
    let Some(_) = openssl(dir.path(), line, &["pass:x"]) else { return };
    let file = std::fs::read(dir.path().join("x.p12")).unwrap();
    assert_same(&read(&file, "x", None, NOON).unwrap(), &mine);
    let line = "pkcs12 -export -nokeys -in leaf.pem -out x.p12 -passout";
    openssl(dir.path(), line, &["pass:x"]).unwrap();
    let file = std::fs::read(dir.path().join("x.p12")).unwrap();
    assert_eq!(read(&file, "x", None, NOON).err(), Some(Pkcs12Error::NoKey));
    let line = "pkcs12 -export -nocerts -inkey key.pem -out x.p12 -passout";
    openssl(dir.path(), line, &["pass:x"]).unwrap();
    let file = std::fs::read(dir.path().join("x.p12")).unwrap();
    assert_eq!(read(&file, "x", None, NOON).err(), Some(Pkcs12Error::NoCertificate));
    let (key, _) = mine.into_parts();
    let certificates = other.into_parts().1;
    assert_eq!(Identity::new(key, certificates, None).err(), Some(Pkcs12Error::NoCertificate));
}

/// Gives a file a MAC of PBMAC1 (RFC 9579) that OpenSSL's command line computes in two steps.
#[test]
fn a_mac_of_pbmac1_is_checked() {
    let whole = sample("openssl-modern.p12");
    let pfx = <syntax::Pfx<'_> as der::Decode>::from_der(&whole).unwrap();
    let content: &der::asn1::OctetStringRef = pfx.content.content.decode_as().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("content"), content.as_bytes()).unwrap();
    for (hmac, hash, key_bytes) in [
        (syntax::HMAC_SHA256, "sha256", 32_u16),
        (syntax::HMAC_SHA512, "sha512", 64),
        (syntax::HMAC_SHA256, "sha256", 10),
    ] {
        let line = format!(
            "kdf -binary -keylen {key_bytes} -kdfopt digest:{hash} -kdfopt hexsalt:0102030405060708 \
             -kdfopt iter:3000 -kdfopt"
        );
        let pass = format!("pass:{PASSPHRASE}");
        let Some(key) = openssl(dir.path(), &line, &[&pass, "PBKDF2"]) else { return };
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("dgst -binary -{hash} -mac HMAC -macopt hexkey:{key} content");
        let digest = openssl(dir.path(), &line, &[]).unwrap();
        let file = with_pbmac1(&pfx.content, hmac, key_bytes, &digest);
        let found = read(&file, PASSPHRASE, None, NOON).err();
        let expected = Pkcs12Error::Damaged { place: "the parameters of PBMAC1" };
        assert_eq!(found, (key_bytes == 10).then_some(expected), "{hash} {key_bytes}");
        if key_bytes > 10 {
            assert_eq!(read(&file, "wrong", None, NOON).err(), Some(Pkcs12Error::Passphrase));
        }
    }
}

fn with_pbmac1(
    content: &syntax::ContentInfo<'_>,
    hmac: x509_cert::spki::ObjectIdentifier,
    key_bytes: u16,
    digest: &[u8],
) -> Vec<u8> {
    use der::{
        Encode,
        asn1::{Any, OctetStringRef},
    };
    use x509_cert::spki::AlgorithmIdentifierRef;
    let octets = |bytes| OctetStringRef::new(bytes).unwrap();
    let hmac = AlgorithmIdentifierRef { oid: hmac, parameters: None };
    let kdf = syntax::Pbkdf2Parameters {
        salt: octets(&[1, 2, 3, 4, 5, 6, 7, 8]),
        iterations: 3000,
        key_bytes: Some(key_bytes),
        prf: Some(hmac),
    };
    let kdf = Any::encode_from(&kdf).unwrap();
    let kdf = AlgorithmIdentifierRef { oid: syntax::PBKDF2, parameters: Some(kdf.to_ref()) };
    let parameters = Any::encode_from(&syntax::Pbmac1Parameters { kdf, mac: hmac }).unwrap();
    let algorithm =
        AlgorithmIdentifierRef { oid: syntax::PBMAC1, parameters: Some(parameters.to_ref()) };
    let mac = syntax::MacData {
        mac: syntax::DigestInfo { algorithm, digest: octets(digest) },
        salt: octets(b"NOT USED"),
        iterations: 1,
    };
    let content =
        syntax::ContentInfo { content_type: content.content_type, content: content.content };
    syntax::Pfx { version: 3, content, mac: Some(mac) }.to_der().unwrap()
}

#[test]
fn every_truncated_file_is_refused() {
    for name in ["openssl-modern.p12", "openssl-plain.p12", "nss.p12"] {
        let file = sample(name);
        for length in 0..file.len() {
            let error = read(&file[..length], PASSPHRASE, None, NOON).err();
            assert_eq!(error, Some(Pkcs12Error::Damaged { place: "the file" }), "{name} {length}");
        }
    }
    let long = vec![0x30; PKCS12_BYTES_MAX + 1];
    let error = read(&long, PASSPHRASE, None, NOON).err();
    assert_eq!(error, Some(Pkcs12Error::TooLarge { bytes: PKCS12_BYTES_MAX + 1 }));
}

#[test]
fn a_passphrase_of_no_or_too_many_bytes_is_refused() {
    let long = "x".repeat(PASSPHRASE_BYTES_MAX + 1);
    let mine = identity(KeyAlgorithm::EcP256);
    for (passphrase, bytes) in [("", 0), (long.as_str(), long.len())] {
        let error = write(&mine, passphrase, Protection::Modern, &mut fill).err();
        assert_eq!(error, Some(Pkcs12Error::PassphraseForm { bytes }));
    }
    let error = read(&sample("java.p12"), &long, None, NOON).err();
    assert_eq!(error, Some(Pkcs12Error::PassphraseForm { bytes: long.len() }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Without a MAC, every byte reaches the parsers.
    #[test]
    fn a_changed_file_gives_an_error_or_a_key_with_its_certificate(
        at in any::<prop::sample::Index>(), byte: u8, which in 0..3_usize
    ) {
        let name = ["openssl-plain.p12", "openssl-legacy.p12", "openssl-modern.p12"][which];
        let mut file = sample(name);
        let at = at.index(file.len());
        file[at] = byte;
        if let Ok(found) = read(&file, PASSPHRASE, None, NOON) {
            assert!(found.certificates()[0].matches(found.key()));
        }
    }

    #[test]
    fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        assert!(read(&bytes, PASSPHRASE, None, NOON).is_err());
    }
}
