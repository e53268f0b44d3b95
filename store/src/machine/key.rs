//! Private keys of domains.

use super::Changing;
use crate::{
    id::DomainName,
    outcome::{Done, Rejection},
    record::DomainKey,
};

/// Assigns a key to a domain that has none: a key in use is never replaced in passing.
pub(super) fn set(
    change: &mut Changing<'_>,
    name: &DomainName,
    key: &DomainKey,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    if domain.key.is_some() {
        return Err(Rejection::KeyExists(name.clone()));
    }
    domain.key = Some(key.clone());
    change.put_domain(domain)
}

/// Removes the key and the certificate, which is useless without it.
pub(super) fn remove(change: &mut Changing<'_>, name: &DomainName) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    if domain.key.take().is_none() {
        return Err(Rejection::KeyMissing(name.clone()));
    }
    domain.certificate = None;
    change.put_domain(domain)
}
