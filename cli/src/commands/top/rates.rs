//! Rates from two answers with counters.

use std::collections::BTreeMap;

use conclave_api::load::{Bucket, Counters, NodeLoad};
use serde::Serialize;

/// What a node did between two looks.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lag_entries: Option<u64>,
    /// None if the node does not answer, or was started in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<Done>,
}

/// The counters of a node, and how fast they grow.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Done {
    pub(super) connections: u64,
    pub(super) tls_per_s: f64,
    pub(super) dtls_per_s: f64,
    /// Duration that 99 of 100 handshakes did not exceed, in milliseconds; none if there were none,
    /// or if it is longer than what is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_ms: Option<f64>,
    /// Share of resumptions, in percent; none without a handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resumed_percent: Option<f64>,
    pub(super) failed_per_min: f64,
    /// Failed connections by reason.
    pub(super) failures: BTreeMap<String, u64>,
    /// Share of one processor, in percent.
    pub(super) cpu_percent: f64,
    pub(super) resident_bytes: u64,
    pub(super) up_s: u64,
}

/// Compares two answers. A node that is in the first one only has left.
pub(super) fn rates(before: &[NodeLoad], now: &[NodeLoad]) -> Vec<Rates> {
    let rate = |node: &NodeLoad| {
        let was = before.iter().find(|one| one.name == node.name);
        let was = was.and_then(|one| one.counters.as_ref());
        Rates {
            name: node.name.clone(),
            role: node.role.clone(),
            state: node.state.clone(),
            lag_entries: node.lag_entries,
            done: was.zip(node.counters.as_ref()).and_then(|(was, is)| done(was, is)),
        }
    };
    now.iter().map(rate).collect()
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "shown with one decimal")]
fn real(number: u64) -> f64 {
    number as f64
}

fn done(was: &Counters, is: &Counters) -> Option<Done> {
    let seconds = real(is.up_ms.checked_sub(was.up_ms).filter(|ms| *ms > 0)?) / 1_000.0;
    let since = |of: fn(&Counters) -> u64| of(is).saturating_sub(of(was));
    let (tls, dtls) = (since(|one| one.tls_handshakes), since(|one| one.dtls_handshakes));
    let handshakes = tls + dtls;
    let failed = |one: &Counters| one.failures.iter().map(|of| of.count).sum::<u64>();
    let failures = is.failures.iter().map(|now| {
        let before = was.failures.iter().find(|one| one.reason == now.reason);
        (now.reason.clone(), now.count.saturating_sub(before.map_or(0, |one| one.count)))
    });
    let resumed = real(since(|one| one.resumed));
    Some(Done {
        connections: is.connections,
        tls_per_s: real(tls) / seconds,
        dtls_per_s: real(dtls) / seconds,
        p99_ms: p99_ms(&was.durations, &is.durations),
        resumed_percent: (handshakes > 0).then(|| resumed * 100.0 / real(handshakes)),
        failed_per_min: real(failed(is).saturating_sub(failed(was))) * 60.0 / seconds,
        failures: failures.filter(|(_, count)| *count > 0).collect(),
        cpu_percent: real(since(|one| one.cpu_ms)) / 10.0 / seconds,
        resident_bytes: is.resident_bytes,
        up_s: is.up_ms / 1_000,
    })
}

/// Returns the bound of the bucket with the slowest of 99 in 100 handshakes.
fn p99_ms(was: &[Bucket], is: &[Bucket]) -> Option<f64> {
    let new = |bucket: &Bucket| {
        let before = was.iter().find(|one| one.up_to_us == bucket.up_to_us);
        bucket.count.saturating_sub(before.map_or(0, |one| one.count))
    };
    let all: u64 = is.iter().map(new).sum();
    let wanted = all.saturating_sub(all / 100);
    let mut sum = 0;
    let slowest = is.iter().find(|bucket| {
        sum += new(bucket);
        all > 0 && sum >= wanted
    });
    slowest.and_then(|bucket| bucket.up_to_us).map(|us| real(us) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conclave_api::load::Failures;

    fn node(counters: Option<Counters>) -> NodeLoad {
        NodeLoad {
            name: "node-1".to_owned(),
            role: "leader".to_owned(),
            state: "ready".to_owned(),
            lag_entries: None,
            counters,
        }
    }

    #[test]
    fn a_rate_is_what_was_added_by_the_time_between() {
        let bucket = |up_to_us, count| Bucket { up_to_us, count };
        let failed = |reason: &str, count| Failures { reason: reason.to_owned(), count };
        let was = Counters {
            up_ms: 10_000,
            tls_handshakes: 100,
            resumed: 50,
            failures: vec![failed("closed", 3)],
            durations: vec![bucket(Some(500), 100), bucket(Some(5_000), 0), bucket(None, 0)],
            cpu_ms: 1_000,
            ..Counters::default()
        };
        let is = Counters {
            up_ms: 12_000,
            tls_handshakes: 300,
            resumed: 100,
            failures: vec![failed("closed", 4), failed("timeout", 2)],
            durations: vec![bucket(Some(500), 297), bucket(Some(5_000), 2), bucket(None, 1)],
            cpu_ms: 1_500,
            ..Counters::default()
        };
        let all = rates(&[node(Some(was.clone()))], &[node(Some(is.clone()))]);
        let done = all[0].done.clone().unwrap();
        assert_eq!((done.tls_per_s, done.dtls_per_s), (100.0, 0.0));
        assert_eq!((done.p99_ms, done.resumed_percent), (Some(5.0), Some(25.0)));
        assert_eq!((done.failed_per_min, done.cpu_percent), (90.0, 25.0));
        let failures: Vec<_> = done.failures.into_iter().collect();
        assert_eq!(failures, [("closed".to_owned(), 1), ("timeout".to_owned(), 2)]);
        // After a restart nothing can be compared.
        assert_eq!(rates(&[node(Some(is))], &[node(Some(was))])[0].done, None);
        assert_eq!(rates(&[], &[node(None)])[0].done, None);
    }
}
