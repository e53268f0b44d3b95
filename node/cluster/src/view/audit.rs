//! The audit trail as the API shows it, and its check.

use conclave_api::{
    API_VERSION,
    audit::{Entry, Verified},
};
use conclave_keys::Claim;
use conclave_store::{
    id::{Fingerprint, NodeId},
    record::ProofOf,
    state::State,
};

use crate::{node::Node, replica::AuditHeadV1};

/// Most faults that are told.
const FAULTS_MAX: usize = 100;

/// Shows entries before the one with the number `after`, the last one first.
pub fn audit(
    state: &State,
    after: Option<u64>,
    limit: usize,
    takes: impl Fn(&Entry) -> bool,
) -> Vec<Entry> {
    let end = after.map_or(u64::MAX, |after| after.saturating_sub(1));
    let entries = state.audit(1..=end).rev();
    let shown = entries.filter_map(|(number, entry)| {
        // The line is the form that the hash is about, so it is the one to show.
        serde_json::from_str::<Entry>(&entry.line(number)).ok()
    });
    shown.filter(takes).take(limit).collect()
}

/// Returns the number of the last entry, or of the one before the first.
pub fn audit_last(state: &State) -> u64 {
    AuditHeadV1::of(state, 0).last
}

/// Checks every entry: its number, its hash and that of the one before. With `is_signed`, checks the
/// proof of the beginning too.
pub fn verify_audit(node: &Node, state: &State, is_signed: bool) -> Verified {
    let cut = state.audit_cut();
    let mut faults = Vec::new();
    let mut fault = |text: String| {
        if faults.len() < FAULTS_MAX {
            faults.push(text);
        }
    };
    if cut.first > 1 && is_signed {
        let proof = state.proof(ProofOf::AuditCut);
        let claim = Claim::audit_cut(&cut);
        if node.keyring().is_sealed() {
            fault("this node is sealed, and cannot check the proof of the beginning".to_owned());
        } else if !proof.is_some_and(|proof| node.keyring().verifies(&proof, &claim)) {
            fault(format!("the beginning at entry {} has no valid proof", cut.first));
        }
    }
    let (mut next, mut hash) = (cut.first, cut.previous);
    for (number, entry) in state.audit(0..=u64::MAX) {
        if number < next {
            fault(format!("entry {number} is before the beginning, {}", cut.first));
            continue;
        }
        if number > next {
            fault(missing(next, number - 1));
        } else if entry.previous != hash {
            fault(format!("entry {number} does not follow the one before it"));
        }
        if !entry.is_intact(number) {
            fault(format!("entry {number} was changed: it does not have its hash"));
        }
        (next, hash) = (number + 1, entry.hash);
    }
    Verified {
        api_version: API_VERSION.to_owned(),
        kind: "AuditVerification".to_owned(),
        valid: faults.is_empty(),
        first: cut.first,
        last: next - 1,
        hash: hash.to_string(),
        faults,
        compared: Vec::new(),
        silent: Vec::new(),
    }
}

fn missing(first: u64, last: u64) -> String {
    match first == last {
        true => format!("entry {first} is missing"),
        false => format!("the entries {first} to {last} are missing"),
    }
}

/// Compares with what the other members said before this State was read. `asked` is the entry whose
/// hash they were asked for.
pub fn compare_audit(
    state: &State,
    asked: u64,
    heads: &[(NodeId, Option<AuditHeadV1>)],
    mut verified: Verified,
) -> Verified {
    let name = |id: &NodeId| {
        let member = state.member(id);
        member.map_or_else(|| format!("node {id}"), |member| member.name.to_string())
    };
    let hash = |number: u64| state.audit(number..=number).next().map(|(_, entry)| entry.hash);
    for (id, head) in heads {
        let Some(head) = head else {
            verified.silent.push(name(id));
            continue;
        };
        let own = (hash(head.last), hash(asked));
        let is_other = own.0.is_some_and(|own| own != Fingerprint(head.hash))
            || own.1.zip(head.asked).is_some_and(|(own, other)| own.0 != other);
        let last = verified.last;
        if is_other {
            verified.faults.push(format!("{} has other entries than this node", name(id)));
        } else if head.last > last {
            verified.faults.push(format!(
                "{} has entries up to {}, and this node only up to {last}",
                name(id),
                head.last
            ));
        }
        verified.compared.push(name(id));
    }
    verified.valid = verified.faults.is_empty();
    verified
}
