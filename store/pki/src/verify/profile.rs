//! Parsed extensions of a certificate, and the rules of RFC 5280 §4 for its form.

use std::cell::OnceCell;

use der::{Decode, oid::ObjectIdentifier};
use x509_cert::{
    Version,
    ext::pkix::{
        AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies,
        CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, NameConstraints, PolicyConstraints,
        PolicyMappings, SubjectAltName, SubjectKeyIdentifier,
        crl::dp::DistributionPoint,
        name::{GeneralName, GeneralNames},
    },
};

use super::{Request, Rules, subtrees, syntax, webpki};
use crate::{
    budget::each,
    certificate::Certificate,
    name,
    rule::{Broken, Reason},
    signature,
};

const SKI: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(super) const SAN: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const ISSUER_ALT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.18");
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
const CRL_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");
const MAPPINGS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.33");
const AKI: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const POLICY_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.36");
pub(super) const EKU: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const INHIBIT_ANY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.54");
const AIA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");

/// A certificate as path validation sees it.
pub(super) struct Profiled<'a> {
    pub(super) certificate: &'a Certificate,
    /// Subject and issuer, prepared for comparison (RFC 5280 §7.1).
    pub(super) subject: name::Comparable,
    pub(super) issuer: name::Comparable,
    pub(super) basic: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) eku: Option<Vec<ObjectIdentifier>>,
    pub(super) names: Vec<GeneralName>,
    pub(super) has_san: bool,
    pub(super) constraints: Option<NameConstraints>,
    pub(super) policies: Option<Vec<ObjectIdentifier>>,
    pub(super) mappings: Vec<(ObjectIdentifier, ObjectIdentifier)>,
    pub(super) policy_constraints: Option<PolicyConstraints>,
    pub(super) inhibit_any: Option<u32>,
    pub(super) key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    /// Issuer and serial number of its issuer's certificate, from the authority key identifier.
    authority_certificate: (Option<GeneralNames>, Option<Vec<u8>>),
    pub(super) crl_points: Vec<DistributionPoint>,
    self_signed: OnceCell<bool>,
    criticals: Vec<(ObjectIdentifier, bool)>,
}

impl<'a> Profiled<'a> {
    /// Parses all extensions. Refuses one that cannot be parsed, or is critical and unknown.
    pub(super) fn read(certificate: &'a Certificate) -> Result<Profiled<'a>, Broken> {
        let tbs = certificate.parsed().tbs_certificate();
        let mut read = Profiled {
            certificate,
            subject: name::Comparable::of(tbs.subject()),
            issuer: name::Comparable::of(tbs.issuer()),
            basic: None,
            key_usage: None,
            eku: None,
            names: Vec::new(),
            has_san: false,
            constraints: None,
            policies: None,
            mappings: Vec::new(),
            policy_constraints: None,
            inhibit_any: None,
            key_id: None,
            authority_key_id: None,
            authority_certificate: (None, None),
            crl_points: Vec::new(),
            self_signed: OnceCell::new(),
            criticals: Vec::new(),
        };
        for extension in tbs.extensions().map(Vec::as_slice).unwrap_or_default() {
            let (id, critical) = (extension.extn_id, extension.critical);
            if read.criticals.iter().any(|(known, _)| *known == id) {
                return Err(Broken::rule(
                    "RFC 5280 §4.2",
                    format!("the extension {id} is there twice"),
                ));
            }
            read.criticals.push((id, critical));
            read.extension(id, critical, extension.extn_value.as_bytes())?;
        }
        Ok(read)
    }

    fn extension(
        &mut self,
        id: ObjectIdentifier,
        critical: bool,
        value: &[u8],
    ) -> Result<(), Broken> {
        match id {
            SKI => {
                self.key_id = Some(decode::<SubjectKeyIdentifier>(id, value)?.0.as_bytes().to_vec())
            }
            KEY_USAGE => self.key_usage = Some(decode(id, value)?),
            SAN => {
                self.names = decode::<SubjectAltName>(id, value)?.0;
                self.has_san = true;
            }
            BASIC => self.basic = Some(decode(id, value)?),
            NAME_CONSTRAINTS => self.constraints = Some(decode(id, value)?),
            POLICIES => {
                let found = decode::<CertificatePolicies>(id, value)?.0;
                self.policies = Some(found.iter().map(|one| one.policy_identifier).collect());
            }
            MAPPINGS => {
                let found = decode::<PolicyMappings>(id, value)?.0;
                let pair = |one: &x509_cert::ext::pkix::PolicyMapping| {
                    (one.issuer_domain_policy, one.subject_domain_policy)
                };
                self.mappings = found.iter().map(pair).collect();
            }
            AKI => {
                let found = decode::<AuthorityKeyIdentifier>(id, value)?;
                self.authority_key_id = found.key_identifier.map(|id| id.as_bytes().to_vec());
                let serial = found.authority_cert_serial_number;
                let serial = serial.map(|serial| serial.as_bytes().to_vec());
                self.authority_certificate = (found.authority_cert_issuer, serial);
            }
            POLICY_CONSTRAINTS => self.policy_constraints = Some(decode(id, value)?),
            EKU => self.eku = Some(decode::<ExtendedKeyUsage>(id, value)?.0),
            INHIBIT_ANY => self.inhibit_any = Some(decode(id, value)?),
            AIA => drop(decode::<AuthorityInfoAccessSyntax>(id, value)?),
            CRL_POINTS => self.crl_points = decode::<CrlDistributionPoints>(id, value)?.0,
            ISSUER_ALT => {}
            _ if critical => {
                let detail = format!("critical extension {id} is not known");
                return Err(Broken::rule("RFC 5280 §4.2", detail));
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns an upper estimate, in nanoseconds, for the rules of one path on this certificate.
    pub(super) fn weight(&self) -> u64 {
        let trees = self.constraints.iter().flat_map(|all| {
            let sides = [&all.permitted_subtrees, &all.excluded_subtrees];
            sides.into_iter().flatten().flatten().map(|tree| &tree.base)
        });
        let parts = |one: &GeneralName| match one {
            GeneralName::DirectoryName(name) => 1 + name::parts(&[name]),
            _ => 1,
        };
        let lists = [
            self.names.iter().chain(trees).map(parts).sum(),
            self.policies.as_ref().map_or(0, Vec::len),
            self.mappings.len(),
            self.eku.as_ref().map_or(0, Vec::len),
        ];
        1_000 + each(self.certificate.der().len(), 1) + each(lists.into_iter().sum(), 200)
    }

    pub(super) fn is_authority(&self) -> bool {
        self.basic.as_ref().is_some_and(|basic| basic.ca)
    }

    /// Returns whether subject and issuer are the same name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    pub(super) fn is_critical(&self, id: ObjectIdentifier) -> Option<bool> {
        self.criticals.iter().find(|(known, _)| *known == id).map(|(_, critical)| *critical)
    }

    /// Checks the rules for this certificate alone.
    pub(super) fn check(&self, request: &Request<'_>, is_anchor: bool) -> Result<(), Broken> {
        let tbs = self.certificate.parsed().tbs_certificate();
        let (from, till) = (self.certificate.not_before(), self.certificate.not_after());
        if !(from..=till).contains(&request.at) {
            let word = if request.at < from { "is not valid yet" } else { "has expired" };
            return Err(Broken::new(
                Reason::Dates,
                "RFC 5280 §4.1.2.5",
                format!("the certificate {word}"),
            ));
        }
        if self.certificate.parsed().signature_algorithm() != tbs.signature() {
            return Err(Broken::rule(
                "RFC 5280 §4.1.1.2",
                "the two statements of the signature's algorithm differ",
            ));
        }
        let must_sign = !matches!(request.purpose, super::Purpose::Email | super::Purpose::Any);
        signature::check_key(self.certificate, must_sign)?;
        subtrees::check_form(self.constraints.as_ref(), request.rules)?;
        if request.rules != Rules::Path {
            let is_asked_for = std::ptr::eq(self.certificate, request.certificate);
            if is_asked_for || !is_anchor {
                self.check_serial()?;
            }
            self.check_names()?;
            self.check_usage()?;
            self.check_critical(request.rules, is_anchor)?;
            self.check_authority(request.rules, is_anchor)?;
            if request.rules == Rules::WebPki {
                webpki::check(self, request, is_asked_for, is_anchor)?;
            }
        }
        Ok(())
    }

    /// Checks the serial number. Skipped for an anchor above the certificate: nothing depends on
    /// its number, and some well-known anchors have 0, which users should accept (RFC 5280
    /// §4.1.2.2).
    fn check_serial(&self) -> Result<(), Broken> {
        let serial = self.certificate.parsed().tbs_certificate().serial_number().as_bytes();
        let is_negative = serial.first().is_some_and(|byte| byte & 0x80 != 0);
        if is_negative || serial.iter().all(|byte| *byte == 0) || serial.len() > 20 {
            return Err(Broken::rule(
                "RFC 5280 §4.1.2.2",
                "its serial number is not a positive one of at most 20 bytes",
            ));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Broken> {
        let tbs = self.certificate.parsed().tbs_certificate();
        if tbs.version() != Version::V3 {
            return Err(Broken::rule("RFC 5280 §4.1.2.1", "it is not of version 3"));
        }
        if self.issuer.is_empty() {
            return Err(Broken::rule("RFC 5280 §4.1.2.4", "its issuer has no name"));
        }
        if self.has_san && self.names.is_empty() {
            return Err(Broken::rule("RFC 5280 §4.2.1.6", "its alternative names are none"));
        }
        syntax::check(&self.names)?;
        if self.subject.is_empty() {
            if self.is_authority() {
                return Err(Broken::rule("RFC 5280 §4.1.2.6", "an authority has no name"));
            }
            if self.is_critical(SAN) != Some(true) {
                return Err(Broken::rule(
                    "RFC 5280 §4.2.1.6",
                    "it has no subject, and its alternative names are not critical",
                ));
            }
        }
        Ok(())
    }

    fn check_usage(&self) -> Result<(), Broken> {
        if let Some(usage) = &self.key_usage {
            if usage.0.is_empty() {
                return Err(Broken::rule("RFC 5280 §4.2.1.3", "its key usage is empty"));
            }
            if usage.key_cert_sign() && !self.is_authority() {
                return Err(Broken::rule(
                    "RFC 5280 §4.2.1.9",
                    "its key may sign certificates, but it is no authority",
                ));
            }
        }
        if self.eku.as_ref().is_some_and(Vec::is_empty) {
            return Err(Broken::rule("RFC 5280 §4.2.1.12", "its extended key usage is empty"));
        }
        let path_length = self.basic.as_ref().and_then(|basic| basic.path_len_constraint);
        if path_length.is_some() && !self.is_authority() {
            return Err(Broken::rule("RFC 5280 §4.2.1.9", "a path length on no authority"));
        }
        if let Some(constraints) = &self.policy_constraints
            && (constraints.require_explicit_policy, constraints.inhibit_policy_mapping)
                == (None, None)
        {
            return Err(Broken::rule("RFC 5280 §4.2.1.11", "its policy constraints are empty"));
        }
        Ok(())
    }

    /// Returns whether what the issuer should have written into it does not matter: an anchor is a
    /// name and a key (RFC 5280 §6.1.1 (d)). A self-issued one is its own issuer. The Baseline
    /// Requirements have rules for cross-signed authorities (BR §7.1.2.2), trusted or not.
    fn is_free_of_issuer(&self, rules: Rules, is_anchor: bool) -> bool {
        let is_foreign = is_anchor && !self.is_self_issued();
        is_foreign && (rules != Rules::WebPki || self.is_self_signed())
    }

    fn check_critical(&self, rules: Rules, is_anchor: bool) -> Result<(), Broken> {
        let must_not = [
            (AKI, "RFC 5280 §4.2.1.1", "authority key identifier"),
            (SKI, "RFC 5280 §4.2.1.2", "subject key identifier"),
            (AIA, "RFC 5280 §4.2.2.1", "authority information access"),
        ];
        for (id, source, what) in must_not {
            if self.is_critical(id) == Some(true) && !self.is_free_of_issuer(rules, is_anchor) {
                return Err(Broken::rule(source, format!("its {what} is critical")));
            }
        }
        let must = [
            (NAME_CONSTRAINTS, "RFC 5280 §4.2.1.10", "name constraints"),
            (POLICY_CONSTRAINTS, "RFC 5280 §4.2.1.11", "policy constraints"),
            (INHIBIT_ANY, "RFC 5280 §4.2.1.14", "inhibition of any policy"),
        ];
        for (id, source, what) in must {
            // The Baseline Requirements allow it for name constraints (§7.1.2.5.2).
            let is_allowed = rules == Rules::WebPki && id == NAME_CONSTRAINTS;
            if self.is_critical(id) == Some(false) && !is_allowed {
                return Err(Broken::rule(source, format!("its {what} is not critical")));
            }
        }
        if self.is_authority() && self.is_critical(BASIC) == Some(false) {
            return Err(Broken::rule(
                "RFC 5280 §4.2.1.9",
                "its basic constraints are not critical",
            ));
        }
        Ok(())
    }

    fn check_authority(&self, rules: Rules, is_anchor: bool) -> Result<(), Broken> {
        if self.constraints.is_some() && !self.is_authority() {
            return Err(Broken::rule("RFC 5280 §4.2.1.10", "name constraints on no authority"));
        }
        if self.is_free_of_issuer(rules, is_anchor) {
            return Ok(());
        }
        if self.is_authority() && self.key_id.is_none() {
            return Err(Broken::rule(
                "RFC 5280 §4.2.1.2",
                "an authority without a subject key identifier",
            ));
        }
        self.check_authority_key(is_anchor)
    }

    fn check_authority_key(&self, is_anchor: bool) -> Result<(), Broken> {
        let broken = |what| Err(Broken::rule("RFC 5280 §4.2.1.1", what));
        let is_own_issuer = self.is_self_issued() && is_anchor;
        if self.authority_key_id.is_none() && !(is_own_issuer && self.is_critical(AKI).is_none()) {
            return broken("it has no authority key identifier");
        }
        let (issuer, serial) = &self.authority_certificate;
        if issuer.is_some() != serial.is_some() {
            return broken("its authority key identifier names an issuer or a serial number alone");
        }
        if is_own_issuer && !self.names_itself() && self.is_self_signed() {
            return broken(
                "its authority key identifier is that of another one, but it signed itself",
            );
        }
        Ok(())
    }

    /// Returns whether the authority key identifier is true of this certificate itself.
    fn names_itself(&self) -> bool {
        let is_key = self.authority_key_id.is_none() || self.authority_key_id == self.key_id;
        let tbs = self.certificate.parsed().tbs_certificate();
        let is_certificate = match &self.authority_certificate {
            (Some(issuer), Some(serial)) => {
                let is_issuer = |name: &GeneralName| match name {
                    GeneralName::DirectoryName(name) => name::Comparable::of(name) == self.issuer,
                    _ => false,
                };
                issuer.iter().any(is_issuer) && serial == tbs.serial_number().as_bytes()
            }
            _ => true,
        };
        is_key && is_certificate
    }

    /// Returns whether its own key signed it. A self-issued one may have a new key, signed by the
    /// old one.
    fn is_self_signed(&self) -> bool {
        *self
            .self_signed
            .get_or_init(|| signature::is_signed_by(self.certificate, self.certificate))
    }
}

fn decode<'v, T: Decode<'v>>(id: ObjectIdentifier, value: &'v [u8]) -> Result<T, Broken> {
    T::from_der(value)
        .map_err(|_| Broken::rule("RFC 5280 §4.2", format!("extension {id} cannot be read")))
}
