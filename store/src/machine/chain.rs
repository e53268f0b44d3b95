//! Rules for CA chains. Equal chains are stored once, with a count of their uses.

use serde_bytes::ByteBuf;

use super::{Changing, check_count, credential};
use crate::{
    id::DomainName,
    limits::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX},
    outcome::{Done, Rejection},
    record::{Chain, Credential, Domain, KeyFamily, Record, RowKey},
};

/// Sets the chain sent after a certificate of the domain.
pub(super) fn set(
    change: &mut Changing<'_>,
    name: &DomainName,
    family: KeyFamily,
    certificates: &[ByteBuf],
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    replace(change, credential(&mut domain, family)?, certificates)?;
    change.put_domain(domain)
}

/// Removes the chain.
pub(super) fn remove(
    change: &mut Changing<'_>,
    name: &DomainName,
    family: KeyFamily,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    if credential(&mut domain, family)?.chain.take().is_none() {
        return Err(Rejection::ChainMissing(name.clone()));
    }
    change.put_domain(domain)
}

/// Replaces the chain of a credential; an empty list removes it. The use of the old chain ends with
/// the version that has it. The use of the new one is counted by [`hold`] when the domain is
/// stored.
pub(super) fn replace(
    change: &mut Changing<'_>,
    credential: &mut Credential,
    certificates: &[ByteBuf],
) -> Result<(), Rejection> {
    check_bounds(certificates)?;
    credential.chain = None;
    if certificates.is_empty() {
        return Ok(());
    }
    let fingerprint = Chain::fingerprint(certificates);
    credential.chain = Some(fingerprint);
    if change.state.chain(&fingerprint).is_some() {
        return Ok(());
    }
    let chain = Chain { certificates: certificates.to_vec(), uses: 0 };
    change.put(RowKey::Chain(fingerprint), Record::Chain(chain.into()))
}

/// Rejects a chain above its bounds.
pub(super) fn check_bounds(certificates: &[ByteBuf]) -> Result<(), Rejection> {
    check_count("certificates in a CA chain", certificates.len(), CHAIN_CERTIFICATES_MAX)?;
    let bytes = certificates.iter().map(|certificate| certificate.len()).sum();
    check_count("bytes in a CA chain", bytes, CHAIN_BYTES_MAX)
}

/// Counts a use of each of the domain's chains, for one more version that has them.
pub(super) fn hold(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    for fingerprint in domain.credentials.iter().filter_map(|one| one.chain) {
        let Some(mut chain) = change.state.chain(&fingerprint).cloned() else { continue };
        chain.uses += 1;
        change.put(RowKey::Chain(fingerprint), Record::Chain(chain.into()))?;
    }
    Ok(())
}

/// Releases a use of each of the domain's chains. The last release removes the row.
pub(super) fn release(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    for fingerprint in domain.credentials.iter().filter_map(|one| one.chain) {
        let Some(mut chain) = change.state.chain(&fingerprint).cloned() else { continue };
        let key = RowKey::Chain(fingerprint);
        chain.uses = chain.uses.saturating_sub(1);
        if chain.uses == 0 {
            change.remove(&key)?;
        } else {
            change.put(key, Record::Chain(chain.into()))?;
        }
    }
    Ok(())
}
