//! Admission of settings of the audit trail.

use conclave_store::{command::Action, record::RowKey};

use super::{Admitted, View};

/// Keeps another number of entries.
pub fn keep_audit(view: &View<'_>, entries: u32) -> Admitted {
    let object = "the audit trail";
    match view.state.audit_kept() == entries {
        true => Admitted::nothing(object, vec![RowKey::AuditKept]),
        false => Admitted::new(Action::KeepAudit(entries), object),
    }
}
