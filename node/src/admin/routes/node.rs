//! Routes for individual members: draining.

use axum::{Json, extract::Path};
use conclave_api::{
    API_VERSION,
    node::{Drain as Asking, Drained},
    problem::{Code, Problem},
};

use super::Answer;
use crate::{admin::asked::Asked, replica::Drain};

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
