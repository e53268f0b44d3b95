//! Command that follows what changes.

use conclave_api::{audit::Difference, event::Event};

use super::{Asking, Done};
use crate::{
    args::{Events, Form},
    output, progress,
};

pub(super) async fn run(asking: &Asking, events: Events) -> Done {
    let Events { kind, after, count } = events;
    let mut following = asking.client()?.events(&kind, after.as_deref()).await?;
    let mut left = count;
    progress::end();
    while left != Some(0) && output::failed().is_none() {
        let event = following.next().await?;
        show(asking, &event);
        left = left.map(|left| left.saturating_sub(1));
    }
    Ok(0)
}

/// Writes an event as a line: who reads it wants it at once.
fn show(asking: &Asking, event: &Event) {
    match asking.global.output {
        Form::Json | Form::Jsonl => {
            output::line(&serde_json::to_string(event).unwrap_or_default());
        }
        // What --after takes; an observation has none.
        Form::Name => event.position.iter().for_each(|position| output::line(position)),
        Form::Table | Form::Wide => {
            let object = if event.object.is_empty() { "-" } else { &event.object };
            let who = event.who.as_ref().map(|who| format!("  by {who}")).unwrap_or_default();
            let reason = event.reason.as_ref().map(|why| format!(": {why:?}")).unwrap_or_default();
            let what = event.differences.iter().map(difference).collect::<Vec<_>>().join("; ");
            let what = if what.is_empty() { what } else { format!("  {what}") };
            let at = match asking.global.output {
                Form::Wide => format!("  {}", event.position.as_deref().unwrap_or("-")),
                _ => String::new(),
            };
            let (time, event) = (&event.time, &event.event);
            output::line(&format!("{time}{at}  {event}  {object}{what}{who}{reason}"));
        }
    }
}

fn difference(one: &Difference) -> String {
    match (&one.before, &one.after) {
        (None, Some(after)) => format!("{} {after}", one.what),
        (Some(before), None) => format!("{} {before} -> none", one.what),
        (Some(before), Some(after)) => format!("{} {before} -> {after}", one.what),
        (None, None) => format!("{} none", one.what),
    }
}
