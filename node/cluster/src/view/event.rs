//! Changes as the stream of events shows them.

use conclave_api::{
    audit::Difference,
    event::{Event, EventKind, Position},
};
use conclave_store::{
    id::{LogIndex, NodeId},
    record::{AuditDifference, AuditEntry, AuditResult},
    state::State,
};
use conclave_system::clock;

/// Shows an entry of the audit trail as an event; `None` if it is none that a reader may see:
/// something refused, or something about those who log in.
pub(crate) fn event(
    state: &State,
    (number, index): (u64, LogIndex),
    entry: &AuditEntry,
) -> Option<Event> {
    let told = &entry.event;
    let kind = EventKind::of(&told.event).filter(|_| told.result == AuditResult::Done)?;
    let difference = |one: &AuditDifference| Difference {
        what: one.what.clone(),
        before: one.before.clone(),
        after: one.after.clone(),
    };
    let position = Position { index: index.0, sequence: Some(number) };
    Some(Event {
        kind,
        event: told.event.clone(),
        object: object(state, kind, &told.object),
        time: clock::rfc3339(told.time),
        position: Some(position.to_string()),
        who: Some(told.principal.to_string()),
        differences: told.differences.iter().map(difference).collect(),
        reason: told.reason.clone(),
        operation: told.operation.as_ref().map(ToString::to_string),
    })
}

/// Returns the object by the name that commands and paths have for it.
fn object(state: &State, kind: EventKind, object: &str) -> String {
    match kind {
        EventKind::Trust if object.is_empty() => "cluster".to_owned(),
        EventKind::Trust => format!("domain:{object}"),
        EventKind::Node => {
            let id = object.strip_prefix("node ").and_then(|id| id.parse().ok()).map(NodeId);
            let present = id.and_then(|id| state.member(&id)).map(|member| &member.name);
            let departed = || id.and_then(|id| state.departed_member(&id)).map(|one| &one.name);
            present.or_else(departed).map_or_else(|| object.to_owned(), ToString::to_string)
        }
        _ => object.to_owned(),
    }
}

/// Tells of a value that this node observes: who leads, how a node is.
pub(crate) fn observation(
    kind: EventKind,
    object: &str,
    what: &str,
    (before, after): (Option<String>, Option<String>),
) -> Event {
    Event {
        kind,
        event: format!("{}.now", kind.as_str()),
        object: object.to_owned(),
        time: clock::rfc3339(clock::now()),
        position: None,
        who: None,
        differences: vec![Difference { what: what.to_owned(), before, after }],
        reason: None,
        operation: None,
    }
}
