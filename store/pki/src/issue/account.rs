//! Certificates of accounts for S/MIME, and of the authority that issues them (RFC 8550, RFC 5280).

use der::{
    asn1::{Ia5String, OctetString},
    flagset::FlagSet,
};
use x509_cert::{
    ext::{
        Extension,
        pkix::{
            BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages,
            SubjectAltName, SubjectKeyIdentifier,
            crl::dp::DistributionPoint,
            name::{DistributionPointName, GeneralName},
        },
    },
    spki::ObjectIdentifier,
};

use super::{
    Attributes, CLIENT_AUTH, IssueError, Issuer, Validity, assemble, authority_identifier,
    extension, from_attributes, general_name, key_identifier,
};
use crate::{
    certificate::{Certificate, usage_to_receive},
    key::{PrivateKey, public_key_algorithm, type_name},
    limits::{ACCOUNT_EMAILS_MAX, CRL_URL_BYTES_MAX},
};

const EMAIL_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// Purpose of an account's key (RFC 8550 §4.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One key for both.
    SignAndEncrypt,
    /// Signing only.
    Sign,
    /// Receiving encrypted messages only.
    Encrypt,
}

/// Content of an account's certificate.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Public key (SubjectPublicKeyInfo, DER).
    pub public_key_der: &'a [u8],
    /// E-mail addresses, 1 to [`ACCOUNT_EMAILS_MAX`]; ASCII.
    pub emails: &'a [String],
    /// Name of the person; if empty, the first address.
    pub common_name: &'a str,
    /// Purpose of the key.
    pub purpose: Purpose,
    /// Whether TLS servers may take it as a client's certificate too.
    pub is_client: bool,
    /// URL of the issuer's revocation list, at most [`CRL_URL_BYTES_MAX`].
    pub crl_url: Option<&'a str>,
}

impl Account<'_> {
    /// Issues the certificate. Its validity is cut to that of the issuer. The serial number is
    /// random; 125 of its bits are kept.
    pub fn issue(
        &self,
        issuer_key: &PrivateKey,
        issuer: &Certificate,
        serial: [u8; 16],
        validity: Validity,
    ) -> Result<Certificate, IssueError> {
        check_issuer(issuer)?;
        if !issuer.matches(issuer_key) {
            return Err(refused(issuer, "its key is another one"));
        }
        let not_before = validity.not_before.max(issuer.not_before());
        let not_after = validity.not_after.min(issuer.not_after());
        if not_before > not_after {
            return Err(IssueError::Validity { not_after: issuer.not_after() });
        }
        let first = self.emails.first().map_or("", String::as_str);
        let common_name = if self.common_name.is_empty() { first } else { self.common_name };
        let attributes =
            Attributes { common_name: common_name.to_owned(), ..Attributes::default() };
        let extensions = self.extensions(issuer)?;
        let (subject, validity) =
            (from_attributes(&attributes)?, Validity { not_before, not_after });
        let issuer = Issuer { key: issuer_key, certificate: Some(issuer) };
        assemble(&issuer, &subject, self.public_key_der, serial, validity, extensions)
    }

    fn extensions(&self, issuer: &Certificate) -> Result<Vec<Extension>, IssueError> {
        let mut purposes = vec![EMAIL_PROTECTION];
        purposes.extend(self.is_client.then_some(CLIENT_AUTH));
        let mut all = vec![
            extension(true, &BasicConstraints { ca: false, path_len_constraint: None })?,
            extension(true, &KeyUsage(self.key_usage()?))?,
            extension(false, &ExtendedKeyUsage(purposes))?,
            extension(false, &SubjectKeyIdentifier(key_identifier(self.public_key_der)?))?,
            authority_identifier(issuer)?,
            extension(false, &SubjectAltName(self.names()?))?,
        ];
        if let Some(url) = self.crl_url {
            let name = GeneralName::UniformResourceIdentifier(uri(url)?);
            let point = DistributionPoint {
                distribution_point: Some(DistributionPointName::FullName(vec![name])),
                reasons: None,
                crl_issuer: None,
            };
            all.push(extension(false, &CrlDistributionPoints(vec![point]))?);
        }
        Ok(all)
    }

    fn names(&self) -> Result<Vec<GeneralName>, IssueError> {
        if self.emails.is_empty() || self.emails.len() > ACCOUNT_EMAILS_MAX {
            let why = "1 to 64 addresses are expected";
            return Err(IssueError::Attribute { field: "e-mail address", why });
        }
        let name = |email: &String| match general_name(email)? {
            name @ GeneralName::Rfc822Name(_) => Ok(name),
            _ => Err(IssueError::Name { name: email.chars().take(80).collect() }),
        };
        self.emails.iter().map(name).collect()
    }

    fn key_usage(&self) -> Result<FlagSet<KeyUsages>, IssueError> {
        let Some(algorithm) = public_key_algorithm(self.public_key_der) else {
            let key = type_name(self.public_key_der);
            return Err(IssueError::Purpose { key, purpose: "sign or encrypt" });
        };
        let cannot = |purpose| IssueError::Purpose { key: algorithm.to_string(), purpose };
        let mut usage = FlagSet::default();
        if self.purpose != Purpose::Encrypt {
            algorithm.check_signs().map_err(|_| cannot("sign"))?;
            usage |= KeyUsages::DigitalSignature;
        }
        if self.purpose != Purpose::Sign {
            usage |= usage_to_receive(algorithm).ok_or_else(|| cannot("encrypt"))?;
        }
        Ok(usage)
    }
}

fn refused(issuer: &Certificate, why: &'static str) -> IssueError {
    IssueError::Issuer { issuer: issuer.subject_or_names(), why }
}

/// Checks the URL of a revocation list: ASCII with a scheme, 1 to 1,024 bytes.
pub fn check_crl_url(url: &str) -> Result<(), IssueError> {
    uri(url).map(drop)
}

fn uri(url: &str) -> Result<Ia5String, IssueError> {
    let invalid = || IssueError::Name { name: url.chars().take(80).collect() };
    if url.is_empty() || url.len() > CRL_URL_BYTES_MAX || !url.contains(':') {
        return Err(invalid());
    }
    Ia5String::new(url).map_err(|_| invalid())
}

/// Checks that a certificate may issue those of accounts: an authority (RFC 5280 §4.2.1.9), whose
/// key usage allows it (§4.2.1.3) and whose purposes, if limited, include e-mail. Mail clients apply
/// the purposes of an authority to all below it.
pub fn check_issuer(issuer: &Certificate) -> Result<(), IssueError> {
    if !issuer.is_authority() {
        return Err(refused(issuer, "its basic constraints do not say that it is an authority"));
    }
    if !issuer.has_usage(KeyUsages::KeyCertSign) {
        return Err(refused(issuer, "its key usage lacks keyCertSign"));
    }
    if !issuer.has_usage(KeyUsages::CRLSign) {
        return Err(refused(issuer, "its key usage lacks cRLSign: it cannot revoke"));
    }
    let purposes = issuer.parsed().tbs_certificate().get_extension::<ExtendedKeyUsage>();
    let purposes = purposes.map_err(|_| refused(issuer, "its purposes cannot be read"))?;
    match purposes {
        Some((_, ExtendedKeyUsage(all)))
            if !all.contains(&EMAIL_PROTECTION) && !all.contains(&ANY_USAGE) =>
        {
            Err(refused(issuer, "its extended key usage lacks emailProtection"))
        }
        _ => Ok(()),
    }
}

/// Issues the certificate of an authority for accounts, signed by its own key. No other authority
/// may be below it.
pub fn smime_authority(
    key: &PrivateKey,
    attributes: &Attributes,
    serial: [u8; 16],
    validity: Validity,
) -> Result<Certificate, IssueError> {
    let identifier: OctetString = key_identifier(key.public_key_der())?;
    let extensions = vec![
        extension(true, &BasicConstraints { ca: true, path_len_constraint: Some(0) })?,
        extension(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?,
        extension(false, &SubjectKeyIdentifier(identifier))?,
    ];
    let (issuer, subject) = (Issuer { key, certificate: None }, from_attributes(attributes)?);
    assemble(&issuer, &subject, key.public_key_der(), serial, validity, extensions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crl::Crl,
        issue::{RevocationReason, Revoked, revocation_list, self_sign},
        key::{KeyAlgorithm, tests::openssl},
        verify::{self, Request, Rules, verify},
    };

    fn chance(bytes: &mut [u8]) {
        use ring::rand::{SecureRandom, SystemRandom};
        SystemRandom::new().fill(bytes).unwrap();
    }

    const VALIDITY: Validity = Validity { not_before: 1_700_000_000, not_after: 2_600_000_000 };
    const LONG: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };

    fn made(algorithm: KeyAlgorithm) -> (PrivateKey, Certificate) {
        let key = PrivateKey::generate(algorithm, &mut chance).unwrap();
        let attributes =
            Attributes { common_name: "Example Mail".to_owned(), ..Attributes::default() };
        let certificate = smime_authority(&key, &attributes, [1; 16], VALIDITY).unwrap();
        (key, certificate)
    }

    fn account<'a>(key: &'a PrivateKey, emails: &'a [String], purpose: Purpose) -> Account<'a> {
        Account {
            public_key_der: key.public_key_der(),
            emails,
            common_name: "Ann",
            purpose,
            is_client: true,
            crl_url: Some("http://a.example/crl"),
        }
    }

    #[test]
    fn openssl_accepts_accounts_for_mail_until_they_are_revoked() {
        let (authority_key, authority) = made(KeyAlgorithm::EcP256);
        let emails = ["ann@a.example".to_owned(), "a@b.example".to_owned()];
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, pem: &str| {
            std::fs::write(dir.path().join(name), pem).unwrap();
            dir.path().join(name).to_str().unwrap().to_owned()
        };
        let verify = |certificate: &Certificate, crl: &Crl| {
            let (ca, leaf) = (write("ca", &authority.pem()), write("leaf", &certificate.pem()));
            let crl = write("crl", &crl.pem());
            let output = std::process::Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", "smimesign", "-crl_check"])
                .args(["-CAfile", &ca, "-CRLfile", &crl, &leaf])
                .output()
                .unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        if openssl(&["version"], b"").is_none() {
            return;
        }
        for algorithm in [KeyAlgorithm::EcP256, KeyAlgorithm::EcP384, KeyAlgorithm::Rsa(2048)] {
            let key = PrivateKey::generate(algorithm, &mut chance).unwrap();
            let made = account(&key, &emails, Purpose::SignAndEncrypt)
                .issue(&authority_key, &authority, [7; 16], LONG)
                .unwrap();
            assert_eq!((made.not_before(), made.not_after()), (1_700_000_000, 2_600_000_000));
            assert_eq!(made.emails(), emails);
            assert!(made.may_receive() && !made.is_authority());
            assert!(made.is_issuer_and_serial(&made.issuer_and_serial_der().unwrap()));
            assert!(!made.is_issuer_and_serial(&authority.issuer_and_serial_der().unwrap()));
            let list = |revoked: &[Revoked]| {
                let updates = Validity { not_before: 1_700_000_000, not_after: 2_500_000_000 };
                revocation_list(&authority_key, &authority, 258, updates, revoked).unwrap()
            };
            let empty = list(&[]);
            assert_eq!(empty.number(), "0102");
            let (is_good, said) = verify(&made, &empty);
            assert!(is_good, "{algorithm}: {said}");
            let revoked = Revoked {
                serial: made.serial_bytes().to_vec(),
                at: 1_750_000_000,
                reason: RevocationReason::KeyCompromise,
            };
            let (is_good, said) = verify(&made, &list(&[revoked]));
            assert!(!is_good && said.contains("revoked"), "{said}");
        }
    }

    #[test]
    fn an_x25519_key_is_certified_for_key_agreement_alone() {
        let (authority_key, authority) = made(KeyAlgorithm::EcP256);
        let emails = ["ann@a.example".to_owned()];
        let key = PrivateKey::generate(KeyAlgorithm::X25519, &mut chance).unwrap();
        let account = account(&key, &emails, Purpose::Encrypt);
        let made = account.issue(&authority_key, &authority, [7; 16], VALIDITY).unwrap();
        assert!(made.may_receive() && made.matches(&key));
        let valid = |purpose| {
            let request = Request {
                certificate: &made,
                intermediates: &[],
                anchors: std::slice::from_ref(&authority),
                crls: &[],
                is_list_required: false,
                purpose,
                name: None,
                at: VALIDITY.not_before,
                rules: Rules::Profile,
                depth: None,
            };
            verify(&request)
        };
        assert!(valid(verify::Purpose::Email).is_ok());
        for purpose in [verify::Purpose::Server, verify::Purpose::EmailSignature] {
            let refused = valid(purpose).expect_err("a refusal");
            assert!(refused.detail.contains("X25519, which cannot sign"), "{refused}");
        }
        let text = openssl(&["x509", "-noout", "-ext", "keyUsage"], made.pem().as_bytes());
        let Some(text) = text.map(|text| String::from_utf8(text).unwrap()) else { return };
        assert_eq!(text.lines().last().map(str::trim), Some("Key Agreement"), "{text}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca");
        std::fs::write(&file, authority.pem()).unwrap();
        // Without -purpose smimeencrypt, for which OpenSSL wants keyEncipherment of every key.
        let arguments = ["verify", "-x509_strict", "-CAfile", file.to_str().unwrap()];
        openssl(&arguments, made.pem().as_bytes());
    }

    #[test]
    fn what_cannot_issue_or_be_issued_is_refused_with_the_reason() {
        let (key, authority) = made(KeyAlgorithm::EcP256);
        let emails = ["ann@a.example".to_owned()];
        let check = |account: &Account<'_>, issuer: &Certificate, expected: &str| {
            let error = account.issue(&key, issuer, [1; 16], VALIDITY).err().expect("a refusal");
            assert!(error.to_string().contains(expected), "{error}");
        };
        let good = account(&key, &emails, Purpose::SignAndEncrypt);
        let ed = PrivateKey::generate(KeyAlgorithm::Ed25519, &mut chance).unwrap();
        check(&account(&ed, &emails, Purpose::SignAndEncrypt), &authority, "to encrypt");
        let x = PrivateKey::generate(KeyAlgorithm::X25519, &mut chance).unwrap();
        for purpose in [Purpose::SignAndEncrypt, Purpose::Sign] {
            let expected = "a key of type X25519 cannot be certified to sign";
            check(&account(&x, &emails, purpose), &authority, expected);
        }
        check(&Account { emails: &[], ..good }, &authority, "1 to 64");
        check(&Account { emails: &["a.example".to_owned()], ..good }, &authority, "a.example");
        check(&Account { crl_url: Some("nothing"), ..good }, &authority, "nothing");
        let attributes = Attributes { common_name: "a".to_owned(), ..Attributes::default() };
        let server = self_sign(&key, &attributes, &[], [1; 16], VALIDITY).unwrap();
        check(&good, &server, "basic constraints");
        let (_, other) = made(KeyAlgorithm::EcP256);
        check(&good, &other, "its key is another one");
        let late = Validity { not_before: 2_600_000_001, not_after: 2_700_000_000 };
        assert!(good.issue(&key, &authority, [1; 16], late).is_err());
        let signing = account(&ed, &emails, Purpose::Sign);
        let signing = signing.issue(&key, &authority, [1; 16], VALIDITY).unwrap();
        assert!(!signing.may_receive());
    }
}
