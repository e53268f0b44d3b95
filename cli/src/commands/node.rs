//! Commands for members.

use std::time::Duration;

use conclave_api::node::{Drain, Drained, Set};
use tokio::time::Instant;

use super::{Asking, Done, change, confirm, removing, status};
use crate::{
    args::{Changing, Node},
    output,
};

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
        Node::Promote { name, changing } => {
            let told = format!("{name} is a voter");
            set(
                asking,
                &name,
                Set { role: Some("voter".to_owned()), zone: None },
                &changing,
                &told,
            )
            .await?;
        }
        Node::Demote { name, changing } => {
            let told = format!("{name} is a learner: it gets everything and does not vote");
            let learner = Set { role: Some("learner".to_owned()), zone: None };
            set(asking, &name, learner, &changing, &told).await?;
        }
        Node::Set { name, zone, changing } => {
            let told = match zone.as_str() {
                "" => format!("{name} is in no zone"),
                zone => format!("{name} is in zone {zone}"),
            };
            set(asking, &name, Set { role: None, zone: Some(zone) }, &changing, &told).await?;
        }
        Node::Remove { name, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the node {name}"), &name)?;
            let done = client.remove_node(&name, &removing(&changing, &existing)).await?;
            output::change(global, &format!("{name} left the cluster"), &done);
            output::advice(
                global,
                &format!(
                    "Its data is still on its disk. Keys that it may have kept: conclave domain list --exposed-to {name}"
                ),
            );
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

async fn set(
    asking: &Asking,
    name: &str,
    set: Set,
    changing: &Changing,
    told: &str,
) -> Result<(), conclave_client::Failure> {
    let done = asking.client()?.set_node(name, &set, &change(changing)).await?;
    output::change(&asking.global, told, &done);
    Ok(())
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
