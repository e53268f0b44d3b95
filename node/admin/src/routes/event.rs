//! Route for the events: what changes, as it changes.

use std::{collections::BTreeSet, convert::Infallible};

use axum::response::sse::{Event as Message, Sse};
use conclave_api::{
    event::{EventKind, PROBLEM, Position},
    problem::{Code, Problem},
};
use conclave_cluster::operate::Told;
use futures::{Stream, stream::unfold};

use crate::{asked::Asked, problem::Failed};

pub(super) async fn follow(
    asked: Asked,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Failed> {
    let from = asked.last_event.as_deref().or(asked.page.after.as_deref());
    let from = from.map(|text| Position::parse(text).ok_or_else(|| no_position(text)));
    let kinds = kinds(asked.kinds.as_deref().unwrap_or_default())?;
    let told = asked.operator.follow(kinds, from.transpose()?).await?;
    let messages = unfold(told, async |mut told| Some((Ok(message(told.recv().await?)), told)));
    Ok(Sse::new(messages))
}

fn message(told: Told) -> Message {
    let made = match told {
        // Without data it is no event for a reader, but the place from which a reader goes on; and
        // both sides notice a lost connection, and what is between them does not end it.
        Told::Position(position) => return Message::default().id(position.to_string()),
        Told::End(problem) => Message::default().event(PROBLEM).json_data(problem),
        Told::Event(event) => {
            let message = Message::default().event(event.kind.as_str());
            match &event.position {
                Some(position) => message.id(position),
                None => message,
            }
            .json_data(event)
        }
    };
    // Text and numbers only: it always serializes.
    made.unwrap_or_default()
}

fn no_position(text: &str) -> Problem {
    Problem::new(Code::Malformed, format!("{text:?} is not a position of an event"))
        .hint("give the id of an event, or the Conclave-Index of an answer")
}

fn kinds(text: &str) -> Result<BTreeSet<EventKind>, Problem> {
    let words = text.split(',').filter(|word| !word.is_empty());
    let kind = |word: &str| word.parse().map_err(|no: String| Problem::new(Code::Malformed, no));
    words.map(kind).collect()
}
