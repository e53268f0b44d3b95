//! Session keys of State, opened for handshakes.

use std::sync::{Arc, PoisonError};

use conclave_keys::SessionKeys;
use conclave_store::state::State;

use super::Live;

impl Live {
    /// Returns the current session keys; lock-free.
    pub(crate) fn session_keys(&self) -> Arc<SessionKeys> {
        self.shared.session_keys.load_full()
    }

    /// Takes over the session keys of `state`. Runs before the command is reported as served, so
    /// that a reported key is open on this node.
    pub(super) fn follow_session_keys(&self, state: &State) {
        if self.shared.keyring.sealed_reason().is_some() {
            return;
        }
        // Today no two callers run at the same time. The lock keeps this correct if that changes.
        let _one = self.shared.following.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.session_keys().followed(state, &self.shared.keyring);
        self.shared.session_keys.store(Arc::new(keys));
    }
}
