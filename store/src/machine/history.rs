//! Rules for earlier versions of domains. Every version, current or earlier, holds one use of each
//! of its chains.

use super::{Changing, account, chain, domain, too_large};
use crate::{
    id::{DomainId, DomainName, ServerName, Version},
    limits::VERSIONS_KEPT,
    outcome::{Done, Rejection},
    record::{Domain, EarlierVersion, Record, RowKey},
};

/// Adds the current version of a domain to its history and drops the oldest above the bound.
pub(super) fn keep(
    change: &mut Changing<'_>,
    id: DomainId,
    name: &DomainName,
) -> Result<(), Rejection> {
    let Some(previous) = change.state.domain(name).filter(|found| found.id == id) else {
        return Ok(());
    };
    let key = RowKey::DomainVersion((id, previous.version));
    let packed = EarlierVersion::of(previous).map_err(|_| too_large())?;
    change.put(key, Record::DomainVersion(packed))?;
    let versions: Vec<Version> = change.state.version_numbers(id).collect();
    let too_many = versions.len().saturating_sub(VERSIONS_KEPT);
    versions.iter().take(too_many).try_for_each(|oldest| forget(change, id, *oldest))
}

/// Removes all earlier versions of a deleted domain.
pub(super) fn clear(change: &mut Changing<'_>, id: DomainId) -> Result<(), Rejection> {
    let versions: Vec<Version> = change.state.version_numbers(id).collect();
    versions.iter().try_for_each(|version| forget(change, id, *version))
}

fn forget(change: &mut Changing<'_>, id: DomainId, version: Version) -> Result<(), Rejection> {
    if let Some(earlier) = change.state.domain_version(id, version) {
        chain::release(change, &earlier)?;
    }
    change.remove(&RowKey::DomainVersion((id, version)))
}

/// Makes an earlier version current, sealed keys included. The domain keeps its name, and with it
/// the claim to that name.
pub(super) fn rollback(
    change: &mut Changing<'_>,
    name: &DomainName,
    version: Version,
) -> Result<Done, Rejection> {
    let present = change.domain(name)?;
    let unknown = || Rejection::VersionUnknown { name: name.clone(), version };
    let earlier = change.state.domain_version(present.id, version).ok_or_else(unknown)?;
    let aliases = earlier.aliases.into_iter().filter(|alias| alias.as_str() != name.as_str());
    let restored = Domain {
        name: present.name.clone(),
        aliases: aliases.collect(),
        version: present.version,
        ..earlier
    };
    let names: Vec<ServerName> = restored.server_names().collect();
    account::check_names_kept(change, &present, |kept| names.contains(kept))?;
    domain::release_names(change, &present)?;
    domain::claim_names(change, &restored, Some(name))?;
    change.put_domain(restored)
}
