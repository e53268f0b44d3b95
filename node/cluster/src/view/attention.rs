//! What needs attention: domains whose clients will be refused, now or soon, and the node itself.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use conclave_api::{
    domain::DomainState,
    finding::{Finding, Severity},
    problem::Code,
    status::StatusProblem,
};
use conclave_disk::Space;
use conclave_store::{
    id::DomainId,
    record::{Domain, PkiMode, RowKey, TrustSet},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_system::clock;

use super::{
    chosen::enabled,
    findings::{self, soon},
};
use crate::{
    inspect::{Basis, Inspected, Inspections},
    replica::Attention,
};

/// Most domain problems in a status. The counts include the others.
const PROBLEMS_MAX: usize = 100;
/// Free space below which a disk is said to fill up; less on a small disk.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;

/// Counts the domains of a scope and finds what needs attention. Judges what is not remembered,
/// until `deadline`; what is left is counted as not yet checked.
pub fn domains(
    inspections: &Inspections,
    scope: Scope,
    state: &State,
    now: UnixMillis,
    deadline: Instant,
) -> Inspected {
    let digest = state.digest();
    if let Some(found) = inspections.counted(scope, digest, now) {
        return found;
    }
    let (mut found, mut until) = (Inspected::default(), UnixMillis(u64::MAX));
    let system = stamp(state, &TrustSet::System);
    for domain in state.domains() {
        found.counts.total += 1;
        match domain.mode {
            PkiMode::Disabled => found.counts.disabled += 1,
            PkiMode::Test => found.counts.test += 1,
            PkiMode::Enabled => {
                let own = stamp(state, &TrustSet::Domain(domain.id));
                let basis = Basis { version: domain.version, trust: system.wrapping_add(own) };
                let known = inspections.recall(scope, domain.id, basis, now).or_else(|| {
                    (Instant::now() < deadline).then(|| {
                        let looked = findings::of_domain(scope, state, domain, now);
                        let mut heavy = looked.findings;
                        heavy.retain(|one| one.severity > Severity::Note);
                        inspections.remember(scope, domain.id, basis, looked.until, &heavy);
                        (heavy, looked.until)
                    })
                });
                until = until.min(known.as_ref().map_or(until, |(_, until)| *until));
                count(domain, known.map(|(findings, _)| findings), now, &mut found);
            }
        }
    }
    inspections.note_counted(scope, digest, until, &found);
    found
}

/// Returns what needs attention about the revocation lists of the cluster's own set.
pub fn lists(state: &State, now: UnixMillis) -> Vec<StatusProblem> {
    let found = findings::of_lists(state, now).into_iter();
    let problem = |one: Finding| StatusProblem {
        code: one.code,
        severity: one.severity,
        object: "cluster trust".to_owned(),
        text: one.text,
        hint: "conclave trust add --scope cluster FILE    with the present list".to_owned(),
    };
    found.map(problem).collect()
}

/// Returns what needs attention about the S/MIME issuers of domains: when the certificate of one
/// ends, those of its accounts end with it.
pub fn issuers(state: &State, now: UnixMillis) -> Vec<StatusProblem> {
    let ending = state.smime_issuers().filter_map(|(id, issuer)| {
        let certificate = issuer.certificate.as_ref()?;
        let (from, till) = (certificate.not_before, certificate.not_after);
        (soon(from, till) <= now).then_some((id, till))
    });
    let ending: HashMap<DomainId, UnixMillis> = ending.collect();
    if ending.is_empty() {
        return Vec::new();
    }
    let problem = |domain: &Domain| {
        let (till, name) = (*ending.get(&domain.id)?, &domain.name);
        let (code, severity, word) = match till < now {
            true => (Code::CertificateOutOfDate, Severity::Error, "ended"),
            false => (Code::CertificateExpiring, Severity::Warning, "ends"),
        };
        let till = clock::rfc3339(till);
        Some(StatusProblem {
            code,
            severity,
            object: name.to_string(),
            text: format!("the S/MIME certificate {word} at {till}, and those of accounts with it"),
            hint: format!("conclave smime show {name}"),
        })
    };
    state.domains().filter_map(problem).take(PROBLEMS_MAX).collect()
}

/// Forgets what is remembered about domains that no longer exist.
pub fn forget_deleted(inspections: &Inspections, scope: Scope, state: &State) {
    let ids: HashSet<DomainId> = state.domains().map(|domain| domain.id).collect();
    inspections.forget(scope, |id| ids.contains(id));
}

/// Returns the weight of the heaviest finding.
pub(super) fn heaviest(found: &[Finding]) -> Option<Severity> {
    found.iter().map(|one| one.severity).max()
}

/// Returns a value that changes when a set of trusted certificates or its revocation lists do.
pub(super) fn stamp(state: &State, set: &TrustSet) -> u64 {
    let trusted = state.trusted(set).map(|(one, _)| RowKey::Trusted((set.clone(), one)));
    let lists = state.crl_keys(set);
    let changed = |key: RowKey| state.row(&key).map_or(0, |row| row.changed_at.0);
    // The multiplier of FNV-1a mixes the indexes, so that two sets do not have the same sum.
    trusted.chain(lists).fold(0, |sum: u64, key| {
        sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(changed(key)).wrapping_add(1)
    })
}

fn count(domain: &Domain, findings: Option<Vec<Finding>>, now: UnixMillis, found: &mut Inspected) {
    // What needs no parsing is known even before the domain was judged.
    let is_checked = findings.is_some();
    let findings = findings.unwrap_or_else(|| findings::of_records(domain, now));
    let counts = &mut found.counts;
    counts.unchecked += u64::from(!is_checked);
    match enabled(&findings, is_checked) {
        Some(DomainState::Valid) => counts.valid += 1,
        Some(DomainState::Expiring) => counts.expiring += 1,
        Some(_) => counts.problem += 1,
        None => {}
    }
    for finding in findings {
        // A lighter one makes room: what does not work must not hide behind what ends next month.
        if found.problems.len() >= PROBLEMS_MAX {
            let is_lighter = |one: &StatusProblem| one.severity < finding.severity;
            let Some(place) = found.problems.iter().rposition(is_lighter) else { continue };
            found.problems.remove(place);
        }
        found.problems.push(StatusProblem {
            code: finding.code,
            severity: finding.severity,
            object: domain.name.to_string(),
            text: finding.text,
            hint: format!("conclave domain check {}", domain.name),
        });
    }
}

/// Returns what needs attention on this node: its disk, and the domains of its local scope.
pub fn of_node(
    name: &str,
    space: Option<Space>,
    has_room: bool,
    local: &[StatusProblem],
) -> Vec<Attention> {
    let mut all = Vec::new();
    let free = space.map_or_else(String::new, |space| format!("{} MiB free", space.free >> 20));
    let disk = |is_error, text: String| Attention {
        code: Code::DiskFull.as_str().to_owned(),
        is_error,
        object: name.to_owned(),
        text,
        hint: "make room on the disk of data_dir".to_owned(),
    };
    if !has_room {
        all.push(disk(
            true,
            format!("its disk is full ({free}): it takes no changes, TLS goes on"),
        ));
    } else if space.is_some_and(|space| space.free < space.reserve(FREE_BYTES_MIN)) {
        all.push(disk(false, format!("its disk fills up: {free}")));
    }
    all.extend(local.iter().map(|one| Attention {
        code: one.code.as_str().to_owned(),
        is_error: one.severity == Severity::Error,
        object: one.object.clone(),
        text: one.text.clone(),
        hint: format!("on {name}: {} --scope local", one.hint),
    }));
    all
}

/// Returns that other users can use the unlock key of this node. `text` says how to mend it.
pub fn unlock_exposed(name: &str, text: &str) -> Attention {
    let (text, hint) = text.rsplit_once(": ").unwrap_or((text, ""));
    Attention {
        code: Code::UnlockKeyExposed.as_str().to_owned(),
        is_error: false,
        object: name.to_owned(),
        text: text.to_owned(),
        hint: format!("on {name}: {hint}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use conclave_store::{
        id::{LogIndex, Version},
        record::Record,
        state::StoredRow,
        wire,
    };

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn of_disk(free: u64, total: u64, has_room: bool) -> Vec<(bool, String)> {
        let space = Some(Space { free: free * MIB, total: total * MIB });
        let all = of_node("node-1", space, has_room, &[]);
        all.into_iter().map(|one| (one.is_error, one.text)).collect()
    }

    #[test]
    fn a_disk_is_said_to_fill_up_before_it_is_full() {
        assert_eq!(of_disk(300, 10_000, true), []);
        let [(false, text)] = &of_disk(200, 10_000, true)[..] else { panic!("a warning") };
        assert!(text.contains("200 MiB free"), "{text}");
        assert_eq!(of_disk(4, 24, true), [], "enough for a disk of 24 MiB");
        assert_eq!(of_disk(1, 24, true).len(), 1);
        let [(true, text)] = &of_disk(0, 10_000, false)[..] else { panic!("an error") };
        assert!(text.contains("TLS goes on"), "{text}");
    }

    #[test]
    fn what_was_counted_counts_until_something_changes_or_ends() {
        let state = |version| {
            let mut domain = findings::tests::domain(0, u64::from(u32::MAX));
            domain.version = version;
            let key = wire::encode_key(&RowKey::Domain(domain.name.clone())).unwrap();
            let row = wire::encode_row(LogIndex(1), &Record::Domain(Arc::new(domain))).unwrap();
            State::load(vec![StoredRow::read(&key, &row).unwrap()])
        };
        let (known, now) = (Inspections::default(), UnixMillis(1));
        let (first, past) = (state(Version(1)), Instant::now());
        let unchecked = |state: &State, now, deadline| {
            domains(&known, Scope::Shared, state, now, deadline).counts.unchecked
        };
        assert_eq!(unchecked(&first, now, past), 1, "there is no time to judge it");
        assert_eq!(unchecked(&first, now, past + Duration::from_secs(60)), 0);
        known.forget(Scope::Shared, |_| false);
        assert_eq!(unchecked(&first, now, past), 0, "nothing is judged again, nor counted");
        assert_eq!(
            unchecked(&first, UnixMillis(u64::MAX), past),
            1,
            "in the end it may be another"
        );
        assert_eq!(unchecked(&state(Version(2)), now, past), 1, "it was changed");
    }

    #[test]
    fn of_too_many_problems_the_heavier_are_kept() {
        let domain = findings::tests::domain(0, 1);
        let finding = |severity| Finding {
            code: Code::CertificateExpiring,
            severity,
            text: String::new(),
            hint: None,
        };
        let mut found = Inspected::default();
        let mut add = |severity| {
            count(&domain, Some(vec![finding(severity)]), UnixMillis(0), &mut found);
        };
        (0..PROBLEMS_MAX).for_each(|_| add(Severity::Warning));
        add(Severity::Error);
        add(Severity::Warning);
        assert_eq!(found.problems.len(), PROBLEMS_MAX);
        let errors = found.problems.iter().filter(|one| one.severity == Severity::Error);
        assert_eq!(errors.count(), 1);
    }
}
