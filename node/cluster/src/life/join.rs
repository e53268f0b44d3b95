//! The joining node's side of a join.

use std::{net::SocketAddr, time::Duration};

use conclave_api::problem::{Code, Problem};
use conclave_pki::{certificate::Certificate, issue, key::PrivateKey};
use conclave_raft::{JoinError, JoinOptions, Joined, Role, join_call};
use conclave_store::id::{Fingerprint, NodeId};
use conclave_system::entropy;
use conclave_tls::{issued_to, ring_provider};
use ring::hmac;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::time::Instant;

use super::admission::{
    JoinAnswerV1, JoinRequestV1, JoinTerms, Proved, WelcomeV1, decode, encode, encode_request,
};
use crate::{
    authority::{NODE_DAYS, node_host_name, validity},
    fault::internal,
    membership::{Introduced, Membership},
    node::Node,
    token::JoinTokenText,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const VOTER_TIMEOUT: Duration = Duration::from_secs(60);

/// Joins the cluster of `token` by the member at `address`. Waits until this node is a voter.
pub async fn join(
    node: &Node,
    address: &str,
    token: &str,
    terms: JoinTerms,
) -> Result<(), Problem> {
    let token = JoinTokenText::parse(token).ok_or_else(|| {
        Problem::new(Code::JoinTokenInvalid, "this is not a join token")
            .detail("a join token begins with cvj_ and has three parts")
            .hint("on any member: conclave join-token create")
    })?;
    node.check_unsealed()?;
    let _joining = node.membership_change()?;
    let is_learner = terms.is_learner;
    let welcome = ask(node, address, &token, &terms).await?;
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
    replica.linearizable(left).await.map_err(|_| {
        Problem::new(Code::NoLeader, "this node is a voter but lags behind").hint("conclave status")
    })?;
    super::start::certified(node).await;
    Ok(())
}

/// Asks the member at `address` to let this node join.
async fn ask(
    node: &Node,
    address: &str,
    token: &JoinTokenText,
    terms: &JoinTerms,
) -> Result<WelcomeV1, Problem> {
    let addresses = resolve(address).await?;
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
        let request = encode_request(&request, terms);
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_slice());
        let proof = hmac::sign(&key, &[&exporter[..], &request].concat());
        encode(&Proved { request, proof: proof.as_ref().to_vec() })
    };
    let options = options(node, token)?;
    let joined = join_call(&addresses, &options, build).await;
    let joined = joined.map_err(|error| join_problem(&error))?;
    let answer = decode::<JoinAnswerV1>(&joined.answer)
        .ok_or_else(|| internal("the cluster's answer cannot be read", joined.address))?;
    let welcome = match answer {
        JoinAnswerV1::Welcome(welcome) => welcome,
        JoinAnswerV1::Refused(problem) => {
            return Err(serde_json::from_str(&problem).unwrap_or_else(|_| {
                Problem::new(Code::JoinTokenInvalid, "the cluster refused this node")
            }));
        }
    };
    check_welcome(&welcome, &joined, token, node.keys().identity_public())?;
    Ok(welcome)
}

/// Returns the settings of a join.
fn options(node: &Node, token: &JoinTokenText) -> Result<JoinOptions, Problem> {
    let key = node.keys().identity_pkcs8();
    Ok(JoinOptions {
        authority: token.authority.0,
        certificate_der: joining_certificate(key)?,
        private_key_der: key.to_vec(),
        timeout: TIMEOUT,
    })
}

/// Makes the certificate that a joining node shows. It only carries the identity key, which TLS
/// proves; nobody reads its names.
fn joining_certificate(identity_pkcs8: &[u8]) -> Result<Vec<u8>, Problem> {
    let failed = "cannot make a certificate of the identity key";
    let key = PrivateKey::from_pkcs8_der(identity_pkcs8).map_err(|e| internal(failed, e))?;
    let name = "joining.conclave.internal".to_owned();
    let attributes = issue::Attributes { common_name: name.clone(), ..Default::default() };
    let (serial, validity) = (entropy::array(), validity(NODE_DAYS));
    let certificate = issue::self_sign(&key, &attributes, &[name], serial, validity);
    Ok(certificate.map_err(|e| internal(failed, e))?.der().to_vec())
}

/// Checks that the welcome is into the cluster of the token, by one of its members. Nothing is
/// written otherwise.
fn check_welcome(
    welcome: &WelcomeV1,
    joined: &Joined,
    token: &JoinTokenText,
    own_key: &[u8],
) -> Result<(), Problem> {
    let name = node_host_name(NodeId(welcome.node));
    let certificate = Certificate::from_der(&welcome.certificate_der);
    let is_certified = certificate.is_ok_and(|certificate| {
        certificate.public_key_der() == own_key
            && certificate.covers(&name)
            && is_issued_to(&welcome.certificate_der, &welcome.authority_der, &name)
    });
    let mut members = welcome.members.iter();
    let contradiction = if Fingerprint::of(&welcome.authority_der) != token.authority {
        "it names another authority than the token"
    } else if !members.any(|(_, key, _)| *key == joined.public_key_der) {
        "the node that answered is not among the members that it names"
    } else if !is_certified {
        "its certificate for this node is not by that authority, or of another key or number"
    } else {
        return Ok(());
    };
    tracing::error!(event = "cluster.welcome_refused", address = %joined.address, contradiction);
    Err(Problem::new(Code::JoinTokenInvalid, "the welcome of the cluster contradicts itself")
        .why(contradiction)
        .detail("nothing was written on this node")
        .hint("join by the address of another member, and check the one that answered"))
}

/// Returns whether an authority has certified this name. Only who holds the authority's key can
/// welcome a node: the key of one node is not enough.
fn is_issued_to(certificate_der: &[u8], authority_der: &[u8], name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else { return false };
    let verifier = issued_to(ring_provider(), Fingerprint::of(authority_der).0);
    let [leaf, authority] = [certificate_der, authority_der].map(CertificateDer::from);
    verifier.verify_server_cert(&leaf, &[authority], &name, &[], UnixTime::now()).is_ok()
}

async fn resolve(text: &str) -> Result<Vec<SocketAddr>, Problem> {
    let problem = |why: String| {
        Problem::new(Code::ClusterUnreachable, format!("cannot find {text}"))
            .detail(why)
            .hint("give HOST:PORT of a member: conclave node list -o wide on a member shows it")
    };
    let found = tokio::net::lookup_host(text).await.map_err(|error| problem(error.to_string()))?;
    let found: Vec<SocketAddr> = found.take(conclave_raft::limits::ADDRESSES_MAX).collect();
    if found.is_empty() { Err(problem("the name has no address".to_owned())) } else { Ok(found) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use conclave_pki::key::KeyAlgorithm;
    use zeroize::Zeroizing;

    #[test]
    fn a_welcome_into_another_cluster_is_refused() {
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill).unwrap();
        let make = || Authority::make("prod").unwrap();
        let (ours, another) = (make(), make());
        let der = |authority: &Authority| authority.certificate.der().to_vec();
        let token = JoinTokenText {
            id: conclave_store::id::TokenId([1; 8]),
            secret: Zeroizing::new([2; 32]),
            authority: Fingerprint::of(&der(&ours)),
        };
        // The authority that is named, the one that certifies and for which number, who answers.
        let check = |named: &Authority, by: &Authority, number: u64, answered: &[u8]| {
            let certificate = by.certify_node(NodeId(number), key.public_key_der()).unwrap();
            let welcome = WelcomeV1 {
                cluster: [8; 16],
                cluster_name: "prod".to_owned(),
                node: 2,
                authority_der: der(named),
                certificate_der: certificate.der().to_vec(),
                members: vec![(1, b"one".to_vec(), "192.0.2.1:7444".to_owned())],
            };
            let joined = Joined {
                answer: Vec::new(),
                address: ([192, 0, 2, 1], 7444).into(),
                public_key_der: answered.to_vec(),
            };
            check_welcome(&welcome, &joined, &token, key.public_key_der()).err().map(|no| no.code)
        };
        assert_eq!(check(&ours, &ours, 2, b"one"), None);
        let refused = Some(Code::JoinTokenInvalid);
        assert_eq!(check(&another, &another, 2, b"one"), refused, "another authority");
        assert_eq!(check(&ours, &another, 2, b"one"), refused, "no certificate by the authority");
        assert_eq!(check(&ours, &ours, 3, b"one"), refused, "a certificate for another node");
        assert_eq!(check(&ours, &ours, 2, b"two"), refused, "not a member");
    }
}
