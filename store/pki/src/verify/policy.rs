//! Certificate policies, for a user who accepts any policy (RFC 5280 §6.1).
//!
//! The tree of §6.1.2 is kept as the set of policies that its leaves expect. For a user who accepts
//! any policy, it only matters whether the tree is empty.

use std::collections::BTreeSet;

use der::oid::ObjectIdentifier;

use super::profile::Profiled;
use crate::rule::Broken;

const ANY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32.0");

/// State variables of §6.1.2, for a path of `length` certificates.
pub(super) struct Policies {
    expected: BTreeSet<ObjectIdentifier>,
    explicit: usize,
    mapping: usize,
    inhibit_any: usize,
}

impl Policies {
    pub(super) fn new(length: usize) -> Policies {
        let all = length + 1;
        Policies { expected: BTreeSet::from([ANY]), explicit: all, mapping: all, inhibit_any: all }
    }

    /// Processes a certificate: §6.1.3 (d) to (f).
    pub(super) fn enter(&mut self, one: &Profiled<'_>, is_last: bool) -> Result<(), Broken> {
        let mut expected = BTreeSet::new();
        if let Some(policies) = &one.policies {
            let is_open = self.expected.contains(&ANY);
            let known = |policy: &&ObjectIdentifier| is_open || self.expected.contains(*policy);
            expected
                .extend(policies.iter().filter(|policy| **policy != ANY).filter(known).copied());
            let counts = self.inhibit_any > 0 || (!is_last && one.is_self_issued());
            if policies.contains(&ANY) && counts {
                expected.append(&mut self.expected);
            }
        }
        self.expected = expected;
        self.check()
    }

    /// Prepares for the next certificate: §6.1.4 (a), (b), (h) to (j).
    pub(super) fn leave(&mut self, one: &Profiled<'_>) -> Result<(), Broken> {
        if one.mappings.iter().any(|(from, to)| *from == ANY || *to == ANY) {
            return Err(Broken::rule("RFC 5280 §6.1.4 (a)", "a mapping of any policy"));
        }
        let is_open = self.expected.contains(&ANY);
        let from: BTreeSet<_> = one.mappings.iter().map(|(from, _)| *from).collect();
        let mapped =
            one.mappings.iter().filter(|(from, _)| is_open || self.expected.contains(from));
        let mapped: Vec<_> = mapped.map(|(_, to)| *to).collect();
        self.expected.retain(|policy| !from.contains(policy));
        if self.mapping > 0 {
            self.expected.extend(mapped);
        }
        if !one.is_self_issued() {
            for counter in [&mut self.explicit, &mut self.mapping, &mut self.inhibit_any] {
                *counter = counter.saturating_sub(1);
            }
        }
        self.constrain(one);
        Ok(())
    }

    fn constrain(&mut self, one: &Profiled<'_>) {
        let lower = |counter: &mut usize, to: Option<u32>| {
            if let Some(to) = to.and_then(|to| usize::try_from(to).ok()) {
                *counter = (*counter).min(to);
            }
        };
        if let Some(constraints) = &one.policy_constraints {
            lower(&mut self.explicit, constraints.require_explicit_policy);
            lower(&mut self.mapping, constraints.inhibit_policy_mapping);
        }
        lower(&mut self.inhibit_any, one.inhibit_any);
    }

    /// Completes the path: §6.1.5 (a), (b), (g).
    pub(super) fn end(mut self, leaf: &Profiled<'_>) -> Result<(), Broken> {
        self.explicit = self.explicit.saturating_sub(1);
        let required = leaf.policy_constraints.as_ref();
        if required.and_then(|found| found.require_explicit_policy) == Some(0) {
            self.explicit = 0;
        }
        self.check()
    }

    fn check(&self) -> Result<(), Broken> {
        if self.explicit == 0 && self.expected.is_empty() {
            return Err(Broken::rule(
                "RFC 5280 §6.1.3 (f)",
                "a policy is required, and none holds on the whole path",
            ));
        }
        Ok(())
    }
}
