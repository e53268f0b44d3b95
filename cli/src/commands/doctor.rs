//! `conclave doctor`: what is wrong with a node, its machine and its cluster.

use std::path::Path;

use conclave_api::{
    finding::Severity,
    problem::Code,
    status::{Health, Status, StatusProblem},
};

use super::{Asking, Done, check::Findings, client, environment};
use crate::{args::Command, output};

/// Most problems of the cluster that are listed one by one.
const PROBLEMS_MAX: usize = 20;

pub(super) async fn run(asking: &Asking, config: &Path) -> Done {
    let examined = conclave_node::examine(config);
    let mut found = Findings::default();
    examined.right.into_iter().for_each(|text| found.right(text));
    for one in examined.findings {
        found.add(one.severity, &one.text, one.hint);
    }
    let is_named = asking.global.address.is_some() || environment("CONCLAVE_ADDRESS").is_some();
    if is_named || examined.is_running {
        let socket = examined.socket.filter(|_| !is_named);
        match ask(asking, socket.as_deref()).await {
            Ok(status) => judge(&mut found, &status),
            Err(failure) => {
                found.add(Severity::Error, &failure.title, failure.hint.clone());
            }
        }
    }
    if !output::object_of(&asking.global, "Examination", "doctor", &found) {
        found.show();
        output::advice(&asking.global, &found.sum());
    }
    Ok(found.code())
}

/// Asks the node for its status: at its own socket, unless an address is given.
async fn ask(asking: &Asking, socket: Option<&Path>) -> Result<Status, conclave_client::Failure> {
    let Some(socket) = socket else { return asking.client()?.status().await };
    let mut global = asking.global.clone();
    global.address = Some(format!("unix:{}", socket.display()));
    client(&global, &Command::Status)?.status().await
}

/// Judges the cluster by the status of a node.
fn judge(found: &mut Findings, status: &Status) {
    let Some(cluster) = &status.cluster else {
        let hint = "conclave cluster init --name NAME    or: conclave cluster join HOST:PORT";
        let text = format!("{} belongs to no cluster yet", status.node);
        return found.add(Severity::Warning, &text, Some(hint.to_owned()));
    };
    let (name, voters, reachable) = (&cluster.name, cluster.voters, cluster.reachable);
    match (cluster.health, &cluster.leader) {
        (Health::NoQuorum | Health::NoLeader, _) | (_, None) => {
            let text = format!("cluster {name}: no leader, {reachable} of {voters} voters answer");
            let hint = "conclave status    conclave explain recover";
            found.add(Severity::Error, &text, Some(hint.to_owned()));
        }
        (_, Some(leader)) => {
            found.right(format!("cluster {name}: {reachable} of {voters} voters, leader {leader}"));
        }
    }
    let has = |code: Code| status.problems.iter().any(|one| one.code == code);
    if !has(Code::ClockOff) {
        clocks(found, status);
    }
    if !has(Code::PortUnavailable) {
        found.right("listeners: all open on the nodes that answer".to_owned());
    }
    let domains = &status.domains;
    let checked = domains.total.saturating_sub(domains.unchecked);
    let all = output::counted(domains.total, "domain");
    let text = format!("certificates: {checked} of {all} checked");
    match domains.problem + domains.expiring {
        0 if domains.unchecked > 0 => found.add(Severity::Note, &text, None),
        0 => found.right(text),
        _ => {}
    }
    for StatusProblem { severity, object, text, hint, .. } in
        status.problems.iter().take(PROBLEMS_MAX)
    {
        found.add(*severity, &format!("{object}: {text}"), Some(hint.clone()));
    }
    let more = status.problems.len().saturating_sub(PROBLEMS_MAX);
    if more > 0 {
        let text = format!("{more} further things need attention");
        found.add(Severity::Warning, &text, Some("conclave status".to_owned()));
    }
}

/// Says how far the clocks of the nodes are apart, as far as they are known.
fn clocks(found: &mut Findings, status: &Status) {
    let ahead = || status.nodes.iter().filter_map(|node| node.clock_ahead_ms);
    match (ahead().min(), ahead().max()) {
        (Some(least), Some(most)) if ahead().count() > 1 => {
            let apart = std::time::Duration::from_millis(most.abs_diff(least));
            found.right(format!("clocks of the nodes within {:.2} s", apart.as_secs_f64()));
        }
        _ if status.nodes.len() > 1 => {
            found.add(Severity::Note, "clocks of the nodes: not compared yet", None);
        }
        _ => found.right("clock: no other node to compare it with".to_owned()),
    }
}
