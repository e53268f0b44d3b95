//! Bytes from strangers: one function for each kind of input, which must neither panic nor take
//! more than its bounds, whatever the bytes.
//!
//! `tests/fuzz` hands them what libFuzzer makes, `suites/fuzz.rs` what libFuzzer once found worth
//! keeping. No other module of this crate is used here, so that the fuzz crate needs none of it.

#[path = "fuzz/clear.rs"]
mod clear;
#[path = "fuzz/dtls.rs"]
mod dtls;
#[path = "fuzz/mail.rs"]
mod mail;
#[path = "fuzz/resign.rs"]
mod resign;

#[allow(unused_imports, reason = "seeds are for one program, targets for another")]
pub use clear::{clear_seeds, conversation, proxy};

use base64::{Engine, engine::general_purpose::STANDARD};
use conclave_pki::{
    certificate::{Certificate, read_certificates, read_many},
    chain,
    crl::{Crl, read_crls},
    csr::read_request,
    key::{PrivateKey, public_key_algorithm, read_private_key},
    verify::{Purpose, Request, Rules, Subject, verify},
};
pub use dtls::{dtls_fragment, dtls_hello, dtls_record};
#[allow(unused_imports, reason = "as above")]
pub use mail::{cms, mail_seeds, message};

/// Passphrase of the encrypted keys among the seeds.
pub const PASSPHRASE: &[u8] = b"passphrase";
/// Noon of 2026-01-01, when the seeds are valid.
const NOON: u64 = 1_767_225_600;
/// Longest file of trusted certificates that the command line reads.
const CERTIFICATES_MAX: usize = 1_000;

/// What is done with an input.
pub type Target = fn(&[u8]);

/// All targets by the names of their corpora.
pub const TARGETS: [(&str, Target); 14] = [
    ("pem", pem),
    ("key", key),
    ("pkcs12", pkcs12),
    ("cms", cms),
    ("message", message),
    ("certificate", certificate),
    ("request", request),
    ("crl", crl),
    ("path", path),
    ("dtls_hello", dtls_hello),
    ("dtls_record", dtls_record),
    ("dtls_fragment", dtls_fragment),
    ("conversation", conversation),
    ("proxy", proxy),
];

/// Everything that reads PEM.
pub fn pem(input: &[u8]) {
    let _ = read_private_key(input, None);
    let _ = read_request(input);
    let _ = read_crls(input);
    let _ = chain::read_chain(input);
    for one in read_many(input, CERTIFICATES_MAX).unwrap_or_default() {
        let again = read_certificates(one.pem().as_bytes()).unwrap();
        assert_eq!(again[0].der(), one.der());
    }
}

/// Private keys: PEM as it stands, DER as each kind of block.
pub fn key(input: &[u8]) {
    let _ = public_key_algorithm(input);
    if !input.starts_with(&[0x30]) {
        used(read_private_key(input, None).ok());
        used(read_private_key(input, Some(PASSPHRASE)).ok());
        return;
    }
    used(PrivateKey::from_pkcs8_der(input).ok());
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        used(read_private_key(armour(label, input).as_bytes(), Some(PASSPHRASE)).ok());
    }
}

/// PKCS#12 files: a key that is read comes with its certificate.
pub fn pkcs12(input: &[u8]) {
    let passphrase = std::str::from_utf8(PASSPHRASE).unwrap();
    let Ok(found) = conclave_smime::pkcs12::read(input, passphrase, None, NOON) else { return };
    assert!(found.certificates()[0].matches(found.key()));
    assert!(!found.name().unwrap_or_default().contains(char::is_control));
}

/// A key that was accepted signs, and is read again as it is stored.
fn used(key: Option<PrivateKey>) {
    let Some(key) = key else { return };
    key.test().unwrap();
    let again = PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
    assert_eq!(again.public_key_der(), key.public_key_der());
    assert_eq!(public_key_algorithm(key.public_key_der()), Some(key.algorithm()));
}

/// Certificates in PEM or DER, and all that admission and `cert show` ask of them.
pub fn certificate(input: &[u8]) {
    let found = if input.starts_with(&[0x30]) {
        Certificate::from_der(input).map(|one| vec![one])
    } else {
        read_certificates(input)
    };
    let found = found.unwrap_or_default();
    for one in &found {
        shown(one);
    }
    let key = found.last().map(|one| one.public_key_der().to_vec()).unwrap_or_default();
    let Some((leaf, rest)) = chain::split_bundle(found, &key) else { return };
    let _ = chain::check(Some(&leaf), &rest, NOON);
    let _ = chain::check(None, &rest, NOON);
}

fn shown(one: &Certificate) {
    for text in [one.subject(), one.issuer(), one.serial(), one.names().concat()] {
        assert!(!text.contains(char::is_control), "{text:?} could deceive a terminal");
    }
    let _ = (one.not_before(), one.not_after(), one.issuer_url(), one.is_authority());
    let _ = (one.key_algorithm(), one.common_name().map(|name| one.covers(&name)));
    let again = Certificate::from_der(one.der()).unwrap();
    assert_eq!(again.public_key_der(), one.public_key_der());
}

/// Signing requests in PEM or DER.
pub fn request(input: &[u8]) {
    let read = match input.first() {
        Some(0x30) => read_request(armour("CERTIFICATE REQUEST", input).as_bytes()),
        _ => read_request(input),
    };
    let Ok(read) = read else { return };
    assert_eq!(read.algorithm, public_key_algorithm(&read.public_key_der));
    assert!(!read.is_signed || read.algorithm.is_some());
    assert!(!read.names.concat().contains(char::is_control));
}

/// Revocation lists in PEM or DER, used to judge a certificate of the authority that made those
/// among the seeds.
pub fn crl(input: &[u8]) {
    let Ok(crls) = read_crls(input) else { return };
    let chain = include_bytes!("../fixtures/fuzz_chain.pem");
    let chain = read_certificates(chain).unwrap();
    let [leaf, root] = &chain[..] else { panic!("two certificates") };
    let _ = verify(&Request {
        certificate: leaf,
        intermediates: &[],
        anchors: std::slice::from_ref(root),
        crls: &crls,
        purpose: Purpose::Server,
        name: None,
        at: NOON,
        rules: Rules::Profile,
        depth: None,
        is_list_required: true,
    });
}

/// A whole question of path validation. Four bytes: how it is asked, for which name, when (days
/// around noon). Then parts: one byte that says what it is, and DER.
pub fn path(input: &[u8]) {
    let [how, which, rest @ ..] = input else { return };
    let Some((days, parts)) = rest.split_at_checked(2) else { return };
    let Some(question) = Question::read(parts, how & 0x10 != 0) else { return };
    let name = question.name(*which);
    let days = i64::from(i16::from_be_bytes([days[0], days[1]]));
    let at = i64::try_from(NOON).unwrap() + days * 86_400;
    let purposes = [Purpose::Server, Purpose::Client, Purpose::Email, Purpose::Any];
    let purpose = purposes[usize::from(how & 3)];
    let rules = match (how & 4, how & 0x20) {
        (0, 0) => Rules::Profile,
        (0, _) => Rules::WebPki,
        _ => Rules::Path,
    };
    let request = Request {
        certificate: &question.leaf,
        intermediates: &question.intermediates,
        anchors: &question.anchors,
        crls: &question.crls,
        purpose,
        name: name.as_ref(),
        at: u64::try_from(at).unwrap_or(0),
        rules,
        depth: (how & 0x40 != 0).then_some(1),
        is_list_required: !question.crls.is_empty(),
    };
    match verify(&request) {
        Ok(found) => {
            let valid =
                |one: &Certificate| (one.not_before()..=one.not_after()).contains(&request.at);
            assert!(valid(&question.leaf) && valid(&question.anchors[found.anchor]));
            assert!(found.intermediates.iter().all(|one| valid(&question.intermediates[*one])));
        }
        Err(refused) => assert!(!refused.rule.is_empty() && !refused.detail.is_empty()),
    }
}

/// Certificates and lists of one input.
struct Question {
    leaf: Certificate,
    intermediates: Vec<Certificate>,
    anchors: Vec<Certificate>,
    crls: Vec<Crl>,
}

impl Question {
    /// The parts; `signed` gives all certificates one key, and a signature by it, so that more
    /// than signatures is tried.
    fn read(mut input: &[u8], signed: bool) -> Option<Question> {
        let (mut leaf, mut intermediates, mut anchors) = (None, Vec::new(), Vec::new());
        let mut crls = Vec::new();
        while let Some((kind, rest)) = input.split_first() {
            let (element, rest) = resign::element(rest)?;
            input = rest;
            if kind & 3 == 3 {
                crls.extend(Crl::from_der(element).ok());
                continue;
            }
            let resigned = signed.then(|| resign::certificate(element)).flatten();
            let Ok(one) = Certificate::from_der(resigned.as_deref().unwrap_or(element)) else {
                continue;
            };
            match kind & 3 {
                0 if leaf.is_none() => leaf = Some(one),
                2 => anchors.push(one),
                _ => intermediates.push(one),
            }
        }
        Some(Question { leaf: leaf?, intermediates, anchors, crls })
    }

    /// None, a name of the certificate itself, or an odd one.
    fn name(&self, which: u8) -> Option<Subject> {
        let own = self.leaf.names();
        let odd = ["", ".", "*", "*.example", "a..b", "@", "a@", "xn--nxasmq6b", "::", "0.0.0.0"];
        let place = usize::from(which / 2);
        match (which, which % 2) {
            (0, _) => None,
            (_, 0) => own.get(place % own.len().max(1)).map(|name| Subject::parse(name)),
            _ => Some(Subject::parse(odd[place % odd.len()])),
        }
    }
}

/// PEM around DER.
fn armour(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
