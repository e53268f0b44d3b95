//! Admission of private keys: generated, imported and removed.

use conclave_api::{
    key::{Generate, Import},
    problem::{Code, Problem},
};
use conclave_keys::{Purpose, Secret};
use conclave_pki::key::{KeyAlgorithm, KeyError, PrivateKey, read_private_key};
use conclave_store::{
    command::Action,
    id::{DomainId, Fingerprint},
    outcome::Rejection,
    record::{Domain, DomainKey, KeyFamily, Sealed},
    time::UnixMillis,
};
use conclave_system::entropy;

use super::{Admitted, View, credential, domain_name, problem, rejection_problem};
use crate::replica::{UPGRADE_HINT, version_of};

/// Level of rules that says that every member signs with RSA of any size.
const LEVEL_OF_ODD_RSA: u32 = 2;

/// Generates a key of a type that signs. RSA can take seconds, so this runs on a blocking thread,
/// and only once even if the command is derived several times.
pub fn generate_key(asked: &Generate) -> Result<PrivateKey, Problem> {
    let algorithm = asked_algorithm(asked).and_then(|one| one.check_signs().map(|()| one));
    generated(algorithm.map_err(|error| problem::key("type", &error))?)
}

/// Generates a key for an account, of any type.
pub(crate) fn generate_account_key(asked: &Generate) -> Result<PrivateKey, Problem> {
    generated(asked_algorithm(asked).map_err(|error| problem::key("type", &error))?)
}

fn asked_algorithm(asked: &Generate) -> Result<KeyAlgorithm, KeyError> {
    asked.algorithm.as_deref().unwrap_or("p256").parse()
}

fn generated(algorithm: KeyAlgorithm) -> Result<PrivateKey, Problem> {
    let key = PrivateKey::generate(algorithm, &mut entropy::fill)
        .map_err(|error| problem::key("key", &error))?;
    key.test().map_err(|error| problem::key("key", &error))?;
    Ok(key)
}

/// Parses an imported key and tests it.
pub fn import_key(asked: &Import) -> Result<PrivateKey, Problem> {
    read_key("key", &asked.key, asked.passphrase.as_deref())
}

/// Parses and tests a key. `field` is the request's field that contains it.
pub(super) fn read_key(
    field: &str,
    pem: &str,
    passphrase: Option<&str>,
) -> Result<PrivateKey, Problem> {
    let passphrase = passphrase.map(str::as_bytes);
    let key = read_private_key(pem.as_bytes(), passphrase)
        .map_err(|error| problem::key(field, &error))?;
    key.test().map_err(|error| problem::key(field, &error))?;
    Ok(key)
}

/// A key to set: one that the caller has, or one that was made for this request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NewKey {
    /// It came from a caller.
    Imported,
    /// This node has made it.
    Generated,
}

/// Sets the key of a domain, sealed.
pub fn set_key(
    view: &View<'_>,
    name: &str,
    key: &PrivateKey,
    new: NewKey,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let family = family(key);
    if let Some(present) = domain.credential(family) {
        let is_same = present.key.public_key == Fingerprint::of(key.public_key_der());
        if new == NewKey::Imported && is_same {
            return Ok(Admitted::same_domain(name));
        }
        if view.is_if_missing {
            let (found, asked) = (&present.key.algorithm, key.algorithm().to_string());
            let is_other = new == NewKey::Imported || *found != asked;
            let warning = is_other.then(|| format!("{name} has another key: {found}"));
            return Ok(Admitted::same_domain(name).warning(warning.into_iter().collect()));
        }
        return Err(rejection_problem(&Rejection::KeyExists { name, family }));
    }
    let warnings = beside(domain, family);
    let key = sealed_key(view, domain.id, key)?;
    let action = Action::SetKey(name.clone(), Box::new(key));
    Ok(Admitted::new(action, name).expecting(expectation).warning(warnings))
}

/// Returns the family of a key, by which a domain's two possible keys are told apart.
pub(super) fn family(key: &PrivateKey) -> KeyFamily {
    match key.algorithm() {
        KeyAlgorithm::Rsa(_) => KeyFamily::Rsa,
        _ => KeyFamily::Ec,
    }
}

/// Warns about a key of the other family, which stays: the caller may have meant to replace it.
pub(super) fn beside(domain: &Domain, family: KeyFamily) -> Vec<String> {
    let others = domain.credentials.iter().map(|one| one.key.family);
    let told = others.filter(|other| *other != family).map(|other| {
        let flag = other.to_string().to_lowercase();
        format!(
            "the {other} key stays beside the {family} key, and each client gets what it can verify; \
             to be without it: conclave key remove {} --family {flag}",
            domain.name
        )
    });
    told.collect()
}

/// Refuses a key with which a member of an older version could not sign.
fn check_level(level: u32, key: &PrivateKey) -> Result<(), Problem> {
    if key.is_signed_with_by_all() || level >= LEVEL_OF_ODD_RSA {
        return Ok(());
    }
    let (found, version) = (key.algorithm(), version_of(LEVEL_OF_ODD_RSA));
    let title = format!("keys of type {found} need every member at {version}");
    Err(Problem::new(Code::VersionTooOld, title)
        .why("an older member would refuse the handshakes of this domain")
        .hint(UPGRADE_HINT))
}

/// Seals a key for the log.
pub(super) fn sealed_key(
    view: &View<'_>,
    domain: DomainId,
    key: &PrivateKey,
) -> Result<DomainKey, Problem> {
    check_level(view.state.level(), key)?;
    let secret = Secret::new(key.pkcs8_der().to_vec());
    let sealed = view.seal(Purpose::DomainKey(domain), &secret)?;
    Ok(key_record(key, sealed, view.now))
}

/// Makes the record of a key that is already sealed.
pub fn key_record(key: &PrivateKey, sealed: Sealed, assigned: UnixMillis) -> DomainKey {
    DomainKey {
        family: family(key),
        algorithm: key.algorithm().to_string(),
        public_key_der: key.public_key_der().to_vec(),
        public_key: Fingerprint::of(key.public_key_der()),
        sealed,
        assigned,
    }
}

/// Opens a key of the domain, for signing at admission.
pub(super) fn opened_key(
    view: &View<'_>,
    domain: &Domain,
    key: &DomainKey,
) -> Result<PrivateKey, Problem> {
    let opened = view
        .node
        .keyring()
        .open(view.scope, Purpose::DomainKey(domain.id), &key.sealed)
        .map_err(|error| view.sealed_problem(&error))?;
    PrivateKey::from_pkcs8_der(opened.expose())
        .map_err(|error| Problem::new(Code::KeyTestFailed, error.to_string()))
}

/// Removes the key of a domain.
pub fn remove_key(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let family = credential(domain, view.family)?.key.family;
    let warning =
        format!("earlier versions of {name} keep the key, sealed; a rollback serves it again");
    let admitted = Admitted::new(Action::RemoveKey(name.clone(), family), name);
    Ok(admitted.expecting(expectation).warning(vec![warning]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_sign_is_for_accounts_alone() {
        let asked = Generate { algorithm: Some("x25519".to_owned()) };
        let refused = generate_key(&asked).err().unwrap();
        assert_eq!(refused.code, Code::KeyUnsupported);
        assert!(refused.hint.unwrap().contains("--purpose encrypt"));
        let key = generate_account_key(&asked).unwrap();
        assert_eq!(key.algorithm(), KeyAlgorithm::X25519);
    }

    #[test]
    fn a_key_with_which_an_older_member_cannot_sign_waits_for_every_member() {
        let odd = read_private_key(include_bytes!("../../../../tests/fixtures/rsa3000.pem"), None);
        let (odd, usual) = (odd.unwrap(), generate_key(&Generate { algorithm: None }).unwrap());
        let refused = |key, level| check_level(level, key).err().map(|problem| problem.code);
        assert_eq!(refused(&odd, 1), Some(Code::VersionTooOld));
        assert_eq!(refused(&odd, LEVEL_OF_ODD_RSA), None);
        assert_eq!(refused(&usual, 0), None);
    }
}
