//! The cluster: its members, its leader, its level.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    change::List,
    cluster::{TransferLeader, Upgrade},
    join_token::Known,
    path,
    status::Status,
};

use super::{Shown, Wished};
use crate::{form::Fields, show, visit::Visit, wish::Wish};

#[derive(Template)]
#[template(path = "cluster.html")]
struct ClusterPage<'a> {
    v: &'a Visit,
    status: &'a Status,
    upgrade: Option<Upgrade>,
    tokens: Vec<Known>,
}

pub(super) async fn page(visit: &Visit) -> Shown {
    let status = visit.status()?;
    let upgrade = visit.api.read(path::CLUSTER_UPGRADE).await.ok();
    let tokens: Option<List<Known>> = match visit.can("join") {
        true => visit.api.read(path::JOIN_TOKENS).await.ok(),
        false => None,
    };
    let tokens = tokens.map(|list| list.items).unwrap_or_default();
    let tokens = tokens.into_iter().filter(|one| one.used_by.is_none()).collect();
    Ok(visit.page(StatusCode::OK, &ClusterPage { v: visit, status, upgrade, tokens }))
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    Some(Ok(match what {
        "transfer-leader" => {
            let to = fields.some("to");
            let next = to.clone().unwrap_or_else(|| "the best voter".to_owned());
            let words: Vec<&str> =
                ["cluster", "transfer-leader"].into_iter().chain(to.as_deref()).collect();
            let command = show::command(&words);
            let path = path::CLUSTER_TRANSFER_LEADER.to_owned();
            let mut wish = Wish::new("Hand over the leadership", Method::POST, path)
                .json(&TransferLeader { to })
                .fact("Next leader", next)
                .untried("Another voter leads from then on. It takes some milliseconds.");
            wish.command = command;
            wish
        }
        "finalize" => Wish::new("End the upgrade", Method::POST, path::CLUSTER_FINALIZE.to_owned())
            .command(&["cluster", "upgrade", "--finalize", "--yes"])
            .typed("finalize"),
        _ => return None,
    }))
}
