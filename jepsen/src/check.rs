//! Judges the history of a growing set: all acknowledged writes exist, nothing exists that was
//! never written, and all nodes hold the same state.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Event;

/// Verdict on a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    Invalid(String),
    Unknown(String),
    /// The test did not run, which is allowed here.
    Skipped(String),
}

/// Content of the nodes at the end of a run.
pub(crate) struct Found {
    /// Per node: its domains, and whether each has key and certificate.
    pub(crate) domains: BTreeMap<String, BTreeMap<String, bool>>,
    /// Per node: the digest of its state.
    pub(crate) digests: BTreeMap<String, String>,
}

/// Compares the history with the content found at the end.
pub(crate) fn set(events: &[Event], found: &Found) -> Verdict {
    let of_kind = |f: &str, kind: &str| -> BTreeSet<&str> {
        let chosen = events.iter().filter(|event| event.f == f && event.kind == kind);
        chosen.map(|event| event.key.as_str()).collect()
    };
    let (invoked, acknowledged) = (of_kind("add", "invoke"), of_kind("add", "ok"));
    let (refused, unsigned) = (of_kind("add", "fail"), of_kind("sign", "fail"));
    if acknowledged.is_empty() {
        return Verdict::Unknown("nothing was acknowledged".to_owned());
    }
    let stale = events.iter().find(|event| event.f == "read" && event.kind == "fail");
    if let Some(Event { key, value, .. }) = stale {
        return Verdict::Invalid(format!("{key} was acknowledged, and read afterwards {value}"));
    }
    for (node, domains) in &found.domains {
        for key in &acknowledged {
            match domains.get(*key) {
                None => {
                    return Verdict::Invalid(format!("{key} was acknowledged, {node} lacks it"));
                }
                Some(false) => {
                    return Verdict::Invalid(format!("{key} lost key or certificate on {node}"));
                }
                Some(true) => {}
            }
        }
        if let Some(ghost) = domains.keys().find(|key| refused.contains(key.as_str())) {
            return Verdict::Invalid(format!("{ghost} was refused, {node} has it"));
        }
        let has_certificate = |key: &&&str| domains.get(**key) == Some(&true);
        if let Some(ghost) = unsigned.iter().find(has_certificate) {
            return Verdict::Invalid(format!(
                "a key or certificate of {ghost} was refused, {node} has them"
            ));
        }
        if let Some(ghost) = domains.keys().find(|key| !invoked.contains(key.as_str())) {
            return Verdict::Invalid(format!("{ghost} on {node} was written by nobody"));
        }
    }
    let digests: BTreeSet<&String> = found.digests.values().collect();
    if digests.len() > 1 {
        return Verdict::Invalid(format!("the nodes differ: {:?}", found.digests));
    }
    Verdict::Valid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &'static str, key: &str) -> Event {
        let text = |text: &str| text.to_owned();
        Event { process: text("0"), kind, f: text("add"), key: text(key), value: text(""), time: 0 }
    }

    fn found(keys: &[(&str, bool)], digest: &str) -> Found {
        let domains: BTreeMap<_, _> =
            keys.iter().map(|(key, whole)| ((*key).to_owned(), *whole)).collect();
        Found {
            domains: BTreeMap::from([("n1".to_owned(), domains)]),
            digests: BTreeMap::from([
                ("n1".to_owned(), "d".to_owned()),
                ("n2".to_owned(), digest.to_owned()),
            ]),
        }
    }

    #[test]
    fn a_lost_write_is_invalid_and_an_unknown_one_may_be_there_or_not() {
        let history =
            [event("invoke", "a"), event("ok", "a"), event("invoke", "b"), event("info", "b")];
        let check = |keys: &[(&str, bool)], is_valid: bool| {
            assert_eq!(set(&history, &found(keys, "d")) == Verdict::Valid, is_valid, "{keys:?}");
        };
        check(&[("a", true)], true);
        check(&[("a", true), ("b", true)], true);
        check(&[("b", true)], false);
        check(&[("a", false)], false);
        check(&[("a", true), ("ghost", true)], false);
        assert_ne!(set(&history, &found(&[("a", true)], "other")), Verdict::Valid);
    }

    #[test]
    fn what_was_refused_must_not_exist() {
        let mut unsigned = event("fail", "s");
        unsigned.f = "sign".to_owned();
        let history = [
            event("invoke", "a"),
            event("ok", "a"),
            event("invoke", "r"),
            event("fail", "r"),
            event("invoke", "s"),
            unsigned,
            event("info", "s"),
        ];
        let check = |keys: &[(&str, bool)], is_valid: bool| {
            assert_eq!(set(&history, &found(keys, "d")) == Verdict::Valid, is_valid, "{keys:?}");
        };
        check(&[("a", true)], true);
        check(&[("a", true), ("r", false)], false);
        check(&[("a", true), ("s", false)], true);
        check(&[("a", true), ("s", true)], false);
    }

    #[test]
    fn a_read_misses_nothing_that_was_acknowledged_before() {
        let mut read = event("fail", "a");
        read.f = "read".to_owned();
        let history = [event("invoke", "a"), event("ok", "a"), read];
        assert!(matches!(set(&history, &found(&[("a", true)], "d")), Verdict::Invalid(_)));
    }

    #[test]
    fn without_an_acknowledged_write_nothing_is_known() {
        assert!(matches!(set(&[], &found(&[], "d")), Verdict::Unknown(_)));
    }
}
