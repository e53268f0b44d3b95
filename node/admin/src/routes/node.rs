//! Routes for individual members: role, removal, draining.

use std::{collections::BTreeSet, time::Duration};

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    change::{Change, List},
    node::{Drain as Asking, Drained, Exposed, Set},
    problem::{Code, Problem},
};
use conclave_cluster::{admit, replica::Drain, view};
use conclave_raft::Status;
use conclave_store::{id::NodeId, record::MemberRole, scope::Scope};

use super::Answer;
use crate::asked::Asked;

/// Longest wait until Raft has the new role of a member.
const ROLE_WAIT: Duration = Duration::from_secs(30);

const DEADLINE_S: u64 = 600;
const DEADLINE_S_MAX: u64 = 24 * 60 * 60;

pub(super) async fn show(Path(name): Path<String>, asked: Asked) -> Answer<Drained> {
    ask(&asked, name, Drain::Show).await
}

pub(super) async fn drain(Path(name): Path<String>, asked: Asked) -> Answer<Drained> {
    asked.operator.for_real()?;
    let drain: Asking = asked.json()?;
    let deadline_s = drain.deadline_s.unwrap_or(DEADLINE_S);
    if deadline_s > DEADLINE_S_MAX {
        let title = format!("a deadline of {deadline_s} s is too long");
        return Err(Problem::new(Code::Malformed, title).detail("at most one day").into());
    }
    ask(&asked, name, Drain::Start { deadline_ms: deadline_s * 1_000 }).await
}

pub(super) async fn resume(Path(name): Path<String>, asked: Asked) -> Answer<Drained> {
    asked.operator.for_real()?;
    ask(&asked, name, Drain::Resume).await
}

async fn ask(asked: &Asked, name: String, drain: Drain) -> Answer<Drained> {
    let replica = asked.operator.node.replica()?;
    // A local read is enough, so that a drain needs no quorum.
    let point = replica.point();
    let found = point.state.members().find(|(_, member)| member.name.as_str() == name);
    let Some((id, _)) = found else {
        return Err(Problem::new(Code::NotFound, format!("no node {name:?}"))
            .hint("conclave node list")
            .into());
    };
    let drained = replica.drain(*id, drain).await.map_err(|error| {
        Problem::new(Code::NodeUnreachable, format!("{name} does not answer"))
            .detail(error)
            .hint("conclave node list")
    })?;
    let (remaining, finished, closed) =
        drained.map_or((0, 0, 0), |one| (one.remaining, one.finished, one.closed));
    Ok(Json(Drained {
        api_version: API_VERSION.to_owned(),
        kind: "Drain".to_owned(),
        node: name,
        state: match drained {
            None => "serving",
            Some(one) if one.is_done => "drained",
            Some(_) => "draining",
        }
        .to_owned(),
        remaining,
        finished,
        closed,
    }))
}

async fn answering(asked: &Asked) -> Result<BTreeSet<NodeId>, Problem> {
    let outlook = asked.operator.node.replica()?.outlook().await;
    Ok(outlook.reports.keys().copied().collect())
}

pub(super) async fn set(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let set: Set = asked.json()?;
    let is_voter = set.role.as_deref().map(|role| role == "voter");
    let answering = answering(&asked).await?;
    let named = name.clone();
    let derive = move |view: &admit::View<'_>| admit::set_member(view, &named, &set, &answering);
    let mut change = asked.operator.change(Scope::Shared, derive).await?;
    if let (Some(is_voter), false) = (is_voter, asked.operator.is_dry_run)
        && !has_role(&asked, &name, is_voter).await?
    {
        change.warnings.push(match is_voter {
            true => format!("{name} is still catching up; it votes as soon as it has everything"),
            false => format!("{name} still votes: the leader goes on trying"),
        });
    }
    Ok(Json(change))
}

/// Waits until Raft has a member as a voter, or not as one.
async fn has_role(asked: &Asked, name: &str, is_voter: bool) -> Result<bool, Problem> {
    let replica = asked.operator.node.replica()?;
    let id = conclave_raft::NodeId(admit::member(&replica.point().state, name)?.id.0);
    let is_so = |status: &Status| status.voters.contains_key(&id) == is_voter;
    let wait = asked.operator.left().min(ROLE_WAIT);
    Ok(replica.raft().wait_status(is_so, wait).await.is_some())
}

/// Removes a member. A voter stops voting first, while it can still take part in that decision.
pub(super) async fn remove(Path(name): Path<String>, asked: Asked) -> Answer<Change> {
    let replica = asked.operator.node.replica()?;
    let present = replica.point();
    let answering = answering(&asked).await?;
    if let Ok(member) = admit::member(&present.state, &name) {
        if member.id == replica.id() {
            return Err(Problem::new(Code::Malformed, format!("{name} cannot remove itself"))
                .why("it could not tell you how it ended")
                .hint("conclave --address ANOTHER-NODE node remove NAME")
                .into());
        }
        let is_voter = member.role == MemberRole::Voter;
        if is_voter && !asked.operator.is_dry_run {
            stop_voting(&asked, &name, &answering).await?;
        }
    }
    let derive = move |view: &admit::View<'_>| admit::remove_member(view, &name, &answering);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

async fn stop_voting(
    asked: &Asked,
    name: &str,
    answering: &BTreeSet<NodeId>,
) -> Result<(), Problem> {
    let (named, answering) = (name.to_owned(), answering.clone());
    let learner = Set { role: Some("learner".to_owned()), zone: None };
    let first = asked.operator.step();
    first
        .change(Scope::Shared, move |view| admit::set_member(view, &named, &learner, &answering))
        .await?;
    if has_role(asked, name, false).await? {
        return Ok(());
    }
    Err(Problem::new(Code::NoLeader, format!("{name} still votes"))
        .why("the voters have not agreed on it in time; it is a learner as soon as they do")
        .hint("repeat the command"))
}

/// Lists the private keys that a member, or one that has left, could open.
pub(super) async fn exposed(Path(name): Path<String>, asked: Asked) -> Answer<List<Exposed>> {
    let state = asked.operator.read().await?;
    let found = view::exposed(&state, &name).ok_or_else(|| {
        Problem::new(Code::NodeUnknown, format!("no node {name:?} is or was a member"))
            .hint("conclave node list")
    })?;
    Ok(Json(asked.page.of(found, |one| format!("{} {}", one.domain, one.sha256))))
}
