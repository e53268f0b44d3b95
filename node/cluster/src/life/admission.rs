//! The member's side of a join: checks the proof of the token, then redeems the token and adds the
//! member in one command.

use std::time::Duration;

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Claim, GenerationKey, Keyring, Purpose, SealError, wrap};
use conclave_pki::certificate::Certificate;
use conclave_raft::Joiner;
use conclave_store::{
    command::{Action, Command, Join, RedeemJoinToken, RemoveMember},
    id::{Fingerprint, Generation, NodeId, NodeName, OperationId, TokenId},
    limits::ADMIT_ATTEMPTS_MAX,
    outcome::{Done, Outcome, Rejection},
    record::{Member, MemberPlace, MemberRole, Principal, RowKey},
    scope::Scope,
    state::State,
    wire,
};
use conclave_system::{clock, entropy};
use ring::hmac;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use std::sync::Arc;
use tokio::time::Instant;

use super::{
    address::NodeAddress,
    limits::{REFUSED_LINES_EVERY, REFUSED_LINES_MAX, UNKNOWN_TOKENS_EVERY, UNKNOWN_TOKENS_MAX},
    rate::Rate,
};
use crate::{
    admit::{self, NextGeneration, PROOFS_LEVEL, rejection_problem},
    authority::{Authority, node_host_name},
    fault::internal,
    replica::{Point, Replica, UPGRADE_HINT, Wait, known_level, version_of},
};

const TIMEOUT: Duration = Duration::from_secs(8);
/// First level at which a joining node must prove its identity key. Every version that knows it
/// does so.
const IDENTITY_LEVEL: u32 = 3;

/// The join request: the token's id and the facts about the joining node.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct JoinRequestV1 {
    pub(super) token: TokenId,
    pub(super) name: String,
    #[serde(with = "serde_bytes")]
    pub(super) identity_der: Vec<u8>,
    pub(super) sealing_key: [u8; 32],
    pub(super) address: String,
    /// Version of the joining program. The cluster may already use formats that it does not know.
    pub(super) version: String,
}

/// A join request since version 0.3.0. A plain one is still sent in the first form, which members
/// of older versions know.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct JoinTerms {
    /// The node stays a learner.
    pub is_learner: bool,
    /// Its zone; empty: not said.
    pub zone: String,
    /// Name of the member that it replaces.
    pub replaces: Option<String>,
}

/// Encodes a join request, in the oldest form that can say it.
pub(super) fn encode_request(request: &JoinRequestV1, terms: &JoinTerms) -> Vec<u8> {
    let JoinTerms { is_learner, zone, replaces } = terms;
    if !is_learner && zone.is_empty() && replaces.is_none() {
        return encode(request);
    }
    let mut bytes = encode(&(request, terms));
    if let Some(format) = bytes.first_mut() {
        *format = FORMAT_WITH_TERMS;
    }
    bytes
}

/// Decodes a join request of either form.
pub(super) fn decode_request(bytes: &[u8]) -> Option<(JoinRequestV1, JoinTerms)> {
    match bytes.split_first()? {
        (&FORMAT_WITH_TERMS, payload) => decode(&[&[FORMAT], payload].concat()),
        _ => Some((decode(bytes)?, JoinTerms::default())),
    }
}

/// A join request with the proof that its sender knows the token's secret. The proof holds for one
/// connection.
#[derive(Serialize, Deserialize)]
pub(super) struct Proved {
    #[serde(with = "serde_bytes")]
    pub(super) request: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(super) proof: Vec<u8>,
}

/// The answer to a joining node.
#[derive(Serialize, Deserialize)]
pub(super) enum JoinAnswerV1 {
    Welcome(WelcomeV1),
    /// A problem, as JSON.
    Refused(String),
}

/// The start data of a new member.
#[derive(Serialize, Deserialize)]
pub(super) struct WelcomeV1 {
    pub(super) cluster: [u8; 16],
    pub(super) cluster_name: String,
    pub(super) node: u64,
    pub(super) authority_der: Vec<u8>,
    pub(super) certificate_der: Vec<u8>,
    /// Id, identity key and address of each member.
    pub(super) members: Vec<(u64, Vec<u8>, String)>,
}

const FORMAT: u8 = 1;
const FORMAT_WITH_TERMS: u8 = 2;

pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    let payload = bincode::serde::encode_to_vec(message, bincode::config::standard());
    bytes.extend(payload.unwrap_or_default());
    bytes
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let config = bincode::config::standard().with_limit::<{ 1024 * 1024 }>();
    let (format, payload) = bytes.split_first()?;
    let (message, used) = bincode::serde::decode_from_slice(payload, config).ok()?;
    (*format == FORMAT && used == payload.len()).then_some(message)
}

/// The handler of join requests. It works on any unsealed member.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) replica: Replica,
    keyring: Arc<Keyring>,
    unknown_tokens: Arc<Rate>,
    refused_lines: Arc<Rate>,
}

impl Admission {
    pub(crate) fn new(replica: Replica, keyring: Arc<Keyring>) -> Admission {
        let unknown_tokens = Arc::new(Rate::new(UNKNOWN_TOKENS_MAX, UNKNOWN_TOKENS_EVERY));
        let refused_lines = Arc::new(Rate::new(REFUSED_LINES_MAX, REFUSED_LINES_EVERY));
        Admission { replica, keyring, unknown_tokens, refused_lines }
    }

    /// Answers a join request.
    pub(crate) async fn answer(&self, joiner: &Joiner, request: &[u8]) -> Vec<u8> {
        let answer = match self.admit(joiner, request).await {
            Ok(welcome) => JoinAnswerV1::Welcome(welcome),
            Err(problem) => {
                // Anybody can cause this line.
                if let Some(unlogged) = self.refused_lines.allow(Instant::now()) {
                    let (code, title) = (problem.code.as_str(), &problem.title);
                    let remote = joiner.remote;
                    tracing::warn!(event = "cluster.join_refused", %remote, code, title, unlogged);
                }
                JoinAnswerV1::Refused(serde_json::to_string(&problem).unwrap_or_default())
            }
        };
        encode(&answer)
    }

    async fn admit(&self, joiner: &Joiner, request: &[u8]) -> Result<WelcomeV1, Problem> {
        let malformed = || Problem::new(Code::Malformed, "a join request that cannot be read");
        let proved: Proved = decode(request).ok_or_else(malformed)?;
        let (request, terms) = decode_request(&proved.request).ok_or_else(malformed)?;
        let name = NodeName::parse(&request.name)
            .map_err(|error| Problem::new(Code::JoinTokenInvalid, error.to_string()))?;
        let address = NodeAddress::parse(&request.address).map_err(|error| {
            Problem::new(Code::Malformed, error.to_string())
                .hint("on the joining node: set [cluster] advertise = \"HOST:PORT\"")
        })?;
        let point = self.proved_point(&request, joiner.exporter, &proved).await?;
        tracing::info!(event = "cluster.join_asked", node = %name, version = ?request.version);
        check_joiner(&point.state, joiner, &request)?;
        for _ in 0..ADMIT_ATTEMPTS_MAX {
            let point = self.replica.point();
            let (command, certificate_der) =
                self.command(&point.state, &request, &terms, &name, &address).await?;
            let bytes = wire::encode_command(&command).map_err(|e| internal("command", e))?;
            let done =
                self.replica.execute(&bytes, Wait::Committed, Instant::now() + TIMEOUT).await;
            let done =
                done.map_err(|_| Problem::new(Code::NoLeader, "the cluster cannot decide now"))?;
            self.replica.wait_applied(done.index.0, TIMEOUT).await;
            match done.outcome {
                Outcome::Done(Done::Member { id }) => {
                    return self.welcome(id, &request, certificate_der);
                }
                // Another command changed the keyring or the token. Derive the command again.
                Outcome::Rejected(Rejection::WrapsMismatch | Rejection::Stale(_)) => {}
                Outcome::Rejected(rejection) => return Err(rejection_problem(&rejection)),
                Outcome::Done(_) => return Err(internal("an answer of another kind", done.index)),
            }
        }
        Err(Problem::new(Code::NoLeader, "the members changed too often")
            .hint("repeat the command"))
    }

    /// Checks the proof against a State that is as new as the token. Asking the leader costs far more
    /// than a proof, so a stranger whose token is known here but whose proof is wrong never causes
    /// that, and strangers with unknown tokens seldom.
    async fn proved_point(
        &self,
        request: &JoinRequestV1,
        exporter: [u8; 32],
        proved: &Proved,
    ) -> Result<Arc<Point>, Problem> {
        let here = self.replica.point();
        if here.state.join_token(&request.token).is_some() {
            self.check_proof(&here.state, request, exporter, proved)?;
        } else if self.unknown_tokens.allow(Instant::now()).is_none() {
            return Err(Problem::new(
                Code::ClusterUnreachable,
                "too many joins with unknown tokens",
            )
            .hint("repeat the command"));
        }
        // This member may lag behind the command that created the token or revoked it.
        let point = self.replica.linearizable(TIMEOUT).await.map_err(|_| {
            Problem::new(Code::NoLeader, "the cluster has no leader now").hint("repeat the command")
        })?;
        self.check_proof(&point.state, request, exporter, proved)?;
        Ok(point)
    }

    /// Verifies the HMAC over the TLS exporter and the request under the token's secret. A proof
    /// for another connection or another request does not verify.
    fn check_proof(
        &self,
        state: &State,
        request: &JoinRequestV1,
        exporter: [u8; 32],
        proved: &Proved,
    ) -> Result<(), Problem> {
        let unknown = || {
            Problem::new(Code::JoinTokenSpent, "the join token is not known to this cluster")
                .hint("on any member: conclave join-token create")
        };
        let token = state.join_token(&request.token).ok_or_else(unknown)?;
        let purpose = Purpose::JoinToken(request.token);
        let secret = self.keyring.open(Scope::Shared, purpose, &token.secret).map_err(|error| {
            Problem::new(Code::Sealed, "this member is sealed, so it cannot let a node join")
                .detail(error.to_string())
                .hint("ask another member")
        })?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let message = [&exporter[..], &proved.request].concat();
        hmac::verify(&key, &message, &proved.proof).map_err(|_| unknown())
    }

    async fn command(
        &self,
        state: &State,
        request: &JoinRequestV1,
        terms: &JoinTerms,
        name: &NodeName,
        address: &NodeAddress,
    ) -> Result<(Command, Vec<u8>), Problem> {
        check_is_new(state, request)?;
        let now = clock::now();
        let cluster = state
            .cluster()
            .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster"))?;
        let id = NodeId(cluster.node_last.0 + 1);
        let certificate = self.certificate(state, id, &request.identity_der)?;
        let replaced = match &terms.replaces {
            Some(name) => self.replaced(state, name, request).await?,
            None => None,
        };
        // A retry of a join that was done has the same identity key.
        let is_other = |member: &Member| {
            member.identity_der != request.identity_der
                && Some(member.id) != replaced.as_ref().map(|member| member.id)
        };
        if state.members().any(|(_, member)| member.name == *name && is_other(member)) {
            return Err(name_taken(name));
        }
        let role = if terms.is_learner { MemberRole::Learner } else { MemberRole::Voter };
        let member = Member {
            id,
            name: name.clone(),
            role,
            identity_der: request.identity_der.clone(),
            sealing_key: request.sealing_key,
            address: address.as_str().to_owned(),
            joined: now,
        };
        let place = MemberPlace { zone: terms.zone.clone() };
        let action = self.action(state, request.token, member, place, replaced)?;
        let operation = OperationId::parse(&format!("join-{}", entropy_hex()))
            .map_err(|e| internal("operation", e))?;
        let command = Command {
            operation,
            principal: Principal::Joiner(request.token),
            request: Fingerprint::of(&request.identity_der).0,
            time: now,
            reason: None,
            expects: vec![state.expectation(RowKey::JoinToken(request.token))],
            action,
            origin: None,
        };
        Ok((command, certificate))
    }

    /// Returns the member that a joining node replaces. One that answers is not gone.
    async fn replaced(
        &self,
        state: &State,
        name: &str,
        request: &JoinRequestV1,
    ) -> Result<Option<Member>, Problem> {
        let member = admit::member(state, name)?.clone();
        if member.identity_der == request.identity_der {
            return Ok(None);
        }
        let outlook = self.replica.outlook().await;
        if outlook.reports.contains_key(&member.id) {
            return Err(Problem::new(
                Code::NodeNameTaken,
                format!("{name} answers: it is not gone"),
            )
            .why("two nodes of one name cannot both be members")
            .hint(format!("stop {name} first    or: conclave node remove {name}")));
        }
        Ok(Some(member))
    }

    /// Returns the action that adds the member. From level 3 on it carries the proof that a holder
    /// of the keyring let it in.
    fn action(
        &self,
        state: &State,
        token: TokenId,
        member: Member,
        place: MemberPlace,
        replaced: Option<Member>,
    ) -> Result<Action, Problem> {
        let sealed = |error: &SealError| {
            Problem::new(Code::Sealed, error.to_string()).hint("ask another member")
        };
        let cluster = state
            .cluster()
            .ok_or_else(|| Problem::new(Code::NoCluster, "this node belongs to no cluster"))?;
        let next = replaced.as_ref().map(|gone| {
            NextGeneration::make(&self.keyring, state, member.joined, Some(gone.id))
                .map_err(|error| error.problem(sealed))
        });
        let next = next.transpose()?;
        let mut wraps = Vec::new();
        let mut add = |generation: Generation, key: &GenerationKey| {
            let wrapped = wrap(key, &member.sealing_key, cluster.id, generation, member.id)
                .map_err(|error| Problem::new(Code::JoinTokenInvalid, error.to_string()))?;
            wraps.push((generation, ByteBuf::from(wrapped)));
            Ok::<(), Problem>(())
        };
        for (generation, key) in self.keyring.generations() {
            add(generation, &key)?;
        }
        if let Some(next) = &next {
            add(next.turn.rotate.generation, &next.key)?;
        }
        if state.level() < PROOFS_LEVEL {
            if next.is_some() || place != MemberPlace::default() {
                let version = version_of(PROOFS_LEVEL);
                let title = format!("members of versions before {version} do not know this change");
                return Err(Problem::new(Code::VersionTooOld, title).hint(UPGRADE_HINT));
            }
            let redeem = RedeemJoinToken { token, member, wraps };
            return Ok(Action::RedeemJoinToken(Box::new(redeem)));
        }
        let claim = Claim::member(&member);
        let proof = match &next {
            Some(next) => next.key.prove(cluster.id, next.turn.rotate.generation, &claim),
            None => self.keyring.prove(&claim).map_err(|error| sealed(&error))?,
        };
        let replaces =
            next.zip(replaced).map(|(next, gone)| RemoveMember { id: gone.id, turn: next.turn });
        Ok(Action::Join(Box::new(Join { token, member, place, wraps, proof, replaces })))
    }

    fn certificate(
        &self,
        state: &State,
        id: NodeId,
        identity_der: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let certificate = Authority::open(&self.keyring, state)?
            .certify_node(id, identity_der)
            .map_err(|error| Problem::new(Code::JoinTokenInvalid, error.to_string()))?;
        Ok(certificate.der().to_vec())
    }

    /// Makes the welcome. A repeated join keeps the node id of the first one, so it may need a new
    /// certificate for that id.
    fn welcome(
        &self,
        id: NodeId,
        request: &JoinRequestV1,
        certificate_der: Vec<u8>,
    ) -> Result<WelcomeV1, Problem> {
        let point = self.replica.point();
        let cluster = point.state.cluster().ok_or_else(|| internal("no cluster", id))?;
        let is_new = Certificate::from_der(&certificate_der)
            .is_ok_and(|certificate| certificate.covers(&node_host_name(id)));
        let certificate_der = if is_new {
            certificate_der
        } else {
            self.certificate(&point.state, id, &request.identity_der)?
        };
        let members = point.state.members();
        Ok(WelcomeV1 {
            cluster: cluster.id.0,
            cluster_name: cluster.name.to_string(),
            node: id.0,
            authority_der: cluster.authority_der.clone(),
            certificate_der,
            members: members
                .map(|(id, member)| (id.0, member.identity_der.clone(), member.address.clone()))
                .collect(),
        })
    }
}

/// Checks the version of a joining node, and that it has the identity key for which it asks.
/// Otherwise a token's holder could register the key of another node.
fn check_joiner(state: &State, joiner: &Joiner, request: &JoinRequestV1) -> Result<(), Problem> {
    if known_level(&request.version) < state.level() {
        let title = format!("version {} cannot read what this cluster writes", request.version);
        return Err(Problem::new(Code::VersionTooOld, title)
            .hint("install the version of the members: conclave status shows it"));
    }
    match &joiner.public_key_der {
        Some(key) if *key == request.identity_der => Ok(()),
        // A version before 0.3.0 proves nothing.
        None if state.level() < IDENTITY_LEVEL => Ok(()),
        _ => Err(Problem::new(
            Code::JoinTokenInvalid,
            "the joining node has not proved that it has its identity key",
        )),
    }
}

/// Checks that no member has the keys of a joining node. A repeated join with the same token is the
/// same node.
fn check_is_new(state: &State, request: &JoinRequestV1) -> Result<(), Problem> {
    let used = state.join_token(&request.token).and_then(|token| token.used.as_ref());
    if used.is_some_and(|used| used.identity == Fingerprint::of(&request.identity_der)) {
        return Ok(());
    }
    let has_its_keys = |member: &Member| {
        member.identity_der == request.identity_der || member.sealing_key == request.sealing_key
    };
    match state.members().find(|(_, member)| has_its_keys(member)) {
        None => Ok(()),
        Some((_, member)) => {
            let title = format!("{} is a member with the keys of this node", member.name);
            Err(Problem::new(Code::AlreadyMember, title)
                .why("two nodes with one identity cannot be told apart")
                .hint("never copy a data directory: start the new node with an empty one"))
        }
    }
}

fn entropy_hex() -> String {
    TokenId(entropy::array()).to_string()
}

fn name_taken(name: &NodeName) -> Problem {
    Problem::new(Code::NodeNameTaken, format!("a member named {name} already exists"))
        .why("nodes are told apart by name in every answer")
        .hint(format!("give this node another [node] name    or, if {name} is gone for ever: conclave node remove {name} on a member, then join again"))
}

#[cfg(test)]
mod tests;
