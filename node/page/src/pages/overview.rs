//! The overview: how things are, what needs attention, what happened last.

use askama::Template;
use axum::http::StatusCode;
use conclave_api::{
    audit::Entry,
    change::List,
    finding::Severity,
    node::Node,
    path,
    status::{DomainCounts, Health, Status, StatusProblem},
};

use super::Shown;
use crate::{show, visit::Visit};

/// Most problems on the overview.
const PROBLEMS_MAX: usize = 20;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'a> {
    v: &'a Visit,
    status: &'a Status,
    sentence: String,
    problems: Vec<Attention<'a>>,
    more: usize,
    nodes: Vec<&'a Node>,
    last: Vec<Entry>,
}

#[derive(Template)]
#[template(path = "nodes.html")]
pub(super) struct NodesPart<'a> {
    pub(super) nodes: Vec<&'a Node>,
}

/// A problem, with the page where it is mended.
struct Attention<'a> {
    problem: &'a StatusProblem,
    page: Option<(String, &'static str)>,
}

pub(super) async fn page(visit: &Visit) -> Shown {
    let status = visit.status()?;
    let last = match visit.can("audit") {
        true => visit.api.read::<List<Entry>>("/v1/audit?limit=10&consistency=local").await,
        false => Ok(List::new(Vec::new())),
    };
    let all = status.problems.iter().filter(|one| one.severity > Severity::Note);
    let more = all.clone().count().saturating_sub(PROBLEMS_MAX);
    let problems = all.take(PROBLEMS_MAX).map(|problem| attention(status, problem)).collect();
    let page = OverviewPage {
        v: visit,
        status,
        sentence: sentence(status),
        problems,
        more,
        nodes: status.nodes.iter().collect(),
        last: last.map(|list| list.items).unwrap_or_default(),
    };
    Ok(visit.page(StatusCode::OK, &page))
}

/// The table of nodes alone, which the script fetches again and again.
pub(super) async fn nodes(visit: &Visit) -> Shown {
    let list: List<Node> = visit.api.read(path::NODES).await?;
    Ok(visit.page(StatusCode::OK, &NodesPart { nodes: list.items.iter().collect() }))
}

/// Says in one sentence how things are.
fn sentence(status: &Status) -> String {
    let Some(cluster) = &status.cluster else {
        return "This node belongs to no cluster yet.".to_owned();
    };
    let counts: &DomainCounts = &status.domains;
    let served = counts.valid + counts.expiring;
    let in_test = match counts.test {
        0 => String::new(),
        count => format!(", {} in test mode", show::number(count)),
    };
    match cluster.health {
        Health::NoQuorum => format!(
            "Only {} of {} voters answer {}, so nothing can be changed. TLS goes on.",
            cluster.reachable, cluster.voters, status.node
        ),
        Health::NoLeader => {
            "No leader answers, so nothing can be changed now. TLS goes on.".to_owned()
        }
        Health::Attention => format!(
            "{} with a valid certificate{in_test}, and {} your attention.",
            show::counted(served, "domain"),
            match status.problems.iter().filter(|one| one.severity > Severity::Note).count() {
                1 => "one thing needs".to_owned(),
                count => format!("{count} things need"),
            }
        ),
        Health::Healthy => format!(
            "All is well: {} with a valid certificate{in_test}, {}.",
            show::counted(served, "domain"),
            match cluster.can_lose {
                0 => "no node may fail yet".to_owned(),
                1 => "one node may fail".to_owned(),
                count => format!("{count} nodes may fail"),
            }
        ),
    }
}

/// Finds the page where a problem is mended.
fn attention<'a>(status: &'a Status, problem: &'a StatusProblem) -> Attention<'a> {
    let is_node = status.nodes.iter().any(|node| node.name == problem.object);
    let family = problem.code.as_str().chars().next().unwrap_or('-');
    let page = match family {
        'N' => Some(("/ui/listeners".to_owned(), "Listeners")),
        'B' | 'R' | 'J' | 'V' | 'F' => Some(("/ui/cluster".to_owned(), "Cluster")),
        'S' => Some(("/ui/cluster/keyring".to_owned(), "Keyring")),
        _ if is_node => Some(("/ui/cluster".to_owned(), "Cluster")),
        'C' | 'D' | 'H' | 'K' => {
            Some((format!("/ui/domains/{}", show::escaped(&problem.object)), "Open the domain"))
        }
        _ => None,
    };
    Attention { problem, page }
}
