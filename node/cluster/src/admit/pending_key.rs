//! Admission of keys that wait for their certificates.

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Purpose, Secret};
use conclave_pki::{certificate::Certificate, key::PrivateKey};
use conclave_store::{
    command::Action,
    id::Fingerprint,
    record::{Domain, DomainKey, KeyFamily, RowKey},
};

use super::{
    Admitted, View, domain_name,
    key::{family, key_record},
};

/// Adds a pending key. If one of the same algorithm waits already, nothing changes: the command can
/// be repeated, and the next signing request is for the same key.
pub fn set_pending_key(view: &View<'_>, name: &str, key: &PrivateKey) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let family = family(key);
    if let Some(present) = of_family(view, domain, Some(family)) {
        let algorithm = &present.algorithm;
        if *algorithm == key.algorithm().to_string() {
            return Ok(Admitted::same_domain(name));
        }
        let title = format!("{name} has a pending {family} key already: {algorithm}");
        return Err(Problem::new(Code::KeyExists, title)
            .why("a signing request for it may be with an authority")
            .hint(format!("conclave key remove {name} --pending")));
    }
    let secret = Secret::new(key.pkcs8_der().to_vec());
    let sealed = view.seal(Purpose::PendingKey(domain.id), &secret)?;
    let row = view.state.expectation(RowKey::PendingKey((domain.id, family)));
    let action = Action::SetPendingKey(name.clone(), Box::new(key_record(key, sealed, view.now)));
    Ok(Admitted::new(action, name).expecting(expectation).expecting(row))
}

/// Removes the key that waits for its certificate.
pub fn remove_pending_key(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let family = only(view, domain)?.family;
    let row = view.state.expectation(RowKey::PendingKey((domain.id, family)));
    let action = Action::RemovePendingKey(name.clone(), family);
    Ok(Admitted::new(action, name).expecting(expectation).expecting(row))
}

/// Returns the pending key of the selected family. Without a family there must be exactly one.
pub(super) fn only<'v>(view: &View<'v>, domain: &Domain) -> Result<&'v DomainKey, Problem> {
    let name = &domain.name;
    if view.family.is_none() && view.state.pending_keys(domain.id).count() > 1 {
        let title = format!("{name} has a pending EC and a pending RSA key: which one is meant?");
        return Err(Problem::new(Code::Malformed, title).hint("add --family ec or --family rsa"));
    }
    of_family(view, domain, view.family).ok_or_else(|| {
        Problem::new(Code::KeyMissing, format!("{name} has no pending key"))
            .hint(format!("conclave csr create {name} --new-key"))
    })
}

fn of_family<'v>(
    view: &View<'v>,
    domain: &Domain,
    family: Option<KeyFamily>,
) -> Option<&'v DomainKey> {
    let mut all = view.state.pending_keys(domain.id);
    all.find(|key| family.is_none_or(|family| family == key.family))
}

/// Returns the pending key that a certificate of the bundle is for, opened. A key of the domain
/// that the bundle certifies comes first.
pub(super) fn certified(
    view: &View<'_>,
    domain: &Domain,
    bundle: &[Certificate],
) -> Result<Option<PrivateKey>, Problem> {
    let is_certified = |key: &DomainKey| {
        bundle.iter().any(|one| Fingerprint::of(one.public_key_der()) == key.public_key)
    };
    if domain.credentials.iter().any(|one| is_certified(&one.key)) {
        return Ok(None);
    }
    let of = |key: &&DomainKey| view.family.is_none_or(|family| family == key.family);
    let mut pending = view.state.pending_keys(domain.id).filter(of);
    pending.find(|key| is_certified(key)).map(|key| opened(view, domain, key)).transpose()
}

/// Opens a pending key.
pub(super) fn opened(
    view: &View<'_>,
    domain: &Domain,
    key: &DomainKey,
) -> Result<PrivateKey, Problem> {
    let keyring = view.node.keyring();
    let opened = keyring.open(view.scope, Purpose::PendingKey(domain.id), &key.sealed);
    let opened = opened.map_err(|error| view.sealed_problem(&error))?;
    PrivateKey::from_pkcs8_der(opened.expose())
        .map_err(|error| Problem::new(Code::KeyTestFailed, error.to_string()))
}
