//! Routes for founding and joining a cluster.

use axum::Json;
use conclave_api::{
    cluster::{Init, Join, Membership},
    problem::{Code, Problem},
};
use conclave_store::id::{ClusterName, Fingerprint};

use super::Answer;
use crate::{admin::asked::Asked, cluster};

pub(super) async fn init(asked: Asked) -> Answer<Membership> {
    let init: Init = asked.json()?;
    asked.operator.for_real()?;
    let name = ClusterName::parse(&init.name)
        .map_err(|error| Problem::new(Code::Malformed, error.to_string()))?;
    // A task of its own: a caller that disconnects must not leave a half-founded cluster.
    let (node, principal) = (asked.operator.node.clone(), asked.operator.caller.principal.clone());
    finish(tokio::spawn(async move { cluster::found(&node, name, principal).await })).await?;
    membership(&asked)
}

pub(super) async fn join(asked: Asked) -> Answer<Membership> {
    asked.operator.for_real()?;
    let join: Join = asked.json()?;
    let node = asked.operator.node.clone();
    finish(tokio::spawn(async move { cluster::join(&node, &join.address, &join.token).await }))
        .await?;
    membership(&asked)
}

async fn finish(task: tokio::task::JoinHandle<Result<(), Problem>>) -> Result<(), Problem> {
    task.await.map_err(|error| crate::fault::internal("the change of membership failed", error))?
}

fn membership(asked: &Asked) -> Answer<Membership> {
    let replica = asked.operator.node.replica()?;
    let point = replica.point();
    let cluster = point
        .state
        .cluster()
        .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster yet"))?;
    Ok(Json(Membership {
        cluster: cluster.name.to_string(),
        id: cluster.id.to_string(),
        fingerprint: Fingerprint::of(&cluster.authority_der).to_string(),
        node: asked.operator.node.config().name.to_string(),
        node_id: replica.id().0,
        voters: u64::try_from(replica.raft().status().voters.len()).unwrap_or(0),
    }))
}
