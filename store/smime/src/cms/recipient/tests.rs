//! X25519 (RFC 8418) against OpenSSL, which has its parts: X25519, the key derivations and the key
//! wraps. OpenSSL 3 itself has no X25519 in CMS.

use data_encoding::HEXLOWER;

use super::*;
use crate::{
    ber::CONTEXT_2,
    tests::{file, fill, person, succeed},
};

const CONTENT_KEY: [u8; 32] = [0x5c; 32];

/// Lets OpenSSL agree, with a private key of a file and a public key.
fn agreed_by_openssl(key: &str, peer_der: &[u8]) -> Option<Vec<u8>> {
    let peer = file(peer_der);
    let arguments = ["pkeyutl", "-derive", "-inkey", key, "-peerform", "DER", "-peerkey", &peer];
    succeed("openssl", &arguments, b"")
}

/// A derivation by OpenSSL, with its name there, and the wrap of the content key.
struct Case {
    scheme: &'static str,
    derivation: &'static str,
    digest: &'static str,
    /// Last arc of the key wrap, and its bits.
    wrap: (u8, u16),
}

impl Case {
    /// AlgorithmIdentifier of the key wrap (RFC 3565 §2.3.2).
    fn wrap(&self) -> Vec<u8> {
        [&[0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1][..], &[self.wrap.0]].concat()
    }

    fn key_by_openssl(&self, shared: &[u8], material: Option<&[u8]>) -> Vec<u8> {
        let bits = u32::from(self.wrap.1);
        let material = material.map(|bytes| tlv(CONTEXT_0, &[&tlv(OCTET_STRING, &[bytes])]));
        let size = tlv(CONTEXT_2, &[&tlv(OCTET_STRING, &[&bits.to_be_bytes()])]);
        let info = tlv(SEQUENCE, &[&self.wrap(), &material.clone().unwrap_or_default(), &size]);
        let secret = match self.derivation {
            "HKDF" => format!("hexkey:{}", HEXLOWER.encode(shared)),
            _ => format!("hexsecret:{}", HEXLOWER.encode(shared)),
        };
        let salt = material.filter(|_| self.derivation == "HKDF");
        let salt = salt.map(|material| format!("hexsalt:{}", HEXLOWER.encode(&material[4..])));
        let digest = format!("digest:{}", self.digest);
        let (info, length) =
            (format!("hexinfo:{}", HEXLOWER.encode(&info)), (bits / 8).to_string());
        let mut arguments = vec!["kdf", "-binary", "-keylen", &length, "-kdfopt", &digest];
        arguments.extend(["-kdfopt", &secret, "-kdfopt", &info]);
        arguments.extend(salt.iter().flat_map(|salt| ["-kdfopt", salt]));
        arguments.push(self.derivation);
        succeed("openssl", &arguments, b"").unwrap()
    }

    /// Wraps a key by OpenSSL, or with `-d` unwraps it.
    fn wrapped_by_openssl(&self, key: &[u8], input: &[u8], direction: &str) -> Vec<u8> {
        let (cipher, key) = (format!("-id-aes{}-wrap", self.wrap.1), HEXLOWER.encode(key));
        let start = ["enc", direction, &cipher, "-K", &key, "-iv", "a6a6a6a6a6a6a6a6"];
        succeed("openssl", &start, input).unwrap()
    }
}

const WRITTEN: Case = Case {
    scheme: "1.2.840.113549.1.9.16.3.19",
    derivation: "HKDF",
    digest: "SHA256",
    wrap: (0x2d, 256),
};

/// Public key of X25519 (SubjectPublicKeyInfo, RFC 8410 §4).
fn spki(point: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&[0x30, 5, 6, 3, 0x2b, 0x65, 0x6e], &tlv(3, &[&[0], point])])
}

/// KeyAgreeRecipientInfo for the X25519 account of the tests.
fn info_of(scheme: &str, wrap: &[u8], point: &[u8], more: &[u8], encrypted: &[u8]) -> Vec<u8> {
    let mut originator = spki(point);
    originator[0] = CONTEXT_1;
    let name = person(KeyAlgorithm::X25519).certificate.issuer_and_serial_der().unwrap();
    let recipient = tlv(SEQUENCE, &[&name, &tlv(OCTET_STRING, &[encrypted])]);
    let scheme = algorithm(ObjectIdentifier::new_unwrap(scheme), wrap);
    let originator = tlv(CONTEXT_0, &[&originator]);
    tlv(CONTEXT_1, &[&[2, 1, 3], &originator, more, &scheme, &tlv(SEQUENCE, &[&recipient])])
}

fn opened(info: &[u8]) -> Vec<u8> {
    let found = Found::read(info, &[person(KeyAlgorithm::X25519).holder()]);
    found.unwrap().expect("the account is a recipient").open(32, &mut fill).to_vec()
}

fn written() -> Vec<u8> {
    let certificate = &person(KeyAlgorithm::X25519).certificate;
    info(certificate, RsaPadding::Pkcs1, &CONTENT_KEY, &mut fill).unwrap()
}

/// Returns the public key of the sender and the wrapped content key of what is written.
fn parts(info: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mark = [3, 33, 0];
    let at = info.windows(3).position(|bytes| bytes == mark).unwrap() + 3;
    (info[at..at + 32].to_vec(), info[info.len() - 40..].to_vec())
}

#[test]
fn openssl_opens_what_is_written_for_x25519() {
    let info = written();
    let (point, encrypted) = parts(&info);
    // Every other byte is as RFC 8418 has it.
    assert_eq!(info, info_of(WRITTEN.scheme, &WRITTEN.wrap(), &point, &[], &encrypted));
    assert_eq!(opened(&info), CONTENT_KEY);
    let key = &person(KeyAlgorithm::X25519).key_file;
    let Some(shared) = agreed_by_openssl(key, &spki(&point)) else { return };
    let key = WRITTEN.key_by_openssl(&shared, None);
    assert_eq!(WRITTEN.wrapped_by_openssl(&key, &encrypted, "-d"), CONTENT_KEY);
}

#[test]
fn what_openssl_derives_and_wraps_for_x25519_is_opened() {
    let case = |scheme, derivation, digest, wrap| Case { scheme, derivation, digest, wrap };
    let own = person(KeyAlgorithm::X25519).key.public_key_der();
    for case in [
        case("1.3.132.1.11.1", "X963KDF", "SHA256", (5, 128)),
        case("1.3.132.1.11.2", "X963KDF", "SHA384", (0x19, 192)),
        case("1.3.132.1.11.3", "X963KDF", "SHA512", (0x2d, 256)),
        case("1.2.840.113549.1.9.16.3.19", "HKDF", "SHA256", (5, 128)),
        case("1.2.840.113549.1.9.16.3.19", "HKDF", "SHA256", (0x2d, 256)),
        case("1.2.840.113549.1.9.16.3.20", "HKDF", "SHA384", (0x19, 192)),
        case("1.2.840.113549.1.9.16.3.21", "HKDF", "SHA512", (0x2d, 256)),
    ] {
        let Some(pem) = succeed("openssl", &["genpkey", "-algorithm", "x25519"], b"") else {
            return;
        };
        let public = ["pkey", "-pubout", "-outform", "DER"];
        let public = succeed("openssl", &public, &pem).unwrap();
        let shared = agreed_by_openssl(&file(&pem), own).unwrap();
        for material in [None, Some(&b"material of the sender"[..])] {
            let key = case.key_by_openssl(&shared, material);
            let encrypted = case.wrapped_by_openssl(&key, &CONTENT_KEY, "-e");
            let more = material.map(|bytes| tlv(CONTEXT_1, &[&tlv(OCTET_STRING, &[bytes])]));
            let more = more.unwrap_or_default();
            let info = info_of(case.scheme, &case.wrap(), &public[12..], &more, &encrypted);
            assert_eq!(opened(&info), CONTENT_KEY, "{} {material:?}", case.scheme);
        }
    }
}

#[test]
fn a_changed_key_of_the_sender_and_one_of_low_order_give_a_random_content_key() {
    let (point, encrypted) = parts(&written());
    let made = |point: &[u8], wrap: &[u8], scheme| info_of(scheme, wrap, point, &[], &encrypted);
    let wrap = WRITTEN.wrap();
    assert_eq!(opened(&made(&point, &wrap, WRITTEN.scheme)), CONTENT_KEY);
    let mut changed = point.clone();
    changed[7] ^= 1;
    let (zero, mut one) = ([0; 32], [0; 32]);
    one[0] = 1;
    // A sender of zeros knows the key that everybody would derive.
    let known = Scheme::of_key(KeyAlgorithm::X25519).derive(&zero, &wrap, None, 32).unwrap();
    let by_zeros = wrapped(&known, &CONTENT_KEY).unwrap();
    for info in [
        made(&changed, &wrap, WRITTEN.scheme),
        made(&point[..31], &wrap, WRITTEN.scheme),
        made(&[4; 65], &wrap, WRITTEN.scheme),
        made(&point, &wrap, "1.3.132.1.11.1"),
        info_of(WRITTEN.scheme, &wrap, &zero, &[], &by_zeros),
        info_of(WRITTEN.scheme, &wrap, &one, &[], &by_zeros),
    ] {
        let (first, second) = (opened(&info), opened(&info));
        assert!(first != CONTENT_KEY && first != second && first.len() == 32);
    }
    let unknown = made(&point, &wrap, "1.2.840.113549.1.9.16.3.5");
    let error = Found::read(&unknown, &[person(KeyAlgorithm::X25519).holder()]).err();
    assert_eq!(error, Some(ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.3.5")));
}
