//! Keys and certificates for tests.

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{
        X509, X509Builder, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};

/// Kind of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    P256,
    P384,
    Rsa(u32),
    Ed25519,
}

/// A certificate with its key.
pub(crate) struct Identity {
    /// Certificate, then its issuers, DER.
    pub(crate) chain: Vec<Vec<u8>>,
    /// Private key, PKCS#8 DER.
    pub(crate) key: Vec<u8>,
    x509: X509,
    pkey: PKey<Private>,
}

impl Identity {
    /// A self-signed authority.
    pub(crate) fn authority(name: &str) -> Identity {
        make(name, Kind::P256, None, 3650, 0)
    }

    /// Issues a certificate for `name`, valid for `days` from now.
    pub(crate) fn issue(name: &str, kind: Kind, issuer: &Identity, days: i64) -> Identity {
        make(name, kind, Some(issuer), days, 0)
    }

    /// Issues a certificate with further names, until it has about `bytes` bytes.
    pub(crate) fn issue_large(name: &str, kind: Kind, issuer: &Identity, bytes: usize) -> Identity {
        make(name, kind, Some(issuer), 365, bytes)
    }

    /// Its subject, DER.
    pub(crate) fn subject(&self) -> Vec<u8> {
        self.x509.subject_name().to_der().unwrap()
    }

    pub(crate) fn x509(&self) -> &X509 {
        &self.x509
    }

    pub(crate) fn pkey(&self) -> &PKey<Private> {
        &self.pkey
    }
}

fn new_key(kind: Kind) -> PKey<Private> {
    let curve = |nid| {
        let group = EcGroup::from_curve_name(nid).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    };
    match kind {
        Kind::P256 => curve(Nid::X9_62_PRIME256V1),
        Kind::P384 => curve(Nid::SECP384R1),
        Kind::Rsa(bits) => PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap(),
        Kind::Ed25519 => PKey::generate_ed25519().unwrap(),
    }
}

fn make(name: &str, kind: Kind, issuer: Option<&Identity>, days: i64, bytes: usize) -> Identity {
    let pkey = new_key(kind);
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut x509 = X509Builder::new().unwrap();
    x509.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, openssl::bn::MsbOption::ONE, false).unwrap();
    x509.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    x509.set_subject_name(&subject).unwrap();
    let issuer_name = issuer.map_or(&*subject, |issuer| issuer.x509.subject_name());
    x509.set_issuer_name(issuer_name).unwrap();
    x509.set_pubkey(&pkey).unwrap();
    let now = super::now_unix();
    let begin = now.min(now + days * 86_400) - 86_400;
    x509.set_not_before(&Asn1Time::from_unix(begin).unwrap()).unwrap();
    x509.set_not_after(&Asn1Time::from_unix(now + days * 86_400).unwrap()).unwrap();
    if issuer.is_none() {
        x509.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    let mut names = SubjectAlternativeName::new();
    names.dns(name);
    for number in 0..bytes / 62 {
        names.dns(&format!("{number:048}.{name}"));
    }
    let names = names.build(&x509.x509v3_context(None, None)).unwrap();
    x509.append_extension(names).unwrap();
    x509.sign(issuer.map_or(&pkey, |issuer| &issuer.pkey), MessageDigest::sha256()).unwrap();
    let x509 = x509.build();
    let mut chain = vec![x509.to_der().unwrap()];
    chain.extend(issuer.iter().flat_map(|issuer| issuer.chain.clone()));
    Identity { chain, key: pkey.private_key_to_pkcs8().unwrap(), x509, pkey }
}
