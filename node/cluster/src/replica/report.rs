//! The report of a member about itself, and its wire formats.

use std::collections::BTreeSet;

use conclave_store::{id::LogIndex, time::UnixMillis};
use serde::{Deserialize, Serialize};

use super::limits::{ATTENTION_MAX, ATTENTION_TEXT_MAX, FAILED_MAX_V1};

/// The report of a member about itself.
#[derive(Debug, Clone, Default)]
pub struct NodeReport {
    /// Served index: every command up to it is served, except those in `failed`.
    pub(crate) index: LogIndex,
    /// Commands up to `index` that the member cannot serve.
    pub(crate) failed: BTreeSet<LogIndex>,
    /// First index for which `failed` is complete. Older failures may be missing.
    pub(crate) failed_from: LogIndex,
    /// The member's clock at the time of the report; none from version 0.1.0.
    pub(crate) time: Option<UnixMillis>,
    /// Digest of the member's State.
    pub(crate) digest: [u8; 32],
    /// Number of rows in the member's State.
    pub(crate) rows: u64,
    /// Whether the member is sealed and cannot open private keys.
    pub(crate) is_sealed: bool,
    /// Whether the member is draining and accepts no new connections.
    pub(crate) is_draining: bool,
    /// Open TLS connections.
    pub(crate) connections: u64,
    /// Handshakes since the member's start.
    pub(crate) handshakes: u64,
    /// Start time of the member's process.
    pub(crate) started: UnixMillis,
    /// Version of the member's program.
    pub(crate) version: String,
    /// What the member itself says needs attention on it; empty before version 0.2.1. At most
    /// [`ATTENTION_MAX`].
    pub(crate) attention: Vec<Attention>,
    /// How far the member's clock was ahead of the leader's when the leader received the report, in
    /// milliseconds; none if the leader did not measure it.
    pub ahead_ms: Option<i64>,
}

/// What needs attention on a member, in its own words. Texts are at most
/// [`ATTENTION_TEXT_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Error code.
    pub(crate) code: String,
    /// Whether something does not work; otherwise something should be done.
    pub(crate) is_error: bool,
    /// Affected object: a listener, a domain of the member's local scope, the member.
    pub(crate) object: String,
    /// The problem in words.
    pub(crate) text: String,
    /// Next step.
    pub(crate) hint: String,
}

impl Attention {
    /// Bounds the texts, which another member must be able to receive.
    pub(crate) fn bounded(self) -> Attention {
        let cut = |text: String| text.chars().take(ATTENTION_TEXT_MAX).collect();
        let Attention { code, is_error, object, text, hint } = self;
        Attention { code, is_error, object: cut(object), text: cut(text), hint: cut(hint) }
    }
}

/// Wire format of a report in version 0.1.0.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportV1 {
    index: u64,
    failed: Vec<u64>,
    digest: [u8; 32],
    rows: u64,
    is_sealed: bool,
    is_draining: bool,
    connections: u64,
    handshakes: u64,
    started: u64,
    version: String,
}

/// Wire format of a report since version 0.2.0.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportV2 {
    report: ReportV1,
    failed_from: u64,
    time: Option<u64>,
}

/// Wire format of a report since version 0.2.1.
#[derive(Serialize, Deserialize)]
pub(super) struct ReportV3 {
    report: ReportV2,
    attention: Vec<Attention>,
    ahead_ms: Option<i64>,
}

impl From<NodeReport> for ReportV3 {
    fn from(mut report: NodeReport) -> ReportV3 {
        let attention = std::mem::take(&mut report.attention);
        let ahead_ms = report.ahead_ms;
        ReportV3 { report: report.into(), attention, ahead_ms }
    }
}

impl From<ReportV3> for NodeReport {
    fn from(report: ReportV3) -> NodeReport {
        let ReportV3 { report, attention, ahead_ms } = report;
        let attention = attention.into_iter().take(ATTENTION_MAX).map(Attention::bounded);
        NodeReport { attention: attention.collect(), ahead_ms, ..report.into() }
    }
}

impl From<NodeReport> for ReportV2 {
    fn from(report: NodeReport) -> ReportV2 {
        let (failed_from, time) = (report.failed_from.0, report.time.map(|time| time.0));
        ReportV2 { report: report.into(), failed_from, time }
    }
}

impl From<ReportV2> for NodeReport {
    fn from(report: ReportV2) -> NodeReport {
        let (failed_from, time) = (LogIndex(report.failed_from), report.time.map(UnixMillis));
        NodeReport { failed_from, time, ..report.report.into() }
    }
}

impl From<NodeReport> for ReportV1 {
    fn from(report: NodeReport) -> ReportV1 {
        ReportV1 {
            index: report.index.0,
            failed: report.failed.into_iter().map(|index| index.0).collect(),
            digest: report.digest,
            rows: report.rows,
            is_sealed: report.is_sealed,
            is_draining: report.is_draining,
            connections: report.connections,
            handshakes: report.handshakes,
            started: report.started.0,
            version: report.version,
        }
    }
}

impl From<ReportV1> for NodeReport {
    fn from(report: ReportV1) -> NodeReport {
        // A full list may be cut: version 0.1.0 sends only the newest failures.
        let is_full = report.failed.len() >= FAILED_MAX_V1;
        let lowest = report.failed.iter().min().filter(|_| is_full);
        NodeReport {
            failed_from: LogIndex(lowest.copied().unwrap_or(0)),
            time: None,
            index: LogIndex(report.index),
            failed: report.failed.into_iter().map(LogIndex).collect(),
            digest: report.digest,
            rows: report.rows,
            is_sealed: report.is_sealed,
            is_draining: report.is_draining,
            connections: report.connections,
            handshakes: report.handshakes,
            started: UnixMillis(report.started),
            version: report.version,
            attention: Vec::new(),
            ahead_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> NodeReport {
        NodeReport { index: LogIndex(100), ..NodeReport::default() }
    }

    #[test]
    fn a_full_report_of_the_first_release_tells_nothing_of_earlier_failures() {
        let full: BTreeSet<LogIndex> = (10..74).map(LogIndex).collect();
        let old = |failed| NodeReport::from(ReportV1::from(NodeReport { failed, ..report() }));
        assert_eq!(old(full.clone()).failed_from, LogIndex(10));
        assert_eq!(old(BTreeSet::from([LogIndex(10)])).failed_from, LogIndex(0));
        let new = NodeReport { failed: full, failed_from: LogIndex(7), ..report() };
        assert_eq!(NodeReport::from(ReportV2::from(new)).failed_from, LogIndex(7));
    }
}
