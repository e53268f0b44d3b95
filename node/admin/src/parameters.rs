//! Query parameters of API requests.

use std::time::Duration;

use axum::{extract::Query, http::Uri};
use conclave_api::{
    audit::Entry,
    change::List,
    domain::{DomainOrder, DomainState, Scope as ApiScope},
    key::Family as ApiFamily,
    limits::{AFTER_BYTES_MAX, FILTER_BYTES_MAX, PAGE_MAX, TIMEOUT_MS, TIMEOUT_MS_MAX},
    problem::{Code, Problem},
};
use conclave_cluster::replica::Wait;
use conclave_pki::name::deceives;
use conclave_store::limits::REASON_BYTES_MAX;
use serde::Deserialize;

/// How something may have ended that the audit trail tells.
const AUDIT_RESULTS: [&str; 3] = ["done", "denied", "failed"];

/// Query parameters of changes and reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Parameters {
    pub(super) wait: Option<String>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) reason: Option<String>,
    pub(super) consistency: Option<String>,
    pub(super) scope: Option<ApiScope>,
    pub(super) family: Option<ApiFamily>,
    pub(super) dry_run: bool,
    pub(super) require_all: bool,
    pub(super) if_missing: bool,
    pub(super) if_exists: bool,
    pub(super) pending: bool,
    pub(super) own: bool,
    pub(super) who: Option<String>,
    pub(super) event: Option<String>,
    pub(super) object: Option<String>,
    pub(super) result: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) after: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) search: Option<String>,
    pub(super) state: Option<DomainState>,
    pub(super) sort: Option<DomainOrder>,
    /// Read before the route: see `fields`.
    #[serde(rename = "fields")]
    _fields: Option<String>,
}

/// The requested page of a long list.
#[derive(Clone)]
pub(super) struct Page {
    /// Name after which the page begins; none: the start of the list.
    pub(super) after: Option<String>,
    /// Page size, 1 to [`PAGE_MAX`].
    pub(super) limit: usize,
    /// Whether the caller gave the page size. Lists that are short in most clusters are whole
    /// without it.
    pub(super) is_limited: bool,
}

impl Page {
    /// Returns the page of a list, whose items are in the order of their keys. A key that is not
    /// there any longer stands where it would be.
    pub(super) fn of<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> List<T> {
        if let Some(after) = &self.after {
            let same = items.iter().position(|item| key(item) == *after);
            let begin = same.map(|place| place + 1);
            let behind = || items.iter().position(|item| key(item) > *after);
            let begin = begin.or_else(behind).unwrap_or(items.len());
            items.drain(..begin);
        }
        let has_more = self.is_limited && items.len() > self.limit;
        if has_more {
            items.truncate(self.limit);
        }
        let next = items.last().filter(|_| has_more).map(key);
        List { next, ..List::new(items) }
    }
}

/// Which entries of the audit trail are wanted: those with these texts.
#[derive(Clone)]
pub(super) struct Filter {
    who: Option<String>,
    event: Option<String>,
    object: Option<String>,
    result: Option<String>,
}

impl Filter {
    /// Returns whether an entry is wanted. A principal may be given by its name alone, an event by
    /// its noun: `domain`, or `domain.`.
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let is =
            |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|one| one == text);
        let begins = |wanted: &str| {
            let rest = entry.event.strip_prefix(wanted.trim_end_matches('.'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let name = entry.who.split_once(' ').map_or("", |(_, name)| name);
        (is(&self.who, &entry.who) || is(&self.who, name))
            && is(&self.object, &entry.object)
            && is(&self.result, &entry.result)
            && self.event.as_deref().is_none_or(begins)
    }
}

impl Parameters {
    /// Returns the requested page.
    pub(super) fn page(&self) -> Result<Page, Problem> {
        let limit = self.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX);
        if limit == 0 {
            return Err(Problem::new(Code::Malformed, "limit=0"));
        }
        Ok(Page { after: self.after.clone(), limit, is_limited: self.limit.is_some() })
    }

    /// Returns which entries of the audit trail are wanted.
    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        if let Some(other) = self.result.as_deref()
            && !AUDIT_RESULTS.contains(&other)
        {
            return Err(Problem::new(Code::Malformed, format!("result={other:?}")));
        }
        Ok(Filter {
            who: self.who.clone(),
            event: self.event.clone(),
            object: self.object.clone(),
            result: self.result.clone(),
        })
    }

    /// Refuses texts that are longer than the contract has them, and reasons that could do harm.
    pub(super) fn check_texts(&self) -> Result<(), Problem> {
        let filters = [&self.who, &self.event, &self.object, &self.kind, &self.search];
        let filters = filters.map(|text| (text.as_deref(), FILTER_BYTES_MAX));
        let after = (self.after.as_deref(), AFTER_BYTES_MAX);
        match filters
            .into_iter()
            .chain([after])
            .find(|(text, max)| text.unwrap_or_default().len() > *max)
        {
            Some((_, max)) => {
                Err(Problem::new(Code::Malformed, format!("a parameter has at most {max} bytes")))
            }
            None => check_reason(self.reason.as_deref()),
        }
    }

    /// Returns what the answer waits for.
    pub(super) fn wait(&self) -> Result<Wait, Problem> {
        match self.wait.as_deref() {
            None | Some("served") => Ok(Wait::Served),
            Some("committed") => Ok(Wait::Committed),
            Some(other) => Err(Problem::new(Code::Malformed, format!("wait={other:?}"))),
        }
    }

    /// Whether a read may be older than what was acknowledged.
    pub(super) fn is_stale(&self) -> Result<bool, Problem> {
        match self.consistency.as_deref() {
            None | Some("linearizable") => Ok(false),
            Some("local") => Ok(true),
            Some(other) => Err(Problem::new(Code::Malformed, format!("consistency={other:?}"))),
        }
    }

    /// Returns how long a caller waits for the answer.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.unwrap_or(TIMEOUT_MS).min(TIMEOUT_MS_MAX))
    }
}

/// Reads the query parameters, which no request may have in another way.
pub(super) fn read(uri: &Uri) -> Result<Parameters, Problem> {
    let read = Query::<Parameters>::try_from_uri(uri);
    let Query(read) = read.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    Ok(read)
}

/// Returns whether a request says that it is about the local scope.
pub(super) fn is_local(uri: &Uri) -> bool {
    read(uri).unwrap_or_default().scope == Some(ApiScope::Local)
}

/// Returns how long a caller waits for the answer.
pub(super) fn timeout(uri: &Uri) -> Duration {
    read(uri).unwrap_or_default().timeout()
}

/// Refuses a reason that is too long, contains a PEM block, or could deceive a terminal. Everyone
/// who reads the history sees the reason.
fn check_reason(reason: Option<&str>) -> Result<(), Problem> {
    let reason = reason.unwrap_or_default();
    if reason.len() > REASON_BYTES_MAX {
        let title = format!("a reason has at most {REASON_BYTES_MAX} bytes");
        return Err(Problem::new(Code::Malformed, title));
    }
    if reason.chars().any(deceives) {
        let title = "a reason is one line without control or invisible characters";
        return Err(Problem::new(Code::Malformed, title));
    }
    match reason.contains("-----BEGIN") {
        true => Err(Problem::new(Code::Malformed, "a reason cannot hold a PEM block")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_also_when_items_go() {
        let page = |after: Option<&str>, limit: Option<usize>, items: &[&str]| {
            let (after, is_limited) = (after.map(str::to_owned), limit.is_some());
            let page = Page { after, limit: limit.unwrap_or(PAGE_MAX), is_limited };
            let list = page.of(items.to_vec(), |item| (*item).to_owned());
            (list.items.concat(), list.next.unwrap_or_default())
        };
        let told = |items: &str, next: &str| (items.to_owned(), next.to_owned());
        let all = ["a", "c", "e"];
        assert_eq!(page(None, None, &all), told("ace", ""));
        assert_eq!(page(None, Some(2), &all), told("ac", "c"));
        assert_eq!(page(Some("c"), Some(2), &all), told("e", ""));
        assert_eq!(page(Some("c"), Some(2), &["a", "e"]), told("e", ""), "the cursor was deleted");
        assert_eq!(page(Some("e"), Some(2), &all), told("", ""));
        assert_eq!(page(Some("b"), Some(1), &["z", "b", "a"]), told("a", ""), "in another order");
    }

    #[test]
    fn a_result_is_one_of_three() {
        let of = |text: &str| Parameters { result: Some(text.to_owned()), ..Parameters::default() };
        assert!(AUDIT_RESULTS.iter().all(|right| of(right).filter().is_ok()));
        assert!(of("null").filter().is_err() && Parameters::default().filter().is_ok());
    }

    #[test]
    fn a_reason_says_nothing_that_deceives() {
        for wrong in ["\u{1b}[2J", "one\ntwo", "\u{202e}", "-----BEGIN KEY"] {
            assert!(check_reason(Some(wrong)).is_err(), "{wrong:?}");
        }
        assert!(check_reason(Some("d\u{f6}rte, #12")).is_ok() && check_reason(None).is_ok());
    }
}
