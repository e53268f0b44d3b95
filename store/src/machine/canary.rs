//! Rules for canaries.
//!
//! A canary has a row of its own, so that only the live index of one member looks at it. It ends
//! with any change of its domain: it was made from what the domain was before. Like a version of
//! the domain, it holds one use of each of its chains.

use std::sync::Arc;

use super::{Changing, certificate, chain, check_count, pending_key};
use crate::{
    command::StartCanary,
    id::DomainName,
    limits::CANARIES_MAX,
    outcome::{Done, Rejection},
    record::{Canary, Domain, Record, RowKey, Stamp},
};

/// Lets one member serve a new certificate. The same certificate makes no canary.
pub(super) fn start(change: &mut Changing<'_>, start: &StartCanary) -> Result<Done, Rejection> {
    let name = &start.set.name;
    let present = change.domain(name)?;
    let done = Done::Domain { name: name.clone(), version: present.version };
    if change.state.canary(name).is_some() {
        return Err(Rejection::CanaryExists(name.clone()));
    }
    if change.state.member(&start.node).is_none() {
        return Err(Rejection::MemberUnknown(start.node));
    }
    check_count("canaries", change.state.canaries().count() + 1, CANARIES_MAX)?;
    let mut domain = certificate::with(change, &start.set)?;
    if domain.has_content_of(&present) {
        return Ok(done);
    }
    chain::hold(change, &domain)?;
    domain.changed = change.stamp();
    let canary = Canary {
        node: start.node,
        domain: Arc::new(domain),
        since: change.command.time,
        until: start.until,
    };
    change.put(RowKey::Canary(name.clone()), Record::Canary(canary.into()))?;
    Ok(done)
}

/// Ends a canary: either every member serves its certificate from now on, or none.
pub(super) fn end(
    change: &mut Changing<'_>,
    name: &DomainName,
    is_promoted: bool,
) -> Result<Done, Rejection> {
    let unknown = || Rejection::CanaryUnknown(name.clone());
    let canary = change.state.canary(name).cloned().ok_or_else(unknown)?;
    let present = change.domain(name)?;
    change.remove(&RowKey::Canary(name.clone()))?;
    let done = if is_promoted {
        promote(change, &canary)?
    } else {
        Done::Domain { name: present.name, version: present.version }
    };
    // Last, so that the new version holds the chains before the canary releases them.
    chain::release(change, &canary.domain)?;
    Ok(done)
}

/// Makes the canary the next version of its domain, in the name of the author of the import.
fn promote(change: &mut Changing<'_>, canary: &Canary) -> Result<Done, Rejection> {
    for certificate in canary.domain.certificates() {
        pending_key::take(change, canary.domain.id, certificate.public_key)?;
    }
    let stamp = Stamp { time: change.command.time, ..canary.domain.changed.clone() };
    change.put_version_by(Domain::clone(&canary.domain), stamp)
}

/// Drops the canary of a domain, if there is one.
pub(super) fn drop_of(change: &mut Changing<'_>, name: &DomainName) -> Result<(), Rejection> {
    let Some(canary) = change.state.canary(name).cloned() else { return Ok(()) };
    change.remove(&RowKey::Canary(name.clone()))?;
    chain::release(change, &canary.domain)
}

/// Drops all canaries: those of a backup are about members of another cluster.
pub(super) fn clear(change: &mut Changing<'_>) -> Result<(), Rejection> {
    let names: Vec<DomainName> = change.state.canaries().map(|(name, _)| name.clone()).collect();
    names.iter().try_for_each(|name| drop_of(change, name))
}
