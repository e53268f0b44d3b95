//! Rules for private keys of domains.

use super::{Changing, credential};
use crate::{
    id::DomainName,
    outcome::{Done, Rejection},
    record::{Credential, Domain, DomainKey, KeyFamily},
};

/// Assigns a key to a domain that has none of its family. A key in use is never replaced as a side
/// effect.
pub(super) fn set(
    change: &mut Changing<'_>,
    name: &DomainName,
    key: &DomainKey,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    if domain.credential(key.family).is_some() {
        return Err(Rejection::KeyExists { name: name.clone(), family: key.family });
    }
    put(&mut domain, key);
    change.put_domain(domain)
}

/// Stores a key. An existing key of its family is removed with its certificate and chain.
pub(super) fn put(domain: &mut Domain, key: &DomainKey) {
    domain.credentials.retain(|one| one.key.family != key.family);
    domain.credentials.push(Credential::new(key.clone()));
    domain.credentials.sort_by_key(|one| one.key.family);
}

/// Removes the key with the certificate and the chain, which are useless without it.
pub(super) fn remove(
    change: &mut Changing<'_>,
    name: &DomainName,
    family: KeyFamily,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    credential(&mut domain, family)?;
    domain.credentials.retain(|one| one.key.family != family);
    change.put_domain(domain)
}
