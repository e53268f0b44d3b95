//! Routes for founding and joining a cluster, and for its leadership.

use axum::{Extension, Json};
use conclave_api::{
    API_VERSION,
    change::Change,
    cluster::{Init, Join, LeaderTransfer, Membership, TransferLeader, Upgrade},
    problem::{Code, Problem},
};
use conclave_cluster::{
    admit, life,
    replica::{KeptV1, TransferError},
    token::JoinTokenText,
    view,
};
use conclave_store::{
    id::{ClusterName, Fingerprint, NodeId},
    record::AuditDifference,
    scope::Scope,
    state::State,
};

use super::Answer;
use crate::{asked::Asked, gate::Acted, problem::Failed};

/// First version whose leader hands over on request.
const TRANSFER_SINCE: &str = "0.3.0";

pub(super) async fn init(asked: Asked) -> Answer<Membership> {
    let init: Init = asked.json()?;
    asked.operator.for_real()?;
    let name = ClusterName::parse(&init.name)
        .map_err(|error| Problem::new(Code::Malformed, error.to_string()))?;
    // A task of its own: a caller that disconnects must not leave a half-founded cluster.
    let (node, principal) = (asked.operator.node.clone(), asked.operator.caller.principal.clone());
    if asked.operator.is_if_missing
        && let Ok(present) = membership(&asked, false)
        && present.cluster == name.as_str()
    {
        return Ok(Json(present));
    }
    finish(tokio::spawn(async move { life::found(&node, name, principal).await })).await?;
    membership(&asked, true).map(Json)
}

pub(super) async fn join(asked: Asked) -> Answer<Membership> {
    asked.operator.for_real()?;
    let join: Join = asked.json()?;
    // A member stays one, whatever the token says: it is spent, and its cluster is what counts.
    if let Ok(present) = membership(&asked, false)
        && JoinTokenText::parse(&join.token)
            .is_some_and(|token| token.authority.to_string() == present.fingerprint)
    {
        return Ok(Json(present));
    }
    let node = asked.operator.node.clone();
    let options =
        life::JoinTerms { is_learner: join.learner, zone: join.zone, replaces: join.replaces };
    finish(tokio::spawn(
        async move { life::join(&node, &join.address, &join.token, options).await },
    ))
    .await?;
    membership(&asked, true).map(Json)
}

pub(super) async fn transfer_leader(
    asked: Asked,
) -> Result<(Extension<Acted>, Json<LeaderTransfer>), Failed> {
    let transfer: TransferLeader = asked.json()?;
    let (operator, replica) = (&asked.operator, asked.operator.node.replica()?);
    // A local read is enough: it only translates names.
    let point = replica.point();
    let to = transfer.to.as_deref().map(|name| node_of(&point.state, name)).transpose()?;
    let done = replica.transfer(to, operator.is_dry_run, operator.deadline).await;
    let name = |id| name_of(&point.state, id);
    match done {
        Ok(done) => {
            let (from, to) = (name(done.from), name(done.to));
            let what = "leader".to_owned();
            let (before, after) = (Some(from.clone()), Some(to.clone()));
            let difference = AuditDifference { what, before, after };
            let acted = Acted { object: to.clone(), difference };
            let transfer = LeaderTransfer {
                api_version: API_VERSION.to_owned(),
                kind: "LeaderTransfer".to_owned(),
                from,
                to,
                took_ms: done.took_ms,
                changed: done.from != done.to && !operator.is_dry_run,
                dry_run: operator.is_dry_run,
            };
            Ok((Extension(acted), Json(transfer)))
        }
        Err(TransferError::NoLeader) => Err(operator.no_leader().into()),
        Err(TransferError::Unknown) => {
            let title = "the answer was lost; the leadership may have been transferred";
            Err(Problem::new(Code::OutcomeUnknown, title).hint("conclave status").into())
        }
        Err(TransferError::NotProved) => {
            let title = "this node is sealed: it cannot ask the leader to hand over";
            Err(Problem::new(Code::Sealed, title).hint("ask an unsealed node: --address").into())
        }
        Err(TransferError::NotKnown(leader)) => {
            let title = format!("{} leads and cannot hand over on request", name(leader.0));
            Err(Problem::new(Code::VersionTooOld, title)
                .why(format!("its version is older than {TRANSFER_SINCE}"))
                .hint("upgrade that node: when it stops it hands over by itself")
                .into())
        }
        Err(TransferError::Kept(kept)) => Err(kept_problem(&kept, name).into()),
    }
}

pub(super) async fn upgrade(asked: Asked) -> Answer<Upgrade> {
    Ok(Json(how_far(&asked).await?))
}

pub(super) async fn finalize(asked: Asked) -> Answer<Change> {
    let upgrade = how_far(&asked).await?;
    let derive = move |_: &admit::View<'_>| admit::finalize(&upgrade);
    Ok(Json(asked.operator.change(Scope::Shared, derive).await?))
}

pub(super) async fn rotate_authority(asked: Asked) -> Answer<Change> {
    Ok(Json(asked.operator.change(Scope::Shared, admit::rotate_authority).await?))
}

pub(super) async fn forget_authority(asked: Asked) -> Answer<Change> {
    Ok(Json(asked.operator.change(Scope::Shared, admit::forget_authority).await?))
}

async fn how_far(asked: &Asked) -> Result<Upgrade, Problem> {
    let state = asked.operator.read().await?;
    let node = &asked.operator.node;
    let versions = node.replica()?.versions().await;
    Ok(view::upgrade(&state, &versions, !node.config().is_finalized_by_hand))
}

/// Finds a member by its name.
fn node_of(state: &State, name: &str) -> Result<NodeId, Problem> {
    let found = state.members().find(|(_, member)| member.name.as_str() == name);
    found.map(|(id, _)| *id).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("no node {name:?}")).hint("conclave node list")
    })
}

fn name_of(state: &State, id: u64) -> String {
    let member = state.members().find(|(known, _)| known.0 == id);
    member.map_or_else(|| format!("node {id}"), |(_, member)| member.name.to_string())
}

/// Converts the reason for which the leader stays.
fn kept_problem(kept: &KeptV1, name: impl Fn(u64) -> String) -> Problem {
    let refused = |title: String| Problem::new(Code::LeaderKept, title);
    match *kept {
        KeptV1::NoVote(id) => refused(format!("{} is a learner: it has no vote", name(id)))
            .why("only a voter can lead")
            .hint("conclave node list    shows the voters"),
        KeptV1::Silent(id) => {
            refused(format!("{} does not answer the leader", name(id))).hint("conclave node list")
        }
        KeptV1::NoRoom(id) => refused(format!("the disk of {} is full", name(id)))
            .why("a leader without room refuses every change")
            .hint("make room on the disk of its data_dir"),
        KeptV1::Draining(id) => refused(format!("{} is drained", name(id)))
            .hint(format!("conclave node resume {}", name(id))),
        KeptV1::NotElected(id) => {
            refused(format!("{} was not elected in time", name(id))).hint("conclave status")
        }
        KeptV1::NoSuccessor | KeptV1::NotLeader => refused("no other voter can lead".to_owned())
            .why("each one is silent, drained, or without room on its disk, or there is none")
            .hint("conclave status"),
    }
}

pub(super) async fn finish(
    task: tokio::task::JoinHandle<Result<(), Problem>>,
) -> Result<(), Problem> {
    task.await.map_err(|error| {
        conclave_cluster::fault::internal("the change of membership failed", error)
    })?
}

/// Returns what this node is a member of. `changed` says whether it has become one just now.
pub(super) fn membership(asked: &Asked, changed: bool) -> Result<Membership, Failed> {
    let replica = asked.operator.node.replica()?;
    let point = replica.point();
    let cluster = point
        .state
        .cluster()
        .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster yet"))?;
    let (config, lock) = (asked.operator.node.config(), asked.operator.node.lock());
    let is_stored = !lock.is_manual();
    Ok(Membership {
        cluster: cluster.name.to_string(),
        id: cluster.id.to_string(),
        fingerprint: Fingerprint::of(&cluster.authority_der).to_string(),
        node: asked.operator.node.config().name.to_string(),
        node_id: replica.id().0,
        learner: replica
            .raft()
            .status()
            .learners
            .contains_key(&conclave_raft::NodeId(replica.id().0)),
        voters: u64::try_from(replica.raft().status().voters.len()).unwrap_or(0),
        unlock_key: is_stored.then(|| config.unlock.to_string()),
        warnings: lock.exposure().into_iter().collect(),
        changed,
    })
}
