//! Admission of the issuers of S/MIME certificates, and their revocation lists.

use conclave_api::{
    certificate::Refresh,
    csr::Csr,
    key::Generate,
    problem::{Code, Problem},
    smime::{Chain, Import, Set, SetRecoveryKey, Subject},
};
use conclave_keys::{Purpose, Secret};
use conclave_pki::{
    certificate::{Certificate, read_bundle},
    chain::{self, read_chain, split_bundle},
    crl::Crl,
    csr,
    issue::{self, Attributes, RevocationReason as PkiReason, Revoked, Validity, check_issuer},
    judge::Finding,
    key::{KeyAlgorithm, PrivateKey, public_key_algorithm, read_public_key},
};
use conclave_store::{
    command::{AccountAction, SetSmimeIssuer},
    id::{DomainName, Fingerprint, Version},
    outcome::Rejection,
    record::{self, Domain, DomainKey, RecoveryKey, RevocationReason, RowKey, SmimeIssuer},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::entropy;
use serde_bytes::ByteBuf;

use super::{
    Admitted, View,
    certificate::{check_dates, record_of, validity},
    domain_name,
    key::{generate_key, key_record, read_key},
    problem, rejection_problem, sealed_problem,
};
use crate::node::Node;

/// Validity of an authority that nothing else is said about.
const DAYS: u32 = 3_650;
/// Characters of a common name (RFC 5280, Appendix A.1).
const COMMON_NAME_CHARS_MAX: usize = 64;
const DAY_SECONDS: u64 = 24 * 60 * 60;
const HOUR_MS: u64 = 60 * 60 * 1_000;
/// Time until the next list. A list is made anew for each hour in which it is read.
const LIST_SECONDS: u64 = 7 * 24 * 60 * 60;
/// A list begins so much earlier, for readers whose clocks are behind.
const SKEW_SECONDS: u64 = 5 * 60;

/// What issues the certificates of a domain's accounts.
pub(crate) struct Issuing<'s> {
    key: &'s DomainKey,
    purpose: Purpose,
    pub(crate) certificate: Certificate,
    /// Certificates above it, DER.
    pub(crate) chain: &'s [ByteBuf],
}

fn opened(
    node: &Node,
    scope: Scope,
    purpose: Purpose,
    key: &DomainKey,
) -> Result<PrivateKey, Problem> {
    let opened = node.keyring().open(scope, purpose, &key.sealed);
    let opened = opened.map_err(|error| sealed_problem(node, &error))?;
    PrivateKey::from_pkcs8_der(opened.expose())
        .map_err(|error| Problem::new(Code::KeyTestFailed, error.to_string()))
}

/// Returns what issues the certificates of a domain's accounts: its S/MIME issuer, otherwise its own
/// certificate, if that may. The problem says what is missing, and the command that mends it.
pub(crate) fn issuing<'s>(state: &'s State, domain: &'s Domain) -> Result<Issuing<'s>, Problem> {
    let name = &domain.name;
    let title = format!("{name} cannot issue certificates of accounts");
    let missing = |why: String| {
        Problem::new(Code::SmimeIssuerMissing, title.clone())
            .why(why)
            .hint(format!("conclave smime self-sign {name}    or: conclave smime csr {name}"))
    };
    let own = state.smime_issuer(domain.id);
    if let Some(SmimeIssuer { key, certificate: Some(found), chain, .. }) = own {
        let certificate =
            parsed(found).ok_or_else(|| missing("its certificate is damaged".into()))?;
        check_issuer(&certificate).map_err(|error| missing(error.to_string()))?;
        return Ok(Issuing { key, purpose: Purpose::SmimeIssuer(domain.id), certificate, chain });
    }
    let mut why = match own {
        Some(_) => "its S/MIME key waits for a certificate".to_owned(),
        None => "it has neither an S/MIME issuer nor a certificate".to_owned(),
    };
    for credential in &domain.credentials {
        let Some(certificate) = credential.certificate.as_ref().and_then(parsed) else { continue };
        match check_issuer(&certificate) {
            Ok(()) => {
                let chain = state.sent_chain(credential);
                let purpose = Purpose::DomainKey(domain.id);
                return Ok(Issuing { key: &credential.key, purpose, certificate, chain });
            }
            Err(error) if own.is_none() => why = error.to_string(),
            Err(_) => {}
        }
    }
    Err(missing(why))
}

fn parsed(found: &record::Certificate) -> Option<Certificate> {
    Certificate::from_der(&found.der).ok()
}

impl View<'_> {
    /// Opens the key of an issuer.
    pub(super) fn issuer_key(&self, issuing: &Issuing<'_>) -> Result<PrivateKey, Problem> {
        self.opened(issuing.purpose, issuing.key)
    }

    fn opened(&self, purpose: Purpose, key: &DomainKey) -> Result<PrivateKey, Problem> {
        opened(self.node, self.scope, purpose, key)
    }

    fn sealed_issuer(&self, domain: &Domain, key: &PrivateKey) -> Result<DomainKey, Problem> {
        let secret = Secret::new(key.pkcs8_der().to_vec());
        let sealed = self.seal(Purpose::SmimeIssuer(domain.id), &secret)?;
        Ok(key_record(key, sealed, self.now))
    }

    /// Returns a domain. Fails if its issuer does not have the version that the caller expects;
    /// 0 expects that it has none of its own.
    fn issuing_domain(&self, name: &DomainName) -> Result<&Domain, Problem> {
        let domain = self.known_domain(name)?;
        let issuer = self.state.smime_issuer(domain.id);
        let version = issuer.map_or(Version(0), |issuer| issuer.version);
        let seen = (version, issuer.map(|issuer| &issuer.changed));
        let object = format!("the S/MIME issuer of {name}");
        self.check_version(object, seen, || format!("conclave smime show {name}"))?;
        Ok(domain)
    }

    /// Returns the key of a domain's issuer, opened, with its record: the present one, or a new one
    /// if there is none. A present key of another type than the caller wants is refused.
    fn issuer_key_or(
        &self,
        domain: &Domain,
        new: &PrivateKey,
        is_type_asked: bool,
    ) -> Result<(PrivateKey, DomainKey), Problem> {
        let Some(present) = self.state.smime_issuer(domain.id) else {
            let key = self.sealed_issuer(domain, new)?;
            let new = PrivateKey::from_pkcs8_der(new.pkcs8_der());
            let new = new.map_err(|error| problem::key("key", &error))?;
            return Ok((new, key));
        };
        if is_type_asked && present.key.algorithm != new.algorithm().to_string() {
            let (name, found) = (&domain.name, &present.key.algorithm);
            let title = format!("the S/MIME issuer of {name} has a key already: {found}");
            return Err(Problem::new(Code::KeyExists, title)
                .hint(format!("without --type    or first: conclave smime remove {name}")));
        }
        let opened = self.opened(Purpose::SmimeIssuer(domain.id), &present.key)?;
        Ok((opened, present.key.clone()))
    }
}

/// Generates the key that an issuer gets if it has none. RSA can take seconds.
pub fn generate_issuer_key(asked: &Subject) -> Result<PrivateKey, Problem> {
    generate_key(&Generate { algorithm: asked.algorithm.clone() })
}

fn attributes(name: &DomainName, asked: &Subject) -> Attributes {
    let of_domain = || format!("S/MIME CA of {name}").chars().take(COMMON_NAME_CHARS_MAX).collect();
    Attributes {
        common_name: asked.common_name.clone().unwrap_or_else(of_domain),
        country: asked.country.clone(),
        organization: asked.organization.clone(),
        unit: asked.unit.clone(),
        ..Attributes::default()
    }
}

/// Returns the change of an issuer, or that there is nothing to change.
fn set(view: &View<'_>, domain: &Domain, set: SetSmimeIssuer) -> Admitted {
    let row = RowKey::SmimeIssuer(domain.id);
    let expected = view.state.expectation(row);
    let action = AccountAction::SetSmimeIssuer(Box::new(set));
    Admitted::new(action, &domain.name).expecting(expected)
}

/// Makes a self-signed issuer, with the present key if there is one.
pub fn self_sign_issuer(
    view: &View<'_>,
    name: &str,
    asked: &Subject,
    new: &PrivateKey,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.issuing_domain(&name)?;
    let validity = validity(view, asked.days.or(Some(DAYS)))?;
    let (key, record) = view.issuer_key_or(domain, new, asked.algorithm.is_some())?;
    let made = issue::smime_authority(&key, &attributes(&name, asked), entropy::array(), validity)
        .map_err(|error| problem::issue(&error))?;
    let certificate = Some(record_of(&made));
    let issuer =
        SetSmimeIssuer { domain: name.clone(), key: record, certificate, chain: Vec::new() };
    Ok(set(view, domain, issuer))
}

/// Gives an issuer a key that waits for its certificate; nothing changes if it has one.
pub fn set_issuer_key(
    view: &View<'_>,
    name: &str,
    asked: &Subject,
    new: &PrivateKey,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.issuing_domain(&name)?;
    let (_, key) = view.issuer_key_or(domain, new, asked.algorithm.is_some())?;
    if view.state.smime_issuer(domain.id).is_some() {
        return Ok(Admitted::nothing(&name, vec![RowKey::SmimeIssuer(domain.id)]));
    }
    let issuer = SetSmimeIssuer { domain: name.clone(), key, certificate: None, chain: Vec::new() };
    Ok(set(view, domain, issuer))
}

/// Makes a signing request for the key of a domain's issuer.
pub fn issuer_csr(view: &View<'_>, name: &str, asked: &Subject) -> Result<Csr, Problem> {
    let name = domain_name(name)?;
    let domain = view.known_domain(&name)?;
    let issuer = own(view, domain)?;
    let key = view.opened(Purpose::SmimeIssuer(domain.id), &issuer.key)?;
    let attributes = attributes(&name, asked);
    let pem = csr::authority_request(&key, &attributes).map_err(|error| problem::issue(&error))?;
    let algorithm = key.algorithm().to_string();
    Ok(Csr { common_name: attributes.common_name, names: Vec::new(), algorithm, pem })
}

fn own<'s>(view: &View<'s>, domain: &Domain) -> Result<&'s SmimeIssuer, Problem> {
    view.state
        .smime_issuer(domain.id)
        .ok_or_else(|| rejection_problem(&Rejection::SmimeIssuerUnknown(domain.name.clone())))
}

/// A parsed import. It is parsed once, even if the command is derived several times.
pub struct ImportedIssuer {
    bundle: Vec<Certificate>,
    key: Option<PrivateKey>,
}

/// Parses an import.
pub fn read_issuer(asked: &Import) -> Result<ImportedIssuer, Problem> {
    let passphrase = asked.passphrase.as_deref();
    let key = asked.key.as_deref().map(|pem| read_key("key", pem, passphrase)).transpose()?;
    let bundle = read_bundle(asked.certificate.as_bytes())
        .map_err(|error| problem::certificate("certificate", &error))?;
    Ok(ImportedIssuer { bundle, key })
}

/// Sets the certificate of an issuer, and its key and chain if the import contains them. A chain is
/// kept if the import has none.
pub fn import_issuer(
    view: &View<'_>,
    name: &str,
    imported: &ImportedIssuer,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.issuing_domain(&name)?;
    let present = view.state.smime_issuer(domain.id);
    let public_key_der = match (&imported.key, present) {
        (Some(key), _) => key.public_key_der(),
        (None, _) => own(view, domain)?.key.public_key_der.as_slice(),
    };
    let (leaf, rest) = split_bundle(imported.bundle.clone(), public_key_der)
        .ok_or_else(|| Problem::new(Code::NoCertificate, "the input holds no certificate"))?;
    if leaf.public_key_der() != public_key_der {
        let title = "the certificate belongs to another key than that of the S/MIME issuer";
        return Err(Problem::new(Code::CertificateOfOtherKey, title).hint(format!(
            "conclave smime csr {name} makes a request for the present key    or: --key FILE"
        )));
    }
    check_issuer(&leaf).map_err(|error| problem::issue(&error))?;
    check_dates(&leaf, view)?;
    check_chain(view, &leaf, &rest)?;
    let chain = match (rest.is_empty(), present) {
        (true, Some(present)) if is_above(&leaf, &present.chain) => present.chain.clone(),
        _ => rest.iter().map(|one| ByteBuf::from(one.der())).collect(),
    };
    let is_present = |key: &PrivateKey| {
        present.is_some_and(|present| present.key.public_key_der == key.public_key_der())
    };
    let key = match (imported.key.as_ref().filter(|key| !is_present(key)), present) {
        (Some(key), _) => view.sealed_issuer(domain, key)?,
        (None, _) => own(view, domain)?.key.clone(),
    };
    let certificate = Some(record_of(&leaf));
    Ok(set(view, domain, SetSmimeIssuer { domain: name.clone(), key, certificate, chain }))
}

fn is_above(leaf: &Certificate, chain: &[ByteBuf]) -> bool {
    let first = chain.first().and_then(|der| Certificate::from_der(der).ok());
    first.is_some_and(|first| leaf.is_issued_by(&first))
}

fn check_chain(view: &View<'_>, leaf: &Certificate, rest: &[Certificate]) -> Result<(), Problem> {
    chain::check(Some(leaf), rest, view.now.0 / 1_000)
        .map_err(|error| problem::finding(&Finding::Chain(error)))
}

/// Renews a self-signed issuer: the same contents with a new validity.
pub fn refresh_issuer(view: &View<'_>, name: &str, asked: &Refresh) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.issuing_domain(&name)?;
    let issuer = own(view, domain)?;
    let old = issuer.certificate.as_ref().and_then(parsed).ok_or_else(|| {
        let title = format!("the S/MIME issuer of {name} has no certificate");
        Problem::new(Code::CertificateMissing, title)
            .hint(format!("conclave smime import {name} FILE"))
    })?;
    if !old.is_issued_by(&old) {
        let title = format!("the S/MIME certificate of {name} was issued by {}", old.issuer());
        return Err(Problem::new(Code::NotSelfSigned, title)
            .why("only one that its own key signed can be refreshed here")
            .hint(format!("conclave smime csr {name}")));
    }
    let key = view.opened(Purpose::SmimeIssuer(domain.id), &issuer.key)?;
    let lived = old.not_after().saturating_sub(old.not_before()) / DAY_SECONDS;
    let days = asked.days.or(u32::try_from(lived).ok());
    let validity = validity(view, days)?;
    let made = issue::refresh(&key, &old, validity).map_err(|error| problem::issue(&error))?;
    let (key, certificate) = (issuer.key.clone(), Some(record_of(&made)));
    Ok(set(
        view,
        domain,
        SetSmimeIssuer { domain: name.clone(), key, certificate, chain: Vec::new() },
    ))
}

/// Sets the certificates above that of an issuer.
pub fn set_issuer_chain(view: &View<'_>, name: &str, asked: &Chain) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.issuing_domain(&name)?;
    let issuer = own(view, domain)?;
    let found = match asked.chain.trim().is_empty() {
        true => Vec::new(),
        false => read_chain(asked.chain.as_bytes())
            .map_err(|error| problem::certificate("chain", &error))?,
    };
    if let Some(leaf) = issuer.certificate.as_ref().and_then(parsed) {
        check_chain(view, &leaf, &found)?;
    }
    let chain = found.iter().map(|one| ByteBuf::from(one.der())).collect();
    let (key, certificate) = (issuer.key.clone(), issuer.certificate.clone());
    Ok(set(view, domain, SetSmimeIssuer { domain: name.clone(), key, certificate, chain }))
}

/// Removes the issuer of a domain.
pub fn remove_issuer(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.issuing_domain(&name)?;
    own(view, domain)?;
    let warning = "certificates that it issued stay valid, and its revocation list is no longer \
                   signed";
    let admitted = Admitted::new(AccountAction::RemoveSmimeIssuer(name.clone()), &name);
    let expected = view.state.expectation(RowKey::SmimeIssuer(domain.id));
    Ok(admitted.expecting(expected).warning(vec![warning.to_owned()]))
}

/// Sets the URL of the revocation list that new certificates of a domain's accounts name.
pub fn set_crl_url(view: &View<'_>, name: &str, asked: &Set) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    view.known_domain(&name)?;
    let Some(url) = &asked.crl_url else {
        return Ok(Admitted::same_domain(name));
    };
    let url = Some(url.trim()).filter(|url| !url.is_empty());
    if let Some(url) = url.filter(|url| issue::check_crl_url(url).is_err()) {
        let title = format!("{url:?} is not the URL of a revocation list");
        return Err(Problem::new(Code::Malformed, title)
            .hint(format!("http://pki.{name}/certificates/{name}/smime.crl")));
    }
    Ok(Admitted::new(AccountAction::SetCrlUrl(name.clone(), url.map(str::to_owned)), name))
}

/// Sets the recovery key of a domain's accounts.
pub fn set_recovery_key(
    view: &View<'_>,
    name: &str,
    asked: &SetRecoveryKey,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.known_domain(&name)?;
    let public = read_public_key(asked.public_key.as_bytes());
    let is_right = |public: &Vec<u8>| public_key_algorithm(public) == Some(KeyAlgorithm::EcP256);
    let public = public.filter(is_right).ok_or_else(|| {
        Problem::new(Code::KeyUnsupported, "a recovery key is a public key of type EC P-256, in PEM")
            .hint("openssl ecparam -name prime256v1 -genkey -noout -out F.key    openssl ec -in F.key -pubout -out F.pub")
    })?;
    let public_key = Fingerprint::of(&public);
    let settings = view.state.account_settings(domain.id);
    let present = settings.and_then(|settings| settings.recovery_key.as_ref());
    if present.is_some_and(|present| present.public_key == public_key) {
        return Ok(Admitted::nothing(&name, vec![RowKey::AccountSettings(domain.id)]));
    }
    let sealed = view.seal(Purpose::RecoveryKey(domain.id), &Secret::new(public))?;
    let key = RecoveryKey { public_key, sealed };
    let warning = "its holder can open each key that an account of the domain gets from now on; \
                   owners see that at their account";
    let expected = view.state.expectation(RowKey::AccountSettings(domain.id));
    let action = AccountAction::SetRecoveryKey(name.clone(), Some(key));
    Ok(Admitted::new(action, name).expecting(expected).warning(vec![warning.to_owned()]))
}

/// Removes the recovery key of a domain's accounts.
pub fn remove_recovery_key(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let domain = view.known_domain(&name)?;
    let settings = view.state.account_settings(domain.id);
    if settings.is_none_or(|settings| settings.recovery_key.is_none()) {
        return Err(Problem::new(Code::KeyMissing, format!("{name} has no recovery key"))
            .hint(format!("conclave smime show {name}")));
    }
    let warning = "copies that were made for it stay, until the accounts are deleted";
    let expected = view.state.expectation(RowKey::AccountSettings(domain.id));
    let action = AccountAction::SetRecoveryKey(name.clone(), None);
    Ok(Admitted::new(action, name).expecting(expected).warning(vec![warning.to_owned()]))
}

/// Opens the recovery key of a domain (SubjectPublicKeyInfo, DER), if it has one.
pub(crate) fn recovery_key(
    node: &Node,
    state: &State,
    domain: &Domain,
) -> Result<Option<(Fingerprint, Vec<u8>)>, Problem> {
    let settings = state.account_settings(domain.id);
    let Some(key) = settings.and_then(|settings| settings.recovery_key.as_ref()) else {
        return Ok(None);
    };
    let opened = node.keyring().open(Scope::Shared, Purpose::RecoveryKey(domain.id), &key.sealed);
    let opened = opened.map_err(|error| sealed_problem(node, &error))?;
    Ok(Some((Fingerprint::of(opened.expose()), opened.expose().to_vec())))
}

/// Signs the revocation list of a domain. Its number is made of the hour and of the number of
/// changes, so that it grows and every node gives lists of the same content the same number
/// (RFC 5280 §5.2.3).
pub fn revocation_list(
    node: &Node,
    state: &State,
    domain: &Domain,
    now: UnixMillis,
) -> Result<Crl, Problem> {
    let issuing = issuing(state, domain)?;
    let key = opened(node, Scope::Shared, issuing.purpose, issuing.key)?;
    let list = state.revocation_list(domain.id);
    let this_update = list.changed.0.max(now.0 / HOUR_MS * HOUR_MS).min(now.0) / 1_000;
    let this_update = this_update.saturating_sub(SKEW_SECONDS);
    let updates = Validity { not_before: this_update, not_after: this_update + LIST_SECONDS };
    let revoked: Vec<Revoked> = state
        .revocations(domain.id)
        .filter(|(_, one)| one.not_after.0 / 1_000 >= this_update)
        .map(|(serial, one)| Revoked {
            serial: serial.0.to_vec(),
            at: one.time.0 / 1_000,
            reason: pki_reason(one.reason),
        })
        .collect();
    let number = list_number(state, domain, now);
    issue::revocation_list(&key, &issuing.certificate, number, updates, &revoked)
        .map_err(|error| problem::issue(&error))
}

/// Returns the number of the list that [`revocation_list`] signs at this time.
pub fn list_number(state: &State, domain: &Domain, now: UnixMillis) -> u64 {
    ((now.0 / HOUR_MS) << 32) + u64::from(state.revocation_list(domain.id).changes)
}

fn pki_reason(reason: RevocationReason) -> PkiReason {
    match reason {
        RevocationReason::Unspecified => PkiReason::Unspecified,
        RevocationReason::KeyCompromise => PkiReason::KeyCompromise,
        RevocationReason::AffiliationChanged => PkiReason::AffiliationChanged,
        RevocationReason::Superseded => PkiReason::Superseded,
        RevocationReason::CessationOfOperation => PkiReason::CessationOfOperation,
    }
}
