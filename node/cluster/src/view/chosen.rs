//! Choosing domains for a list: by name and state, in the order of names or of what expires first.

use conclave_api::{
    domain::{DomainOrder, DomainState},
    finding::{Finding, Severity},
    problem::Code,
};
use conclave_store::{
    id::DomainName,
    record::{Domain, PkiMode, TrustSet},
    scope::Scope,
    state::State,
    time::UnixMillis,
};

use super::{
    attention::{heaviest, stamp},
    findings,
};
use crate::inspect::{Basis, Inspections};

/// Which domains a list has, and in which order.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Part of a name or an alias, in lower case.
    pub search: Option<String>,
    /// How they are.
    pub state: Option<DomainState>,
    /// Their order.
    pub order: DomainOrder,
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// End of the certificate that ends first, in an order by expiry.
    end: Option<UnixMillis>,
    name: DomainName,
}

impl Place {
    /// Reads a place; `None` if the text is none.
    pub fn parse(text: &str, order: DomainOrder) -> Option<Place> {
        let (end, name) = match order {
            DomainOrder::Name => (None, text),
            DomainOrder::Expiry => {
                let (end, name) = text.split_once(' ')?;
                (Some(UnixMillis(end.parse().ok()?)), name)
            }
        };
        Some(Place { end, name: DomainName::parse(name).ok()? })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.end {
            Some(end) => write!(out, "{} {}", end.0, self.name),
            None => write!(out, "{}", self.name),
        }
    }
}

/// A scope whose domains are listed.
pub struct Listed<'a> {
    /// The scope.
    pub scope: Scope,
    /// Its State.
    pub state: &'a State,
    /// What is remembered about its domains.
    pub inspections: &'a Inspections,
    /// The time.
    pub now: UnixMillis,
}

impl Chosen {
    /// Returns the first `limit` chosen domains of a scope behind a place, in their order. By name
    /// this takes time for those that it looks at, by expiry for all domains.
    pub fn domains<'a>(
        &self,
        listed: &Listed<'a>,
        after: Option<&Place>,
        limit: usize,
        is_seen: impl Fn(&DomainName) -> bool,
    ) -> Vec<(Place, &'a Domain)> {
        let trust = stamp(listed.state, &TrustSet::System);
        let takes = |domain: &&Domain| is_seen(&domain.name) && self.takes(listed, domain, trust);
        let place = |domain: &'a Domain| (self.place(domain), domain);
        if self.order == DomainOrder::Name {
            let behind = listed.state.domains_after(after.map(|place| &place.name));
            return behind.filter(takes).map(place).take(limit).collect();
        }
        let all = listed.state.domains().filter(takes).map(place);
        let is_behind = |(place, _): &(Place, &Domain)| after.is_none_or(|after| place > after);
        let mut all: Vec<_> = all.filter(is_behind).collect();
        if let Some(last) = limit.checked_sub(1).filter(|last| *last < all.len()) {
            all.select_nth_unstable_by(last, |(one, _), (other, _)| one.cmp(other));
            all.truncate(limit);
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    fn place(&self, domain: &Domain) -> Place {
        let ends = || domain.certificates().map(|one| one.not_after).min();
        let end = match self.order {
            DomainOrder::Name => None,
            DomainOrder::Expiry => Some(ends().unwrap_or(UnixMillis(u64::MAX))),
        };
        Place { end, name: domain.name.clone() }
    }

    fn takes(&self, listed: &Listed<'_>, domain: &Domain, trust: u64) -> bool {
        let has = |search: &String| {
            domain.name.as_str().contains(search)
                || domain.name.unicode().is_some_and(|name| name.to_lowercase().contains(search))
                || domain.aliases.iter().any(|alias| alias.to_string().contains(search))
        };
        self.search.as_ref().is_none_or(has)
            && self.state.is_none_or(|state| is_in(state, listed, domain, trust))
    }
}

/// Returns whether a domain is like this.
fn is_in(wanted: DomainState, listed: &Listed<'_>, domain: &Domain, trust: u64) -> bool {
    match domain.mode {
        PkiMode::Disabled => wanted == DomainState::Disabled,
        PkiMode::Test => wanted == DomainState::Test,
        PkiMode::Enabled => {
            let own = stamp(listed.state, &TrustSet::Domain(domain.id));
            let basis = Basis { version: domain.version, trust: trust.wrapping_add(own) };
            let known = listed.inspections.recall(listed.scope, domain.id, basis, listed.now);
            let is_checked = known.is_some();
            let found = known.map(|(found, _)| found);
            let found = found.unwrap_or_else(|| findings::of_records(domain, listed.now));
            enabled(&found, is_checked) == Some(wanted)
        }
    }
}

/// Returns how an enabled domain with these findings is; `None`: that is not known yet.
pub(super) fn enabled(found: &[Finding], is_checked: bool) -> Option<DomainState> {
    let is_expiring = found.iter().all(|one| one.code == Code::CertificateExpiring);
    match heaviest(found) {
        None | Some(Severity::Note) if !is_checked => None,
        None | Some(Severity::Note) => Some(DomainState::Valid),
        Some(_) if is_expiring => Some(DomainState::Expiring),
        Some(_) => Some(DomainState::Problem),
    }
}
