//! Rules for domains and their names.

use std::collections::BTreeSet;

use super::{
    Changing, account, canary, chain, check_count, history, pending_key, revocation, smime, trust,
};
use crate::{
    command::{CreateDomain, SetDomain},
    id::{DomainName, NodeId, ServerName, Version},
    limits::{ADDRESSES_MAX, ALIASES_MAX},
    outcome::{Done, Rejection},
    record::{Domain, Record, RowKey},
    state::State,
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
    claim_names(change, &domain, None)?;
    change.put_domain(domain)
}

/// Changes the given settings and keeps the others.
pub(super) fn set(change: &mut Changing<'_>, set: &SetDomain) -> Result<Done, Rejection> {
    let mut domain = change.domain(&set.name)?;
    if let Some(mode) = set.mode {
        domain.mode = mode;
    }
    if let Some(addresses) = &set.addresses {
        domain.addresses.clone_from(addresses);
    }
    if let Some(aliases) = &set.aliases {
        let is_kept =
            |name: &ServerName| name.as_str() == domain.name.as_str() || aliases.contains(name);
        account::check_names_kept(change, &domain, is_kept)?;
        release_names(change, &domain)?;
        domain.aliases.clone_from(aliases);
        claim_names(change, &domain, Some(&set.name))?;
    }
    check_bounds(&domain)?;
    change.put_domain(domain)
}

/// Renames a domain. Its certificate is kept, even if it is not valid for the new name.
pub(super) fn rename(
    change: &mut Changing<'_>,
    name: &DomainName,
    new: &DomainName,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    if name == new && change.skips_same() {
        return Ok(Done::Domain { name: domain.name, version: domain.version });
    }
    account::check_names_kept(change, &domain, |kept| domain.aliases.contains(kept))?;
    release_names(change, &domain)?;
    canary::drop_of(change, name)?;
    history::keep(change, domain.id, name)?;
    change.remove(&RowKey::Domain(name.clone()))?;
    domain.name = new.clone();
    domain.aliases.retain(|alias| alias.as_str() != new.as_str());
    claim_names(change, &domain, None)?;
    change.put_domain(domain)
}

/// Removes a domain with its key, certificates, names and uses of chains.
pub(super) fn delete(change: &mut Changing<'_>, name: &DomainName) -> Result<Done, Rejection> {
    let domain = change.domain(name)?;
    account::check_names_kept(change, &domain, |_| false)?;
    release_names(change, &domain)?;
    canary::drop_of(change, name)?;
    chain::release(change, &domain)?;
    history::clear(change, domain.id)?;
    trust::clear(change, &domain)?;
    pending_key::clear(change, domain.id)?;
    smime::clear(change, domain.id)?;
    revocation::clear(change, domain.id)?;
    change.remove(&RowKey::Domain(name.clone()))?;
    Ok(Done::Domain { name: domain.name, version: domain.version })
}

/// Sets the name of a member's Main Domain. Two members may use the same name, since each of these
/// domains exists on its own node only.
pub(super) fn set_main(
    change: &mut Changing<'_>,
    id: NodeId,
    name: &DomainName,
) -> Result<Done, Rejection> {
    if change.state.member(&id).is_none() {
        return Err(Rejection::NoCluster);
    }
    let claimed = ServerName::from(name.clone());
    if let Some(owner) = change.state.name_owner(&claimed) {
        return Err(Rejection::NameTaken { name: claimed, owner: owner.clone() });
    }
    change.put(RowKey::MainDomain(id), Record::MainDomain(name.clone()))?;
    Ok(Done::Member { id })
}

fn check_bounds(domain: &Domain) -> Result<(), Rejection> {
    check_count("aliases of a domain", domain.aliases.len(), ALIASES_MAX)?;
    check_count("addresses of a domain", domain.addresses.len(), ADDRESSES_MAX)
}

/// Rejects names of `domain` already taken by another. The names of the domain `present` are free,
/// because `domain` replaces its row. At level 0 also writes the rows of the names.
pub(super) fn claim_names(
    change: &mut Changing<'_>,
    domain: &Domain,
    present: Option<&DomainName>,
) -> Result<(), Rejection> {
    let is_row = change.state.level() == 0;
    let mut claimed = BTreeSet::new();
    for name in domain.server_names() {
        let is_repeated = claimed.contains(&name);
        let owner = if is_repeated { Some(&domain.name) } else { change.state.name_owner(&name) };
        if let Some(owner) = owner.filter(|owner| is_repeated || Some(*owner) != present) {
            return Err(Rejection::NameTaken { owner: owner.clone(), name });
        }
        check_not_main(&change.state, &name)?;
        if is_row {
            change.put(RowKey::Name(name.clone()), Record::Name(domain.name.clone()))?;
        }
        claimed.insert(name);
    }
    Ok(())
}

/// Rejects the name of a Main Domain: on that node, clients that ask for the Main Domain would get
/// the shared domain.
fn check_not_main(state: &State, name: &ServerName) -> Result<(), Rejection> {
    let found = state.main_domains().find(|(_, main)| main.as_str() == name.as_str());
    let Some((id, main)) = found else { return Ok(()) };
    let node = state.member(id).map_or_else(|| format!("node {id}"), |one| one.name.to_string());
    Err(Rejection::MainDomain { name: main.clone(), node })
}

/// Removes the rows of the domain's names. From level 1 on there are none.
pub(super) fn release_names(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    if change.state.level() > 0 {
        return Ok(());
    }
    domain.server_names().try_for_each(|name| change.remove(&RowKey::Name(name)))
}
