//! Memory of what was found about domains. Judging a chain takes a fraction of a millisecond, so a
//! status of a hundred thousand domains must not judge them all.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use conclave_api::finding::Finding;
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

struct Inspected {
    basis: Basis,
    /// Time from which the findings may be others.
    until: UnixMillis,
    /// None for most domains, which have no findings.
    findings: Option<Box<[Finding]>>,
}

/// Memory of the findings about the domains of both scopes.
#[derive(Default)]
pub struct Inspections {
    shared: Mutex<HashMap<DomainId, Inspected>>,
    local: Mutex<HashMap<DomainId, Inspected>>,
}

impl Inspections {
    fn of(&self, scope: Scope) -> &Mutex<HashMap<DomainId, Inspected>> {
        match scope {
            Scope::Shared => &self.shared,
            Scope::Local => &self.local,
        }
    }

    /// Returns the findings about a domain, if they are remembered and still true.
    pub(crate) fn recall(
        &self,
        scope: Scope,
        id: DomainId,
        basis: Basis,
        now: UnixMillis,
    ) -> Option<Vec<Finding>> {
        let known = self.of(scope).lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(&id).filter(|one| one.basis == basis && now <= one.until)?;
        Some(found.findings.as_deref().unwrap_or_default().to_vec())
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
        let inspected = Inspected { basis, until, findings };
        let mut known = self.of(scope).lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(id, inspected);
    }

    /// Forgets the domains for which `exists` is false.
    pub(crate) fn forget(&self, scope: Scope, exists: impl Fn(&DomainId) -> bool) {
        let mut known = self.of(scope).lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| exists(id));
    }
}
