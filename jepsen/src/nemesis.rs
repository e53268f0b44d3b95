//! Faults of processes: one after another, chosen by a seed.

use std::time::Duration;

use clap::ValueEnum;

use crate::{chance::Chance, cluster::Cluster, history::History};

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Nemesis {
    /// SIGKILL, then a restart.
    Kill,
    /// SIGSTOP, then SIGCONT.
    Pause,
    /// SIGTERM to the leader, whatever the victims, then a restart, as in each upgrade.
    Term,
}

/// Nodes hit by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Victims {
    /// One of the other choices, at random in each round.
    Any,
    /// One node, at random.
    One,
    /// The leader.
    Leader,
    /// All nodes at once.
    All,
}

/// Injects one fault, waits, and ends the fault.
pub(crate) async fn round(
    (kinds, victims): (&[Nemesis], Victims),
    chance: &mut Chance,
    cluster: &mut Cluster,
    history: &History,
) -> anyhow::Result<()> {
    let kind = kinds.get(chance.place(kinds.len())).copied().unwrap_or(Nemesis::Kill);
    let victims = match victims {
        Victims::Any => match chance.below(3) {
            0 => Victims::One,
            1 => Victims::Leader,
            _ => Victims::All,
        },
        chosen => chosen,
    };
    let victims = if kind == Nemesis::Term { Victims::Leader } else { victims };
    let victims: Vec<usize> = match victims {
        Victims::One => vec![chance.place(cluster.nodes.len())],
        Victims::Leader => cluster.leader().await.into_iter().collect(),
        Victims::Any | Victims::All => (0..cluster.nodes.len()).collect(),
    };
    let name = format!("{kind:?}").to_lowercase();
    history.add("nemesis", "info", &name, "", &format!("{victims:?}"));
    pause(chance, 300, 700).await;
    for place in &victims {
        if let Some(node) = cluster.nodes.get_mut(*place) {
            match kind {
                Nemesis::Kill => node.kill(),
                Nemesis::Pause => node.signal("STOP")?,
                Nemesis::Term => {
                    let name = node.name.clone();
                    anyhow::ensure!(node.stop()?, "{name} does not end after SIGTERM");
                }
            }
        }
    }
    pause(chance, 200, 800).await;
    for place in &victims {
        if let Some(node) = cluster.nodes.get_mut(*place) {
            match kind {
                Nemesis::Kill | Nemesis::Term => node.start()?,
                Nemesis::Pause => node.signal("CONT")?,
            }
        }
    }
    history.add("nemesis", "info", "heal", "", &format!("{victims:?}"));
    pause(chance, 500, 1_000).await;
    Ok(())
}

async fn pause(chance: &mut Chance, least_ms: u64, more_ms: u64) {
    tokio::time::sleep(Duration::from_millis(least_ms + chance.below(more_ms))).await;
}
