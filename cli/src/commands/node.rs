//! Commands for members.

use std::time::Duration;

use conclave_api::node::{Drain, Drained};
use tokio::time::Instant;

use super::{Asking, Done, status};
use crate::{args::Node, output};

/// Interval between queries whether a drain has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Interval between reports of the progress of a drain.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn run(asking: &Asking, command: Node) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Node::List => {
            let nodes = client.nodes().await?.items;
            output::list(global, &status::NODES, &nodes, status::row);
        }
        Node::Drain { name, deadline, no_wait } => {
            let drain = Drain { deadline_s: Some(deadline.as_secs()) };
            let begun = client.drain(&name, &drain).await?;
            output::advice(global, &format!("{name} takes no new connections"));
            let drained = if no_wait { begun } else { wait(asking, &name, deadline).await? };
            if !output::object(global, &name, &drained) {
                output::success(global, &words(&drained));
            }
            output::advice(global, &format!("Back: conclave node resume {name}"));
        }
        Node::Resume { name } => {
            let resumed = client.resume(&name).await?;
            if !output::object(global, &name, &resumed) {
                output::success(global, &format!("{name} serves again"));
            }
        }
    }
    Ok(0)
}

async fn wait(
    asking: &Asking,
    name: &str,
    deadline: Duration,
) -> Result<Drained, conclave_client::Failure> {
    let (started, mut told) = (Instant::now(), Instant::now());
    loop {
        let drained = asking.client()?.drained(name).await?;
        if drained.state != "draining" {
            return Ok(drained);
        }
        if told.elapsed() >= TELL_EVERY {
            let left = deadline.saturating_sub(started.elapsed()).as_secs();
            let remaining = drained.remaining;
            output::advice(
                &asking.global,
                &format!("{remaining} left, {left} s until they are closed"),
            );
            told = Instant::now();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn words(drained: &Drained) -> String {
    let Drained { node, finished, closed, remaining, .. } = drained;
    match drained.state.as_str() {
        "drained" => {
            format!("{node} is drained: {finished} finished, {closed} closed at the deadline")
        }
        "draining" => format!("{node} is draining: {remaining} left"),
        _ => format!("{node} serves again: it was resumed by another command"),
    }
}
