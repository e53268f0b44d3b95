//! The audit trail: entries that are no changes, the cut of its beginning, and its comparison among
//! members.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use conclave_keys::Claim;
use conclave_raft::Role;
use conclave_store::{
    command::{Action, Command, CutAudit},
    id::{Fingerprint, NodeId},
    limits::{AUDIT_CUT_MAX, AUDIT_NOTES_MAX},
    outcome::Outcome,
    record::{AuditCut, AuditEvent, AuditResult, Principal},
    state::State,
    wire,
};
use conclave_system::{clock, entropy};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::Instant};

use super::{
    ExecuteError, Replica, Wait,
    call::{AnswerV1, RequestV1, decode, encode},
    limits::{AUDIT_GATHER, AUDIT_QUEUE_MAX, AUDIT_RETRY},
};

/// First level with an audit trail.
const AUDIT_LEVEL: u32 = 4;
/// How often the leader looks whether the beginning of the trail can leave.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest time to order one command.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// Events that wait for their entries, bounded.
#[derive(Default)]
pub struct AuditQueue {
    events: Mutex<VecDeque<AuditEvent>>,
    added: Notify,
    lost: AtomicU64,
}

impl AuditQueue {
    /// Adds an event. Above the bound it is counted only.
    pub fn add(&self, event: AuditEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= AUDIT_QUEUE_MAX {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        events.push_back(event);
        self.added.notify_one();
    }

    /// Waits for events and takes some of them.
    async fn take(&self) -> Vec<AuditEvent> {
        loop {
            let waiting = self.added.notified();
            let taken = {
                let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
                let count = events.len().min(AUDIT_NOTES_MAX - 1);
                events.drain(..count).collect::<Vec<_>>()
            };
            if !taken.is_empty() {
                return taken;
            }
            waiting.await;
            // Those that come at once have one command.
            tokio::time::sleep(AUDIT_GATHER).await;
        }
    }
}

/// Where the audit trail of a member ends, and the hash of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHeadV1 {
    /// Number of the last entry; one less than that of the first, if there is none.
    pub(crate) last: u64,
    /// Hash of the last entry.
    pub(crate) hash: [u8; 32],
    /// Hash of the entry that was asked for, if it is kept.
    pub(crate) asked: Option<[u8; 32]>,
}

impl AuditHeadV1 {
    /// Returns the end of the trail in a State.
    pub(crate) fn of(state: &State, asked: u64) -> AuditHeadV1 {
        let cut = state.audit_cut();
        let last = state.audit_last().map(|(number, entry)| (number, entry.hash));
        let (last, hash) = last.unwrap_or((cut.first.saturating_sub(1), cut.previous));
        let asked = state.audit(asked..=asked).next().map(|(_, entry)| entry.hash.0);
        AuditHeadV1 { last, hash: hash.0, asked }
    }
}

impl Replica {
    /// Writes the entries of queued events. Runs until dropped.
    pub(crate) async fn note_audit(self, queue: std::sync::Arc<AuditQueue>) {
        loop {
            let mut events = queue.take().await;
            let lost = queue.lost.swap(0, Relaxed);
            if lost > 0 {
                events.push(lost_events(lost));
            }
            if self.point().state.level() < AUDIT_LEVEL {
                continue;
            }
            let action = Action::NoteAudit(events);
            let command = Command::by_node(self.shared.id, entropy::array(), clock::now(), action);
            let Ok(bytes) = wire::encode_command(&command) else {
                tracing::error!(event = "audit.too_large");
                continue;
            };
            // The same command each time, so that it is done only once.
            loop {
                let deadline = Instant::now() + ORDER_TIMEOUT;
                match self.execute(&bytes, Wait::Committed, deadline).await {
                    Ok(executed) => {
                        if let Outcome::Rejected(rejection) = executed.outcome {
                            tracing::error!(event = "audit.refused", %rejection);
                        }
                        break;
                    }
                    Err(error) => {
                        tracing::debug!(event = "audit.waits", %error);
                        tokio::time::sleep(AUDIT_RETRY).await;
                    }
                }
            }
        }
    }

    /// Writes the entry of one event, and returns when it is durable.
    pub(crate) async fn note_audit_now(
        &self,
        event: AuditEvent,
        deadline: Instant,
    ) -> Result<(), ExecuteError> {
        if self.point().state.level() < AUDIT_LEVEL {
            return Ok(());
        }
        let action = Action::NoteAudit(vec![event]);
        let command = Command::by_node(self.shared.id, entropy::array(), clock::now(), action);
        let bytes = wire::encode_command(&command)
            .map_err(|error| ExecuteError::Refused(error.to_string()))?;
        match self.execute(&bytes, Wait::Committed, deadline).await?.outcome {
            Outcome::Done(_) => Ok(()),
            Outcome::Rejected(rejection) => Err(ExecuteError::Refused(rejection.to_string())),
        }
    }

    /// While this node leads and holds the keyring, cuts the beginning of the trail. Runs until
    /// dropped.
    pub(crate) async fn keep_audit(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut is_more = self.shared.raft.status().role == Role::Leader;
            while is_more {
                is_more = self.cut_audit().await;
            }
        }
    }

    /// Cuts some entries if there are too many. Returns whether it did.
    async fn cut_audit(&self) -> bool {
        let state = self.point().state.clone();
        let Some((first, previous)) = due_cut(&state) else { return false };
        let cut = AuditCut { first, previous, ..AuditCut::default() };
        let Ok(proof) = self.shared.keyring.prove(&Claim::audit_cut(&cut)) else { return false };
        let action = Action::CutAudit(Box::new(CutAudit { first, previous, proof }));
        let command = Command::by_node(self.shared.id, entropy::array(), clock::now(), action);
        let Ok(bytes) = wire::encode_command(&command) else { return false };
        let deadline = Instant::now() + ORDER_TIMEOUT;
        match self.execute_here(bytes, Wait::Committed, deadline).await {
            Ok(executed) => {
                self.wait_applied(executed.index.0, ORDER_TIMEOUT).await;
                matches!(executed.outcome, Outcome::Done(_))
            }
            Err(_) => false,
        }
    }

    /// Asks the other members where their trails end, and for the hash of one entry.
    pub async fn audit_heads(&self, number: u64) -> Vec<(NodeId, Option<AuditHeadV1>)> {
        let others = self.member_ids().into_iter().filter(|id| *id != self.shared.id);
        join_all(others.map(async |id| (id, self.audit_head_of(id, number).await))).await
    }

    async fn audit_head_of(&self, id: NodeId, number: u64) -> Option<AuditHeadV1> {
        let timeout = self.shared.election_timeout * 2;
        let request = encode(&RequestV1::AuditHead { number });
        let answer =
            self.shared.raft.call(conclave_raft::NodeId(id.0), request, timeout).await.ok()?;
        match decode(&answer)? {
            AnswerV1::AuditHead(head) => Some(head),
            _ => None,
        }
    }
}

/// Returns the next first entry and the hash of the one before it, if enough entries can leave.
fn due_cut(state: &State) -> Option<(u64, Fingerprint)> {
    let begin = state.audit_cut().first;
    let (last, _) = state.audit_last()?;
    let kept = u64::from(state.audit_kept());
    let excess = (last + 1).saturating_sub(begin).saturating_sub(kept);
    // Not after each change: a cut is a change itself.
    if excess < (kept / 10).clamp(1, AUDIT_CUT_MAX) {
        return None;
    }
    let first = begin + excess.min(AUDIT_CUT_MAX);
    let (_, before) = state.audit(first - 1..=first - 1).next()?;
    Some((first, before.hash))
}

fn lost_events(count: u64) -> AuditEvent {
    AuditEvent {
        time: clock::now(),
        principal: Principal::Stranger,
        origin: None,
        event: "audit.lost".to_owned(),
        result: AuditResult::Failed,
        object: format!("{count} events"),
        code: None,
        differences: Vec::new(),
        reason: None,
        operation: None,
    }
}
