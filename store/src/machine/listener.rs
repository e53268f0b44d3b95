//! Rules for listeners.

use super::{Changing, check_count};
use crate::{
    command::PutListener,
    id::ListenerName,
    limits::LISTENERS_MAX,
    outcome::{Done, Rejection},
    record::{Listener, ListenerPolicy, Record, RowKey},
};

/// Adds a listener. Its name and its port must be free.
pub(super) fn add(change: &mut Changing<'_>, listener: &Listener) -> Result<Done, Rejection> {
    if change.state.listener(&listener.name).is_some() {
        return Err(Rejection::ListenerExists(listener.name.clone()));
    }
    check_port(change, listener)?;
    check_count("listeners", change.state.listeners().count() + 1, LISTENERS_MAX)?;
    put(change, listener)
}

/// Replaces the settings of a listener, its port included.
pub(super) fn set(change: &mut Changing<'_>, listener: &Listener) -> Result<Done, Rejection> {
    let name = &listener.name;
    let present = change.state.listener(name);
    let present = present.ok_or_else(|| Rejection::ListenerUnknown(name.clone()))?;
    if present == listener {
        return Ok(Done::Changed);
    }
    check_port(change, listener)?;
    put(change, listener)
}

/// Adds a listener or replaces its settings, with its policy.
pub(super) fn put_with_policy(
    change: &mut Changing<'_>,
    put: &PutListener,
) -> Result<Done, Rejection> {
    match put.is_new {
        true => add(change, &put.listener)?,
        false => set(change, &put.listener)?,
    };
    let key = RowKey::ListenerPolicy(put.listener.name.clone());
    let (present, policy) = (change.state.listener_policy(&put.listener.name), put.policy);
    if policy == present {
        return Ok(Done::Changed);
    }
    match policy == ListenerPolicy::default() {
        true => change.remove(&key)?,
        false => change.put(key, Record::ListenerPolicy(policy))?,
    }
    Ok(Done::Changed)
}

/// Rejects a port that another listener has.
fn check_port(change: &Changing<'_>, listener: &Listener) -> Result<(), Rejection> {
    let is_taken = |other: &Listener| other.name != listener.name && other.overlaps(listener);
    match change.state.listeners().find(|(_, other)| is_taken(other)) {
        Some((name, _)) => Err(Rejection::PortTaken(name.clone())),
        None => Ok(()),
    }
}

fn put(change: &mut Changing<'_>, listener: &Listener) -> Result<Done, Rejection> {
    let key = RowKey::Listener(listener.name.clone());
    change.put(key, Record::Listener(listener.clone().into()))?;
    Ok(Done::Changed)
}

/// Removes a listener.
pub(super) fn remove(change: &mut Changing<'_>, name: &ListenerName) -> Result<Done, Rejection> {
    change.state.listener(name).ok_or_else(|| Rejection::ListenerUnknown(name.clone()))?;
    change.remove(&RowKey::Listener(name.clone()))?;
    // A later listener of this name begins with the default.
    if change.state.row(&RowKey::ListenerPolicy(name.clone())).is_some() {
        change.remove(&RowKey::ListenerPolicy(name.clone()))?;
    }
    Ok(Done::Changed)
}
