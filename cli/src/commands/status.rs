//! `conclave status`: the health of the cluster.

use conclave_api::{
    finding::Severity,
    node::Node as Shown,
    status::{ClusterStatus, Health, Status},
};

use super::{ATTENTION, Asking, Done};
use crate::{
    args::Form,
    output::{self, Columns},
};

/// Columns of a list of nodes.
pub(super) const NODES: Columns<'_, Shown> = Columns {
    kind: "Node",
    head: &["NODE", "ROLE", "STATE", "LAG", "SERVED", "CONNECTIONS", "HANDSHAKES", "SINCE"],
    wide: &["ADDRESS", "VERSION", "ZONE", "ID", "ROWS", "DIGEST"],
    name: |one| one.name.clone(),
};

pub(super) async fn status(asking: &Asking) -> Done {
    let status = asking.client()?.status().await?;
    let is_well = status.problems.is_empty()
        && status.cluster.as_ref().is_some_and(|cluster| cluster.health == Health::Healthy);
    if asking.global.output == Form::Name {
        output::list(&asking.global, &NODES, &status.nodes, row);
    } else if !output::json(&asking.global, &status) {
        show(asking, &status);
    }
    Ok(if is_well { 0 } else { ATTENTION })
}

fn show(asking: &Asking, status: &Status) {
    let Some(cluster) = &status.cluster else {
        output::line(&format!("{}: belongs to no cluster yet", status.node));
        output::advice(
            &asking.global,
            "Next: conclave cluster init --name NAME    or: conclave cluster join HOST:PORT",
        );
        return;
    };
    output::line(&format!("{}: {}", cluster.name, first_line(status, cluster)));
    if cluster.stale {
        let age = match cluster.stale_s {
            Some(seconds) => format!(", {seconds} s old"),
            None => ", from before its start".to_owned(),
        };
        output::line(&format!("as known to {}{age}", status.node));
    }
    output::line("");
    let leader = cluster.leader.as_deref().unwrap_or("none");
    let spare = match (cluster.stale, cluster.can_lose) {
        (true, _) => "no change is possible".to_owned(),
        (false, 0) => "no node may fail".to_owned(),
        (false, count) => format!("{count} may fail"),
    };
    output::line(&format!(
        "Cluster   {} voters, {} answer, leader {leader} (term {}), {spare}",
        cluster.voters, cluster.reachable, cluster.term
    ));
    if let Some(keyring) = &status.keyring {
        let answering = status.nodes.iter().filter(|node| node.state != "unreachable").count();
        output::line(&format!(
            "Keyring   generation {}, unsealed on {} of the {answering} nodes that answer",
            keyring.generation,
            answering - keyring.sealed_nodes.len().min(answering)
        ));
    }
    output::line(&format!("Backup    {}", backup(status)));
    output::line(&format!("Version   {}\n", versions(status)));
    output::list(&asking.global, &NODES, &status.nodes, row);
    let domains = &status.domains;
    output::line(&format!(
        "\n{}: {} valid, {} expire soon, {} with a problem, {} in test mode, {} disabled",
        output::counted(domains.total, "domain"),
        domains.valid,
        domains.expiring,
        domains.problem,
        domains.test,
        domains.disabled
    ));
    if domains.unchecked > 0 {
        output::line(&format!(
            "{} of them are not fully checked yet: ask again in a minute",
            domains.unchecked
        ));
    }
    for canary in &status.canaries {
        let (domain, node, until) = (&canary.domain, &canary.node, &canary.until);
        output::line(&format!("-  {domain}  canary on {node} until {until}"));
    }
    for problem in &status.problems {
        let sign = if problem.severity == Severity::Error { "x" } else { "!" };
        output::line(&format!(
            "{sign}  {}  {}        {}",
            problem.object, problem.text, problem.hint
        ));
    }
}

fn first_line(status: &Status, cluster: &ClusterStatus) -> String {
    match (cluster.health, status.problems.len()) {
        (Health::NoQuorum, _) => format!(
            "NO QUORUM: {} of {} voters answer {}, {} are needed: changes are impossible, TLS goes on",
            cluster.reachable, cluster.voters, status.node, cluster.quorum
        ),
        (Health::NoLeader, _) => {
            format!("NO LEADER answers {}: changes are impossible, TLS goes on", status.node)
        }
        (Health::Healthy, _) => "healthy".to_owned(),
        (Health::Attention, 1) => "1 thing needs attention".to_owned(),
        (Health::Attention, count) => format!("{count} things need attention"),
    }
}

/// Returns the age of the last backup, in the largest unit that shows it.
fn backup(status: &Status) -> String {
    let Some(last) = &status.backup else {
        return "none known    conclave backup create --recipient age1... --out FILE".to_owned();
    };
    let age = match last.age_s {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} minutes", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    };
    format!("{age} old, at index {}, made on {}", last.index, last.node)
}

/// Returns the versions of the members that answer, as one text.
fn versions(status: &Status) -> String {
    let mut found: Vec<&str> =
        status.nodes.iter().filter_map(|node| node.version.as_deref()).collect();
    found.sort_unstable();
    found.dedup();
    let found = match found.as_slice() {
        [] => status.version.clone(),
        [one] => (*one).to_owned(),
        several => return format!("{}: an upgrade is under way", several.join(" and ")),
    };
    match &status.cluster {
        Some(cluster) if cluster.level_possible > cluster.level => {
            format!("{found}, not finalized    conclave cluster upgrade --finalize")
        }
        _ => found,
    }
}

pub(super) fn row(node: &Shown, _: bool) -> Vec<String> {
    let number =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    vec![
        node.name.clone(),
        node.role.clone(),
        node.state.clone(),
        number(node.lag_entries),
        number(node.served_index),
        number(node.connections),
        number(node.handshakes),
        node.started.clone().unwrap_or_else(|| "-".to_owned()),
        node.address.clone(),
        node.version.clone().unwrap_or_else(|| "-".to_owned()),
        if node.zone.is_empty() { "-".to_owned() } else { node.zone.clone() },
        node.id.to_string(),
        number(node.rows),
        node.digest.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}
