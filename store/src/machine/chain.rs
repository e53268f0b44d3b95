//! CA chains: stored once, counted by their users.

use serde_bytes::ByteBuf;

use super::{Changing, check_count};
use crate::{
    id::DomainName,
    limits::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX},
    outcome::{Done, Rejection},
    record::{Chain, Domain, Record, RowKey},
};

/// Sets the chain that is sent after the domain's certificate.
pub(super) fn set(
    change: &mut Changing<'_>,
    name: &DomainName,
    certificates: &[ByteBuf],
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    replace(change, &mut domain, certificates)?;
    change.put_domain(domain)
}

/// Removes the chain.
pub(super) fn remove(change: &mut Changing<'_>, name: &DomainName) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    if domain.chain.is_none() {
        return Err(Rejection::ChainMissing(name.clone()));
    }
    replace(change, &mut domain, &[])?;
    change.put_domain(domain)
}

/// Gives `domain` another chain, an empty one meaning none. The use of the old one goes with the
/// version that had it; that of the new one is counted when the domain is put back.
pub(super) fn replace(
    change: &mut Changing<'_>,
    domain: &mut Domain,
    certificates: &[ByteBuf],
) -> Result<(), Rejection> {
    check_count("certificates in a CA chain", certificates.len(), CHAIN_CERTIFICATES_MAX)?;
    let bytes = certificates.iter().map(|certificate| certificate.len()).sum();
    check_count("bytes in a CA chain", bytes, CHAIN_BYTES_MAX)?;
    domain.chain = None;
    if certificates.is_empty() {
        return Ok(());
    }
    let fingerprint = Chain::fingerprint(certificates);
    domain.chain = Some(fingerprint);
    if change.state.chain(&fingerprint).is_some() {
        return Ok(());
    }
    let chain = Chain { certificates: certificates.to_vec(), uses: 0 };
    change.put(RowKey::Chain(fingerprint), Record::Chain(chain))
}

/// Counts one more version of a domain that sends its chain.
pub(super) fn hold(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    let Some(fingerprint) = domain.chain else { return Ok(()) };
    let Some(mut chain) = change.state.chain(&fingerprint).cloned() else { return Ok(()) };
    chain.uses += 1;
    change.put(RowKey::Chain(fingerprint), Record::Chain(chain))
}

/// Takes one use off the domain's chain; the last one removes the row.
pub(super) fn release(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    let Some(fingerprint) = domain.chain else { return Ok(()) };
    let Some(mut chain) = change.state.chain(&fingerprint).cloned() else { return Ok(()) };
    let key = RowKey::Chain(fingerprint);
    chain.uses = chain.uses.saturating_sub(1);
    if chain.uses == 0 { change.remove(&key) } else { change.put(key, Record::Chain(chain)) }
}
