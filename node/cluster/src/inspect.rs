//! Memory of what was found about domains. Judging a chain takes a fraction of a millisecond, so a
//! status of a hundred thousand domains must not judge them all. Nor does it count them all, if
//! nothing has changed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use conclave_api::{
    finding::Finding,
    status::{DomainCounts, StatusProblem},
};
use conclave_store::{
    id::{DomainId, Version},
    scope::Scope,
    time::UnixMillis,
};

/// What the findings about a domain were derived from, besides the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Basis {
    pub(crate) version: Version,
    /// Stamp of the trusted certificates and revocation lists.
    pub(crate) trust: u64,
}

/// Domains in numbers, and what needs attention about them.
#[derive(Debug, Clone, Default)]
pub struct Inspected {
    /// Domains by their state.
    pub counts: DomainCounts,
    /// What needs attention.
    pub problems: Vec<StatusProblem>,
}

struct Judged {
    basis: Basis,
    /// Time from which the findings may be others.
    until: UnixMillis,
    /// None for most domains, which have no findings.
    findings: Option<Box<[Finding]>>,
}

/// Findings about the domains of a scope.
#[derive(Default)]
struct Known {
    judged: HashMap<DomainId, Judged>,
    /// All of them in numbers, with the digest of their State and the time from which the numbers
    /// may be others.
    counted: Option<([u8; 32], UnixMillis, Inspected)>,
}

/// Memory of the findings about the domains of both scopes.
#[derive(Default)]
pub struct Inspections {
    shared: Mutex<Known>,
    local: Mutex<Known>,
}

impl Inspections {
    fn of(&self, scope: Scope) -> MutexGuard<'_, Known> {
        let known = match scope {
            Scope::Shared => &self.shared,
            Scope::Local => &self.local,
        };
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the domains of a State in numbers, if they are remembered and still true.
    pub(crate) fn counted(
        &self,
        scope: Scope,
        digest: [u8; 32],
        now: UnixMillis,
    ) -> Option<Inspected> {
        let known = self.of(scope);
        let (of, until, inspected) = known.counted.as_ref()?;
        (*of == digest && now <= *until).then(|| inspected.clone())
    }

    /// Remembers the domains of a State in numbers. Those that are not judged yet are not worth it.
    pub(crate) fn note_counted(
        &self,
        scope: Scope,
        digest: [u8; 32],
        until: UnixMillis,
        inspected: &Inspected,
    ) {
        if inspected.counts.unchecked == 0 {
            self.of(scope).counted = Some((digest, until, inspected.clone()));
        }
    }

    /// Returns the findings about a domain and how long they are true, if they are remembered and
    /// still true.
    pub(crate) fn recall(
        &self,
        scope: Scope,
        id: DomainId,
        basis: Basis,
        now: UnixMillis,
    ) -> Option<(Vec<Finding>, UnixMillis)> {
        let known = self.of(scope);
        let found = known.judged.get(&id).filter(|one| one.basis == basis && now <= one.until)?;
        Some((found.findings.as_deref().unwrap_or_default().to_vec(), found.until))
    }

    /// Remembers the findings about a domain.
    pub(crate) fn remember(
        &self,
        scope: Scope,
        id: DomainId,
        basis: Basis,
        until: UnixMillis,
        findings: &[Finding],
    ) {
        let findings = (!findings.is_empty()).then(|| findings.into());
        self.of(scope).judged.insert(id, Judged { basis, until, findings });
    }

    /// Forgets the domains for which `exists` is false.
    pub(crate) fn forget(&self, scope: Scope, exists: impl Fn(&DomainId) -> bool) {
        self.of(scope).judged.retain(|id, _| exists(id));
    }
}
