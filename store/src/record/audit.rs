//! Entries of the audit trail, each bound to the one before it by a hash.

use serde::{Deserialize, Serialize};

use super::{Origin, Principal};
use crate::{
    id::{Fingerprint, OperationId},
    time::UnixMillis,
};

/// How something ended that the audit trail tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// It was done.
    Done,
    /// The caller was not allowed to.
    Denied,
    /// It was refused for another reason, or failed.
    Failed,
}

/// A value before and after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditDifference {
    /// Name of the value.
    pub what: String,
    /// The value before; `None`: there was none.
    pub before: Option<String>,
    /// The value after; `None`: there is none any longer.
    pub after: Option<String>,
}

/// What happened: the content of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Time of the command or attempt, by the clock of the node that was asked.
    pub time: UnixMillis,
    /// Who.
    pub principal: Principal,
    /// From where; `None`: a node by itself.
    pub origin: Option<Origin>,
    /// Stable id of what was asked for: `certificate.set`.
    pub event: String,
    /// How it ended.
    pub result: AuditResult,
    /// The object: a domain, a listener, a token, a user; empty: the cluster.
    pub object: String,
    /// Error code; only of what was not done.
    pub code: Option<String>,
    /// What changed.
    pub differences: Vec<AuditDifference>,
    /// The caller's reason.
    pub reason: Option<String>,
    /// Id of the operation.
    pub operation: Option<OperationId>,
}

/// An entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Hash of the entry before; zero for the first.
    pub previous: Fingerprint,
    /// SHA-256 of [`Self::text`].
    pub hash: Fingerprint,
    /// What happened.
    pub event: AuditEvent,
}

/// The entries that were removed from the beginning of the audit trail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCut {
    /// Number of the first entry that is kept.
    pub first: u64,
    /// Hash of the last entry that was removed.
    pub previous: Fingerprint,
    /// Time of the cut.
    pub time: UnixMillis,
}

/// Form of an entry as text. The order of the fields is part of the hash, for ever.
#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    time: String,
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    event: &'a str,
    result: AuditResult,
    object: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    differences: &'a [AuditDifference],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    previous: String,
}

impl AuditEvent {
    /// Returns the time by RFC 3339, in UTC and milliseconds, as in the line of an entry.
    pub fn time_text(&self) -> String {
        rfc3339(self.time)
    }
}

impl AuditEntry {
    /// Makes the entry after the one with the hash `previous`.
    pub fn new(sequence: u64, previous: Fingerprint, event: AuditEvent) -> AuditEntry {
        let mut entry = AuditEntry { previous, hash: Fingerprint([0; 32]), event };
        entry.hash = Fingerprint::of(entry.text(sequence).as_bytes());
        entry
    }

    /// Returns whether the hash is that of the content.
    pub fn is_intact(&self, sequence: u64) -> bool {
        self.hash == Fingerprint::of(self.text(sequence).as_bytes())
    }

    /// Returns the entry as one line of JSON, without its hash. Its form never changes.
    pub fn text(&self, sequence: u64) -> String {
        let event = &self.event;
        let line = Line {
            sequence,
            time: event.time_text(),
            who: event.principal.to_string(),
            node: event.origin.as_ref().map(|origin| origin.node.0),
            from: event.origin.as_ref().map(Origin::place),
            event: &event.event,
            result: event.result,
            object: &event.object,
            code: event.code.as_deref(),
            differences: &event.differences,
            reason: event.reason.as_deref(),
            operation: event.operation.as_ref().map(OperationId::as_str),
            previous: self.previous.to_string(),
        };
        // Text and numbers only: it always serializes.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Returns the entry as one line of JSON with its hash as the last member.
    pub fn line(&self, sequence: u64) -> String {
        let mut line = self.text(sequence);
        line.pop();
        line.push_str(&format!(",\"hash\":\"{}\"}}", self.hash));
        line
    }
}

/// Formats a time by RFC 3339, in UTC and milliseconds.
pub(crate) fn rfc3339(time: UnixMillis) -> String {
    let milliseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    #[test]
    fn an_entry_has_one_text_for_ever() {
        let event = AuditEvent {
            time: UnixMillis(1_795_500_000_120),
            principal: Principal::Socket { uid: 0 },
            origin: Some(Origin { node: NodeId(2), remote: None }),
            event: "domain.set".to_owned(),
            result: AuditResult::Done,
            object: "shop.example".to_owned(),
            code: None,
            differences: vec![AuditDifference {
                what: "PKI services".to_owned(),
                before: Some("test".to_owned()),
                after: Some("enabled".to_owned()),
            }],
            reason: Some("a \"reason\"".to_owned()),
            operation: Some(OperationId::parse("op1").unwrap()),
        };
        let entry = AuditEntry::new(7, Fingerprint([0xab; 32]), event);
        let previous = "ab".repeat(32);
        let text = format!(
            r#"{{"sequence":7,"time":"2026-11-24T06:00:00.120Z","who":"uid 0","node":2,"from":"socket","event":"domain.set","result":"done","object":"shop.example","differences":[{{"what":"PKI services","before":"test","after":"enabled"}}],"reason":"a \"reason\"","operation":"op1","previous":"{previous}"}}"#
        );
        assert_eq!(entry.text(7), text);
        assert_eq!(entry.hash, Fingerprint::of(text.as_bytes()));
        assert!(entry.is_intact(7) && !entry.is_intact(8));
        let line = entry.line(7);
        assert!(line.starts_with(&text[..text.len() - 1]));
        assert!(line.ends_with(&format!(",\"hash\":\"{}\"}}", entry.hash)));
    }
}
