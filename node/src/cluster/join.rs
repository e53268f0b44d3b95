//! The joining node's side of a join.

use std::{net::SocketAddr, time::Duration};

use conclave_api::problem::{Code, Problem};
use conclave_raft::{JoinError, Role, join_call};
use ring::hmac;
use tokio::time::Instant;

use super::admission::{
    JoinAnswerV1, JoinOptions, JoinRequestV1, Proved, decode, encode, encode_request,
};
use crate::{
    fault::internal,
    membership::{Introduced, Membership},
    node::Node,
    token::JoinTokenText,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const VOTER_TIMEOUT: Duration = Duration::from_secs(60);

/// Joins the cluster of `token` by the member at `address`. Waits until this node is a voter.
pub(crate) async fn join(
    node: &Node,
    address: &str,
    token: &str,
    options: JoinOptions,
) -> Result<(), Problem> {
    let token = JoinTokenText::parse(token).ok_or_else(|| {
        Problem::new(Code::JoinTokenInvalid, "this is not a join token")
            .detail("a join token begins with cvj_ and has three parts")
            .hint("on any member: conclave join-token create")
    })?;
    if let Some(reason) = node.keyring().sealed_reason() {
        return Err(Problem::new(Code::Sealed, "this node is sealed").why(reason));
    }
    let _joining = node.membership_change()?;
    let is_learner = options.is_learner;
    let address = resolve(address).await?;
    let own_address = node.advertised()?;
    let request = JoinRequestV1 {
        token: token.id,
        name: node.config().name.to_string(),
        identity_der: node.keys().identity_public().to_vec(),
        sealing_key: *node.keys().sealing_public(),
        address: own_address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    // The proof covers only this connection. The token's secret itself never leaves the node.
    let build = |exporter: [u8; 32]| {
        let request = encode_request(&request, &options);
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_slice());
        let proof = hmac::sign(&key, &[&exporter[..], &request].concat());
        encode(&Proved { request, proof: proof.as_ref().to_vec() })
    };
    let answer = join_call(address, token.authority.0, build, TIMEOUT).await;
    let answer = decode::<JoinAnswerV1>(&answer.map_err(|error| join_problem(&error))?)
        .ok_or_else(|| internal("the cluster's answer cannot be read", address))?;
    let welcome = match answer {
        JoinAnswerV1::Welcome(welcome) => welcome,
        JoinAnswerV1::Refused(problem) => {
            return Err(serde_json::from_str(&problem).unwrap_or_else(|_| {
                Problem::new(Code::JoinTokenInvalid, "the cluster refused this node")
            }));
        }
    };
    let membership = Membership::new(
        welcome.cluster,
        welcome.cluster_name,
        welcome.node,
        welcome.authority_der,
        welcome.certificate_der,
        welcome
            .members
            .into_iter()
            .map(|(id, identity_der, address)| Introduced { id, identity_der, address })
            .collect(),
    );
    membership.write(node.data_dir()).map_err(|e| internal("cannot note the membership", e))?;
    let replica = super::start(node, &membership).await?;
    let is_voter = |status: &conclave_raft::Status| {
        let is_in = match is_learner {
            true => status.learners.contains_key(&status.id),
            false => {
                status.voters.contains_key(&status.id)
                    && matches!(status.role, Role::Follower | Role::Leader)
            }
        };
        is_in && status.leader.is_some()
    };
    let deadline = Instant::now() + VOTER_TIMEOUT;
    if replica.raft().wait_status(is_voter, VOTER_TIMEOUT).await.is_none() {
        return Err(Problem::new(Code::NoLeader, "the cluster has not made this node a voter yet")
            .detail("it is a member and goes on trying")
            .hint("conclave status"));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    // Claim the Main Domain's name before the join is acknowledged, so that no shared domain can
    // take it afterwards. If one already has it, `status` reports that.
    let _ = replica.try_main_domain(&node.config().main_domain).await;
    // After this read the node has everything that was acknowledged before it joined.
    replica.linearizable(left).await.map(|_| ()).map_err(|_| {
        Problem::new(Code::NoLeader, "this node is a voter but lags behind").hint("conclave status")
    })
}

async fn resolve(text: &str) -> Result<SocketAddr, Problem> {
    let problem = |why: String| {
        Problem::new(Code::ClusterUnreachable, format!("cannot find {text}"))
            .detail(why)
            .hint("give HOST:PORT of a member: conclave node list -o wide on a member shows it")
    };
    let mut found =
        tokio::net::lookup_host(text).await.map_err(|error| problem(error.to_string()))?;
    found.next().ok_or_else(|| problem("the name has no address".to_owned()))
}

fn join_problem(error: &JoinError) -> Problem {
    match error {
        JoinError::OtherCluster { .. } => Problem::new(Code::JoinTokenInvalid, error.to_string())
            .why("the token carries the fingerprint of its cluster, and another one answered")
            .hint("check the address, or make a token on a member of that cluster"),
        JoinError::Lost { .. } => Problem::new(Code::ClusterUnreachable, error.to_string())
            .hint("repeat the command with the same token: joining twice does no harm"),
        _ => Problem::new(Code::ClusterUnreachable, error.to_string())
            .hint("is the member running, and is its UDP port open?"),
    }
}
