//! Requests and answers between members, and the handler that answers them.

use std::time::Duration;

use bincode::config::{Configuration, Limit};
use conclave_keys::Purpose;
use conclave_raft::{Handover, Position};
use conclave_store::{
    id::NodeId,
    record::{Proof, Sealed},
    scope::Scope,
    wire,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::time::Instant;
use zeroize::Zeroize;

use super::{
    AuditHeadV1, Drain, DrainedV1, ExecuteError, KeptV1, LoadV1, NodeReport, Replica,
    TransferredV1, Wait,
    limits::EXECUTE_TIME_MAX,
    report::{ReportV1, ReportV2, ReportV3},
    reports::HOLD_MAX,
};

const FORMAT: u8 = 1;
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const NOT_PROVED: &str = "a member asks what only a holder of the keyring may ask; it is sealed, or its data directory was stolen";

/// A request from another member.
#[derive(Serialize, Deserialize)]
pub(super) enum RequestV1 {
    /// Order a command and, if `wait_served`, wait until the live nodes serve it.
    Execute { command: ByteBuf, wait_served: bool, timeout_ms: u64 },
    /// Return the read index: a linearizable read must have applied it.
    ReadIndex,
    /// Return the callee's report as soon as its index is above `after`, or after `hold_ms`.
    Report { after: u64, hold_ms: u64 },
    /// Return the reports of all nodes that the leader knows.
    Reports,
    /// Seal a secret, because the caller is sealed.
    Seal { purpose: Purpose, secret: ByteBuf },
    /// Test the keys of a domain.
    TestKey { domain: String },
    /// Start or end a drain of the callee, or return its progress.
    Drain(Drain),
    /// Start an election at once. The caller was the leader, and this is the position of its last
    /// entry.
    TakeOver { term: u64, index: u64 },
    /// As `Report`, but with the report of version 0.2.0.
    ReportV2 { after: u64, hold_ms: u64 },
    /// Return whether the callee's disk has room, so that it can lead.
    HasRoom,
    /// As `Report`, but with the report of version 0.2.1.
    ReportV3 { after: u64, hold_ms: u64 },
    /// As `Reports`, but with the reports of version 0.2.1.
    ReportsV3,
    /// A request with the proof that its sender holds the keyring. Since level 3.
    Proved { proof: Proof, request: ByteBuf },
    /// Hand the leadership to this voter, or to the best one. Since version 0.3.0.
    Transfer { to: Option<u64>, is_dry_run: bool },
    /// Return where the audit trail of the callee ends, and the hash of one entry. Since version
    /// 0.4.0.
    AuditHead { number: u64 },
    /// Return what the callee has counted. Since version 0.4.0.
    Load,
}

/// The answer to a [`RequestV1`].
#[derive(Serialize, Deserialize)]
pub(super) enum AnswerV1 {
    Executed {
        index: u64,
        outcome: ByteBuf,
        served: Vec<u64>,
        missing: Vec<u64>,
    },
    NotLeader(Option<u64>),
    NoQuorum,
    Index(u64),
    Report(ReportV1),
    Reports(Vec<(u64, ReportV1)>),
    Sealed(Sealed),
    Refused(String),
    /// Duration of the test in microseconds, or the reason why a key cannot be used.
    Tested(Result<u64, String>),
    /// Progress of the drain; none: the callee serves.
    Drained(Option<DrainedV1>),
    /// The callee's version does not know the request or the command in it. Nothing was done.
    NotKnown,
    /// The command may have been ordered. A caller of version 0.1.0 cannot decode this answer and
    /// treats it as lost, which means the same.
    Unknown,
    /// Whether the callee has started an election.
    TakingOver(bool),
    /// The leader's disk is full. Nothing was done. Since version 0.2.0; a caller of version 0.1.0
    /// treats it as a lost answer.
    NoRoom,
    ReportV2(ReportV2),
    HasRoom(bool),
    ReportV3(ReportV3),
    ReportsV3(Vec<(u64, ReportV3)>),
    /// The request needs a proof that its sender holds the keyring. Nothing was done.
    NotProved,
    Transferred(Result<TransferredV1, KeptV1>),
    AuditHead(AuditHeadV1),
    Load(LoadV1),
}

pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    // If encoding fails, the peer receives only the format byte and refuses it.
    let payload = bincode::serde::encode_to_vec(message, bincode::config::standard());
    bytes.extend(payload.unwrap_or_default());
    bytes
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let config: Configuration<_, _, Limit<MESSAGE_BYTES_MAX>> =
        bincode::config::standard().with_limit::<MESSAGE_BYTES_MAX>();
    let (format, payload) = bytes.split_first()?;
    let (message, used) = bincode::serde::decode_from_slice(payload, config).ok()?;
    (*format == FORMAT && used == payload.len()).then_some(message)
}

/// Decodes a request. Returns `None` for a request, or a command in it, that only a later version
/// knows. Such a command must not be ordered: it would stop every member that cannot read it.
fn known(request: &[u8]) -> Option<RequestV1> {
    decode(request).filter(is_known)
}

fn is_known(request: &RequestV1) -> bool {
    match request {
        RequestV1::Execute { command, .. } => wire::decode_command(command).is_ok(),
        _ => true,
    }
}

impl Replica {
    /// Answers a request of another member. `exporter` is keying material of its connection.
    pub(crate) async fn answer(
        &self,
        from: NodeId,
        exporter: [u8; 32],
        request: Vec<u8>,
    ) -> Vec<u8> {
        let answer = match known(&request) {
            Some(RequestV1::Proved { proof, request }) => {
                match self.proved(exporter, &proof, &request).filter(is_known) {
                    Some(request) => self.answer_request(from, request).await,
                    None => AnswerV1::NotProved,
                }
            }
            Some(request) if self.may_ask(from, &request) => {
                self.answer_request(from, request).await
            }
            Some(_) => {
                tracing::warn!(event = "member.not_proved", %from, "{NOT_PROVED}");
                AnswerV1::NotProved
            }
            None => AnswerV1::NotKnown,
        };
        encode(&answer)
    }

    async fn answer_request(&self, from: NodeId, request: RequestV1) -> AnswerV1 {
        match request {
            RequestV1::Execute { command, wait_served, timeout_ms } => {
                let wait = if wait_served { Wait::Served } else { Wait::Committed };
                // The caller may be of a later version with a higher bound.
                let timeout = Duration::from_millis(timeout_ms).min(EXECUTE_TIME_MAX);
                let deadline = Instant::now() + timeout;
                match self.execute_here(command.into_vec(), wait, deadline).await {
                    Ok(done) => AnswerV1::Executed {
                        index: done.index.0,
                        outcome: ByteBuf::from(done.outcome_bytes),
                        served: done.served.iter().map(|id| id.0).collect(),
                        missing: done.missing.iter().map(|id| id.0).collect(),
                    },
                    Err(error) => error.into(),
                }
            }
            RequestV1::ReadIndex => match self.shared.raft.read_index().await {
                Ok(index) => AnswerV1::Index(index),
                Err(error) => ExecuteError::from(error).into(),
            },
            RequestV1::Report { after, hold_ms } => {
                AnswerV1::Report(self.own_report(from, after, hold_ms).await.into())
            }
            RequestV1::ReportV2 { after, hold_ms } => {
                AnswerV1::ReportV2(self.own_report(from, after, hold_ms).await.into())
            }
            RequestV1::ReportV3 { after, hold_ms } => {
                AnswerV1::ReportV3(self.own_report(from, after, hold_ms).await.into())
            }
            RequestV1::Reports => {
                let known = self.shared.reports.known().into_iter();
                let reports = known.map(|(id, report)| (id.0, report.into())).collect();
                AnswerV1::Reports(reports)
            }
            RequestV1::ReportsV3 => {
                let known = self.shared.reports.known().into_iter();
                let reports = known.map(|(id, report)| (id.0, report.into())).collect();
                AnswerV1::ReportsV3(reports)
            }
            RequestV1::TestKey { domain } => AnswerV1::Tested(self.test_key_here(&domain).await),
            RequestV1::TakeOver { term, index } => {
                let last = Position { term, node: from.0, index };
                AnswerV1::TakingOver(self.shared.raft.take_over(Handover { last }).await)
            }
            // `answer` has opened it; one inside another is none.
            RequestV1::Proved { .. } => AnswerV1::NotProved,
            RequestV1::HasRoom => AnswerV1::HasRoom(self.shared.raft.has_room()),
            RequestV1::Drain(asked) => AnswerV1::Drained(self.drain_here(asked).await),
            RequestV1::AuditHead { number } => {
                AnswerV1::AuditHead(AuditHeadV1::of(&self.point().state, number))
            }
            RequestV1::Load => AnswerV1::Load(self.load_here()),
            RequestV1::Transfer { to, is_dry_run } => {
                AnswerV1::Transferred(self.transfer_here(to.map(NodeId), is_dry_run).await)
            }
            RequestV1::Seal { purpose, mut secret } => {
                let sealed = self.shared.keyring.seal(Scope::Shared, purpose, &secret);
                secret.zeroize();
                match sealed {
                    Ok(sealed) => AnswerV1::Sealed(sealed),
                    Err(error) => AnswerV1::Refused(error.to_string()),
                }
            }
        }
    }

    /// Returns the report of this node as soon as its index is above `after`, or after `hold_ms`.
    async fn own_report(&self, from: NodeId, after: u64, hold_ms: u64) -> NodeReport {
        let hold = Duration::from_millis(hold_ms).min(HOLD_MAX);
        if self.shared.raft.status().leader.is_some_and(|leader| leader.0 == from.0) {
            self.shared.reports.heard_of_leader();
        }
        let mut reports = self.shared.live.reports(Scope::Shared);
        let more = reports.wait_for(|report| report.index.0 > after);
        let _ = tokio::time::timeout(hold, more).await;
        self.shared.reports.own()
    }
}

impl From<ExecuteError> for AnswerV1 {
    fn from(error: ExecuteError) -> AnswerV1 {
        match error {
            ExecuteError::NotLeader(leader) => AnswerV1::NotLeader(leader.map(|id| id.0)),
            ExecuteError::NoQuorum => AnswerV1::NoQuorum,
            ExecuteError::NoRoom => AnswerV1::NoRoom,
            ExecuteError::Unknown => AnswerV1::Unknown,
            other => AnswerV1::Refused(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conclave_store::{
        command::{Action, Command},
        id::OperationId,
        record::Principal,
        time::UnixMillis,
    };

    #[test]
    fn a_command_of_a_later_version_is_not_ordered() {
        let command = Command {
            operation: OperationId::parse("op").unwrap(),
            principal: Principal::Socket { uid: 0 },
            request: [0; 32],
            time: UnixMillis(0),
            reason: None,
            expects: Vec::new(),
            action: Action::FlushSessions,
            origin: None,
        };
        let is_known = |command: Vec<u8>| {
            let command = ByteBuf::from(command);
            known(&encode(&RequestV1::Execute { command, wait_served: true, timeout_ms: 1 }))
                .is_some()
        };
        let bytes = wire::encode_command(&command).unwrap();
        assert!(is_known(bytes.clone()));
        let mut later = bytes.clone();
        later[2] += 1;
        assert!(!is_known(later), "a later format");
        let mut other = bytes;
        let (head, payload) = other.split_at_mut(12);
        *payload.last_mut().unwrap() = 250;
        head[8..].copy_from_slice(&crc32fast::hash(payload).to_be_bytes());
        assert!(!is_known(other), "an action that nobody knows here");
        assert!(known(&[2, 1]).is_none() && known(&[1, 250]).is_none(), "a later request");
    }
}
