//! Routes for founding and joining a cluster.

use axum::Json;
use conclave_api::{
    cluster::{Init, Join, Membership},
    problem::{Code, Problem},
};
use conclave_store::id::{ClusterName, Fingerprint};

use super::Answer;
use crate::{
    admin::{asked::Asked, problem::Failed},
    cluster,
    token::JoinTokenText,
};

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
    finish(tokio::spawn(async move { cluster::found(&node, name, principal).await })).await?;
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
        cluster::JoinTerms { is_learner: join.learner, zone: join.zone, replaces: join.replaces };
    finish(tokio::spawn(
        async move { cluster::join(&node, &join.address, &join.token, options).await },
    ))
    .await?;
    membership(&asked, true).map(Json)
}

async fn finish(task: tokio::task::JoinHandle<Result<(), Problem>>) -> Result<(), Problem> {
    task.await.map_err(|error| crate::fault::internal("the change of membership failed", error))?
}

/// Returns what this node is a member of. `changed` says whether it has become one just now.
fn membership(asked: &Asked, changed: bool) -> Result<Membership, Failed> {
    let replica = asked.operator.node.replica()?;
    let point = replica.point();
    let cluster = point
        .state
        .cluster()
        .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster yet"))?;
    let unlock_file = &asked.operator.node.config().unlock_file;
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
        unlock_key: Some(unlock_file.display().to_string()),
        warnings: conclave_keys::exposure(unlock_file).into_iter().collect(),
        changed,
    })
}
