//! The step from applied to served: opens sockets, proves domains, then reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

use conclave_store::record::{Listener, ListenerPolicy};
use conclave_store::{
    id::{DomainName, LogIndex},
    scope::Scope,
};

use super::{Live, Pending, Report, limits::FAILED_MAX};

/// The listening sockets of this node. A port, so that the index does not depend on `socket`.
pub trait Sockets: Send + Sync + 'static {
    /// Opens and closes sockets until they match `listeners`. Returns false if one cannot be
    /// opened.
    fn reconcile(
        &self,
        listeners: Vec<(Listener, ListenerPolicy)>,
    ) -> impl Future<Output = bool> + Send;
}

/// Keeps the newest failures and returns the command from which `failed` is complete.
fn complete_from(
    before: LogIndex,
    rebuilt: Option<LogIndex>,
    failed: &mut BTreeSet<LogIndex>,
) -> LogIndex {
    let after = |index: LogIndex| LogIndex(index.0.saturating_add(1));
    let mut from = before.max(rebuilt.map(after).unwrap_or_default());
    while failed.len() > FAILED_MAX {
        let forgotten = failed.pop_first();
        from = from.max(forgotten.map(after).unwrap_or_default());
    }
    from
}

impl Live {
    /// Serves pending commands until it is dropped. Run only one feed at a time.
    pub async fn feed(self, sockets: impl Sockets) {
        loop {
            match self.take_pending() {
                Some((scope, pending)) => self.serve(scope, pending, &sockets).await,
                None => self.shared.wake.notified().await,
            }
        }
    }

    fn take_pending(&self) -> Option<(Scope, Pending)> {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.pop_first()
    }

    async fn serve(&self, scope: Scope, pending: Pending, sockets: &impl Sockets) {
        let mut failed: BTreeSet<LogIndex> = BTreeSet::new();
        if scope == Scope::Shared && !pending.listeners.is_empty() {
            let state = &pending.state;
            let listeners = state.listeners();
            let listeners =
                listeners.map(|(name, one)| (one.clone(), state.listener_policy(name))).collect();
            if !sockets.reconcile(listeners).await {
                failed.extend(&pending.listeners);
            }
        }
        let (live, domains) = (self.clone(), pending.domains);
        if domains.keys().any(|name| self.needs_handshake(scope, name)) {
            let unproved = tokio::task::spawn_blocking(move || live.unproved(scope, domains));
            failed.extend(unproved.await.unwrap_or_default());
        } else {
            failed.extend(live.unproved(scope, domains));
        }
        if scope == Scope::Shared {
            self.wait_settled(pending.index).await;
            if let Some(since) = pending.since {
                self.shared.serving.observe(since.elapsed());
            }
        }
        self.report_sender(scope).send_modify(|report| {
            failed.extend(&report.failed);
            let failed_from = complete_from(report.failed_from, pending.rebuilt, &mut failed);
            *report = Report {
                index: pending.index,
                failed,
                failed_from,
                digest: pending.state.digest(),
                rows: pending.state.row_count(),
            };
        });
    }

    /// Waits until the log durably records that the commands are committed. A reported command must
    /// be served after any restart, from the first handshake on.
    async fn wait_settled(&self, index: LogIndex) {
        let settled = self.shared.settled.load_full();
        if let Some(mut settled) = settled.map(|settled| (*settled).clone()) {
            // A closed channel means that the log has stopped, and then the node stops too.
            let _ = settled.wait_for(|settled| *settled >= index.0).await;
        }
    }

    /// Returns the commands of domains not served as State requires.
    fn unproved(
        &self,
        scope: Scope,
        domains: BTreeMap<DomainName, BTreeSet<LogIndex>>,
    ) -> BTreeSet<LogIndex> {
        let mut failed = BTreeSet::new();
        for (name, indexes) in domains {
            if let Err(error) = self.prove(scope, &name) {
                tracing::error!(event = "live.not_served", domain = %name, %error);
                failed.extend(indexes);
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_is_forgotten_moves_the_lowest_index_that_is_told_of() {
        let mut failed: BTreeSet<LogIndex> = (1..=100).map(LogIndex).collect();
        assert_eq!(complete_from(LogIndex(0), None, &mut failed), LogIndex(37));
        assert_eq!((failed.len(), failed.first()), (FAILED_MAX, Some(&LogIndex(37))));
        let mut few = BTreeSet::from([LogIndex(120)]);
        assert_eq!(complete_from(LogIndex(37), None, &mut few), LogIndex(37));
        let rebuilt = Some(LogIndex(110));
        assert_eq!(complete_from(LogIndex(37), rebuilt, &mut few), LogIndex(111), "unproved");
    }
}
