//! Domains and their names.

use super::{Changing, chain, check_count, history, trust};
use crate::{
    command::{CreateDomain, SetDomain},
    id::{DomainName, ServerName, Version},
    limits::{ADDRESSES_MAX, ALIASES_MAX},
    outcome::{Done, Rejection},
    record::{Domain, Record, RowKey},
};

/// Adds a domain; every name must be free.
pub(super) fn create(change: &mut Changing<'_>, create: &CreateDomain) -> Result<Done, Rejection> {
    let domain = Domain {
        id: create.id,
        name: create.name.clone(),
        aliases: create.aliases.clone(),
        addresses: create.addresses.clone(),
        mode: create.mode,
        credentials: Vec::new(),
        client_auth: None,
        version: Version(0),
        changed: change.stamp(),
    };
    check_bounds(&domain)?;
    claim_names(change, &domain)?;
    change.put_domain(domain)
}

/// Changes settings; what is not given stays.
pub(super) fn set(change: &mut Changing<'_>, set: &SetDomain) -> Result<Done, Rejection> {
    let mut domain = change.domain(&set.name)?;
    if let Some(mode) = set.mode {
        domain.mode = mode;
    }
    if let Some(addresses) = &set.addresses {
        domain.addresses.clone_from(addresses);
    }
    if let Some(aliases) = &set.aliases {
        release_names(change, &domain)?;
        domain.aliases.clone_from(aliases);
        claim_names(change, &domain)?;
    }
    check_bounds(&domain)?;
    change.put_domain(domain)
}

/// Gives a domain another name. Its certificate stays as it is, also if it is not for that name.
pub(super) fn rename(
    change: &mut Changing<'_>,
    name: &DomainName,
    new: &DomainName,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    release_names(change, &domain)?;
    history::keep(change, domain.id, name)?;
    change.remove(&RowKey::Domain(name.clone()))?;
    domain.name = new.clone();
    domain.aliases.retain(|alias| alias.as_str() != new.as_str());
    claim_names(change, &domain)?;
    change.put_domain(domain)
}

/// Removes a domain with its key, certificates, names and uses of chains.
pub(super) fn delete(change: &mut Changing<'_>, name: &DomainName) -> Result<Done, Rejection> {
    let domain = change.domain(name)?;
    release_names(change, &domain)?;
    chain::release(change, &domain)?;
    history::clear(change, domain.id)?;
    trust::clear(change, &domain)?;
    change.remove(&RowKey::Domain(name.clone()))?;
    Ok(Done::Domain { name: domain.name, version: domain.version })
}

fn check_bounds(domain: &Domain) -> Result<(), Rejection> {
    check_count("aliases of a domain", domain.aliases.len(), ALIASES_MAX)?;
    check_count("addresses of a domain", domain.addresses.len(), ADDRESSES_MAX)
}

pub(super) fn claim_names(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    let names: Vec<ServerName> = domain.server_names().collect();
    for name in names {
        if let Some(owner) = change.state.name_owner(&name) {
            return Err(Rejection::NameTaken { name, owner: owner.clone() });
        }
        change.put(RowKey::Name(name), Record::Name(domain.name.clone()))?;
    }
    Ok(())
}

pub(super) fn release_names(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    let names: Vec<ServerName> = domain.server_names().collect();
    for name in names {
        change.remove(&RowKey::Name(name))?;
    }
    Ok(())
}
