//! Session keys of State, opened for handshakes; and what a node that is sealed at run time forgets.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use conclave_keys::SessionKeys;
use conclave_store::{id::LogIndex, scope::Scope, state::State};

use super::Live;

impl Live {
    /// Returns the current session keys; lock-free.
    pub(crate) fn session_keys(&self) -> Arc<SessionKeys> {
        self.shared.session_keys.load_full()
    }

    /// Takes over the session keys of `state`. Runs before the command is reported as served, so
    /// that a reported key is open on this node.
    pub(super) fn follow_session_keys(&self, state: &State) {
        if self.shared.keyring.is_sealed() {
            return;
        }
        // Today no two callers run at the same time. The lock keeps this correct if that changes.
        let _one = self.shared.following.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.session_keys().followed(state, &self.shared.keyring);
        self.shared.session_keys.store(Arc::new(keys));
    }

    /// Forgets every private key and session key, after the keyring was sealed. Handshakes that
    /// need one are refused from now on; open connections stay.
    pub fn forget_keys(&self) {
        self.shared.opened.clear();
        self.shared.prepared.clear();
        let _one = self.shared.following.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.session_keys.store(Arc::default());
    }

    /// Opens the session keys of `state`, after the keyring was unsealed. Forgets which commands
    /// could not be served, as a restart does: most of them can be now.
    pub fn use_keys(&self, state: &State) {
        self.follow_session_keys(state);
        for scope in [Scope::Shared, Scope::Local] {
            self.report_sender(scope).send_modify(|report| {
                report.failed = BTreeSet::new();
                report.failed_from = LogIndex(report.index.0.saturating_add(1));
            });
        }
    }
}
