//! Who may do what: the rights of each role, and the right that each action needs.
//!
//! What a request needs is `conclave_api::need`; a request without a row there is refused. A change
//! is judged twice: by its path, before anything is read, and by its action, which knows the domain
//! that it is about.

mod access;
mod names;
#[cfg(test)]
mod of_callers;

use axum::http::Method;
use conclave_api::need::Need;
use conclave_store::{
    command::{AccountAction, Action},
    record::{Right, Role},
};

pub use access::{Access, Owned, is_from_here, is_proved_user};
pub use names::{limit_text, shown_grant, shown_right, shown_role};
pub(crate) use names::{right, role};

/// The rights of each role.
pub const ROLES: [(Role, &[Right], &str); 4] = [
    (Role::Viewer, &[Right::Read], "reads what is not secret"),
    (
        Role::Operator,
        &[Right::Read, Right::Domain, Right::Certificate],
        "cares for domains, their keys and certificates",
    ),
    (
        Role::Admin,
        &[
            Right::Read,
            Right::Domain,
            Right::Certificate,
            Right::Listener,
            Right::Tls,
            Right::Cluster,
            Right::Backup,
            Right::Audit,
        ],
        "cares for the cluster, its listeners and its TLS settings as well",
    ),
    (
        Role::Security,
        &[Right::Read, Right::Trust, Right::Keyring, Right::Join, Right::Audit, Right::User],
        "decides who may do what, what is trusted, and which node joins",
    ),
];

/// Returns what a request needs; `None` if the table has no row for it.
pub fn need(method: &Method, matched: &str) -> Option<Need> {
    // The answer to HEAD is that to GET without its body.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    conclave_api::need::need(method.as_str(), matched)
}

/// Returns the right that an action needs; `None` for what only nodes order.
pub(crate) fn of_action(action: &Action) -> Option<Right> {
    Some(match action {
        Action::CreateDomain(_)
        | Action::SetDomain(_)
        | Action::DeleteDomain(_)
        | Action::RenameDomain(..)
        | Action::RollbackDomain(..)
        | Action::SetKey(..)
        | Action::RemoveKey(..)
        | Action::SetPendingKey(..)
        | Action::RemovePendingKey(..)
        | Action::RemoveCertificate(..)
        | Action::SetClientAuth(..) => Right::Domain,
        Action::SetCertificate(_)
        | Action::SetChain(..)
        | Action::RemoveChain(..)
        | Action::StartCanary(_)
        | Action::EndCanary(..) => Right::Certificate,
        Action::AddTrusted(..)
        | Action::RemoveTrusted(..)
        | Action::AddCrlPart(..)
        | Action::AddLongCrl(..) => Right::Trust,
        Action::AddListener(_)
        | Action::RemoveListener(_)
        | Action::SetListener(_)
        | Action::PutListener(_) => Right::Listener,
        Action::SetTlsSettings(_) | Action::FlushSessions => Right::Tls,
        Action::SetMember(_) | Action::RemoveMember(_) | Action::SetLevel(_) => Right::Cluster,
        Action::CreateJoinToken(..) => Right::Join,
        // A join token is ended with the right to make one.
        Action::RevokeTokens(revoke) if revoke.access.is_empty() => Right::Join,
        Action::RotateKeyring(_)
        | Action::TurnKeyring(_)
        | Action::RotateAuthority(_)
        | Action::ForgetAuthority => Right::Keyring,
        Action::NoteBackup(_) => Right::Backup,
        Action::CreateAccessToken(..)
        | Action::AddAccessToken(..)
        | Action::GrantToken(_)
        | Action::RevokeAccessToken(_)
        | Action::RevokeTokens(_)
        | Action::PutUser(_)
        | Action::RemoveUser(_)
        | Action::KeepAudit(_) => Right::User,
        Action::Account(action) => of_account_action(action),
        Action::FoundCluster(_)
        | Action::RedeemJoinToken(_)
        | Action::Join(_)
        | Action::PublishSessionKey(..)
        | Action::ActivateSessionKey(..)
        | Action::SetMainDomain(..)
        | Action::Reseal(_)
        | Action::DropGenerations(_)
        | Action::BeginRestore
        | Action::RestoreRows(_)
        | Action::FinishRestore
        | Action::NoteAudit(_)
        | Action::CutAudit(_) => return None,
    })
}

/// Returns the right that a change of an S/MIME issuer or an account needs.
fn of_account_action(action: &AccountAction) -> Right {
    match action {
        AccountAction::RemoveSmimeIssuer(_)
        | AccountAction::CreateAccount(_)
        | AccountAction::DeleteAccount(_)
        | AccountAction::SetAccountKey(_)
        | AccountAction::RelockAccount(_)
        | AccountAction::InviteOwner(_)
        | AccountAction::EnterAccount(_) => Right::Domain,
        AccountAction::SetSmimeIssuer(_)
        | AccountAction::SetCrlUrl(..)
        | AccountAction::SetAccountCertificate(_)
        | AccountAction::RevokeAccountCertificate(_) => Right::Certificate,
        AccountAction::SetRecoveryKey(..) => Right::Trust,
    }
}

#[cfg(test)]
mod tests {
    use conclave_api::path;

    use super::*;

    #[test]
    fn what_has_no_row_is_for_nobody() {
        assert_eq!(need(&Method::GET, "/v1/nowhere"), None);
        assert_eq!(need(&Method::DELETE, path::STATUS), None);
        // The row has every kind of change, the path one of them.
        assert!(
            need(&Method::PATCH, path::TLS).is_some() && need(&Method::PUT, path::TLS).is_none()
        );
        assert_eq!(need(&Method::HEAD, path::STATUS), need(&Method::GET, path::STATUS));
    }
}
