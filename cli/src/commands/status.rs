//! `conclave status`: the health of the cluster.

use conclave_api::{node::Node as Shown, status::Status};

use super::{Asking, Done};
use crate::output;

/// Exit code if there are problems.
const ATTENTION: u8 = 9;

pub(super) const HEAD: [&str; 8] =
    ["NODE", "ROLE", "STATE", "LAG", "SERVED", "CONNECTIONS", "HANDSHAKES", "SINCE"];

pub(super) async fn status(asking: &Asking) -> Done {
    let status = asking.client()?.status().await?;
    let is_well = status.problems.is_empty()
        && status.cluster.as_ref().is_some_and(|cluster| cluster.health == "healthy");
    if !output::json(&asking.global, &status) {
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
    let count = status.problems.len();
    let first = match (cluster.health.as_str(), count) {
        ("no-leader", _) => "NO LEADER: changes are impossible, TLS goes on".to_owned(),
        ("healthy", _) => "healthy".to_owned(),
        (_, 1) => "1 thing needs attention".to_owned(),
        _ => format!("{count} things need attention"),
    };
    output::line(&format!("{}: {first}\n", cluster.name));
    let leader = cluster.leader.as_deref().unwrap_or("none");
    output::line(&format!(
        "Cluster   {} voters, leader {leader} (term {}), {} may fail",
        cluster.voters, cluster.term, cluster.can_lose
    ));
    if let Some(keyring) = &status.keyring {
        let all = status.nodes.len();
        let unsealed = all - keyring.sealed_nodes.len();
        output::line(&format!(
            "Keyring   generation {}, unsealed on {unsealed} of {all} nodes",
            keyring.generation
        ));
    }
    output::line(&format!("Version   {}\n", status.version));
    if cluster.stale {
        output::line(&format!("as known to {}:", status.node));
    }
    output::list(&asking.global, &status.nodes, &HEAD, row);
    let domains = &status.domains;
    output::line(&format!(
        "\n{} domains: {} valid, {} expire within 30 days, {} with a problem, {} in test mode, {} disabled",
        domains.total,
        domains.valid,
        domains.expiring,
        domains.problem,
        domains.test,
        domains.disabled
    ));
    for problem in &status.problems {
        let sign = if problem.severity == "error" { "x" } else { "!" };
        output::line(&format!(
            "{sign}  {}  {}        {}",
            problem.object, problem.text, problem.hint
        ));
    }
}

pub(super) fn row(node: &Shown) -> Vec<String> {
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
    ]
}
