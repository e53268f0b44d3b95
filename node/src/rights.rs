//! Who may do what: the rights of each role, and the right that each request and each action needs.
//!
//! A request without a row here is refused. A change is judged twice: by its path, before anything
//! is read, and by its action, which knows the domain that it is about.

mod access;
mod names;
#[cfg(test)]
mod of_callers;

use axum::http::Method;
use conclave_api::path;
use conclave_store::{
    command::Action,
    record::{Right, Role},
};

pub(crate) use access::{About, Access, is_from_here, is_proved_user};
pub(crate) use names::{limit_text, right, role, shown_grant, shown_right, shown_role};

/// The rights of each role.
pub(crate) const ROLES: [(Role, &[Right], &str); 4] = [
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

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is for everybody.
    Nothing,
    /// A login of any kind.
    Login,
    /// A right.
    Right(Right, About),
    /// The admin socket.
    Socket,
}

/// A row of the table of requests.
type Row = (&'static [Method], &'static str, Need);

const READ: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const CHANGE: &[Method] = &[Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

const fn needs(right: Right, about: About) -> Need {
    Need::Right(right, about)
}

const DOMAIN_READ: Need = needs(Right::Read, About::Domain);
const DOMAIN: Need = needs(Right::Domain, About::Domain);
const CERTIFICATE: Need = needs(Right::Certificate, About::Domain);
const CLUSTER_READ: Need = needs(Right::Read, About::Cluster);
const CLUSTER: Need = needs(Right::Cluster, About::Cluster);
const KEYRING: Need = needs(Right::Keyring, About::Cluster);
const BACKUP: Need = needs(Right::Backup, About::Cluster);
const LISTENER: Need = needs(Right::Listener, About::Cluster);
const TLS: Need = needs(Right::Tls, About::Cluster);
const USER: Need = needs(Right::User, About::Cluster);
const JOIN: Need = needs(Right::Join, About::Cluster);
const AUDIT: Need = needs(Right::Audit, About::Cluster);

/// Every request with what it needs.
pub(crate) const REQUESTS: &[Row] = &[
    (POST, path::LOGIN, Need::Nothing),
    (&[Method::DELETE], path::LOGIN, Need::Login),
    (READ, path::OPENAPI, Need::Login),
    (READ, path::WHO_AM_I, Need::Login),
    (READ, path::ROLES, Need::Login),
    (READ, path::STATUS, CLUSTER_READ),
    // Those with a limit get the events of their domains.
    (READ, path::EVENTS, needs(Right::Read, About::Some)),
    (READ, path::LOAD, CLUSTER_READ),
    (READ, path::NODES, CLUSTER_READ),
    (CHANGE, path::NODE, CLUSTER),
    // Which private keys a node could open says what to renew first.
    (READ, path::NODE_EXPOSED, CLUSTER_READ),
    (READ, path::NODE_DRAIN, CLUSTER_READ),
    (CHANGE, path::NODE_DRAIN, CLUSTER),
    (POST, path::NODE_TAKE_OVER, Need::Socket),
    (POST, path::CLUSTER, Need::Socket),
    (POST, path::CLUSTER_JOIN, Need::Socket),
    (POST, path::CLUSTER_TRANSFER_LEADER, CLUSTER),
    (READ, path::CLUSTER_UPGRADE, CLUSTER_READ),
    (POST, path::CLUSTER_FINALIZE, CLUSTER),
    (POST, path::CLUSTER_ROTATE_AUTHORITY, KEYRING),
    (POST, path::CLUSTER_FORGET_AUTHORITY, KEYRING),
    (POST, path::BACKUP, BACKUP),
    (CHANGE, path::BACKUP_LAST, BACKUP),
    (POST, path::RESTORE, Need::Socket),
    (POST, path::RESTORE_ROWS, Need::Socket),
    (POST, path::RESTORE_FINISH, Need::Socket),
    (READ, path::JOIN_TOKENS, JOIN),
    (POST, path::JOIN_TOKENS, JOIN),
    (CHANGE, path::JOIN_TOKEN, JOIN),
    (READ, path::TOKENS, USER),
    (POST, path::TOKENS, USER),
    (CHANGE, path::TOKEN, USER),
    (READ, path::USERS, USER),
    (POST, path::USERS, USER),
    (READ, path::USER, USER),
    (CHANGE, path::USER, USER),
    (CHANGE, path::USER_CODE, USER),
    (READ, path::AUDIT, AUDIT),
    (READ, path::AUDIT_VERIFY, AUDIT),
    // Fewer entries kept hides what was done, so it is for those who decide who may do what.
    (CHANGE, path::AUDIT_KEEP, USER),
    (READ, path::KEYRING, CLUSTER_READ),
    (POST, path::KEYRING_ROTATE, KEYRING),
    (READ, path::KEYRING_UNLOCKING, CLUSTER_READ),
    (POST, path::KEYRING_SEAL, KEYRING),
    (POST, path::KEYRING_UNSEAL, KEYRING),
    (POST, path::KEYRING_REKEY, Need::Socket),
    (READ, path::DOMAINS, needs(Right::Read, About::Some)),
    (POST, path::DOMAINS, needs(Right::Domain, About::Some)),
    (READ, path::DOMAIN, DOMAIN_READ),
    (CHANGE, path::DOMAIN, DOMAIN),
    (READ, path::KEY, DOMAIN_READ),
    (CHANGE, path::KEY, DOMAIN),
    (POST, path::KEY_GENERATE, DOMAIN),
    (CHANGE, path::KEY_PENDING, DOMAIN),
    (READ, path::KEY_TEST, DOMAIN_READ),
    (READ, path::CERTIFICATE, DOMAIN_READ),
    (&[Method::PUT], path::CERTIFICATE, CERTIFICATE),
    (&[Method::DELETE], path::CERTIFICATE, DOMAIN),
    (POST, path::CERTIFICATE_SELF_SIGN, CERTIFICATE),
    (POST, path::CERTIFICATE_REFRESH, CERTIFICATE),
    (POST, path::CANARY, CERTIFICATE),
    (READ, path::CSR, DOMAIN_READ),
    (POST, path::CSR, CERTIFICATE),
    (POST, path::DOMAIN_RENAME, DOMAIN),
    (READ, path::DOMAIN_HISTORY, DOMAIN_READ),
    (POST, path::DOMAIN_HISTORY, DOMAIN),
    (READ, path::CHAIN, DOMAIN_READ),
    (CHANGE, path::CHAIN, CERTIFICATE),
    (READ, path::CLIENT_AUTH, DOMAIN_READ),
    (CHANGE, path::CLIENT_AUTH, DOMAIN),
    (READ, path::TLS, CLUSTER_READ),
    (CHANGE, path::TLS, TLS),
    (READ, path::TLS_SERVED, CLUSTER_READ),
    (READ, path::TLS_SESSIONS, CLUSTER_READ),
    (POST, path::TLS_FLUSH, TLS),
    (READ, path::LISTENERS, CLUSTER_READ),
    (POST, path::LISTENERS, LISTENER),
    (READ, path::LISTENER, CLUSTER_READ),
    (CHANGE, path::LISTENER, LISTENER),
    (READ, path::TRUST, needs(Right::Read, About::TrustSet)),
    (POST, path::TRUST, needs(Right::Trust, About::TrustSet)),
    (POST, path::TRUST_REMOVE, needs(Right::Trust, About::TrustSet)),
];

/// Returns what a request needs; `None` if the table has no row for it.
pub(crate) fn need(method: &Method, matched: &str) -> Option<Need> {
    // The answer to HEAD is that to GET without its body.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let row =
        REQUESTS.iter().find(|(methods, path, _)| *path == matched && methods.contains(method));
    row.map(|(_, _, need)| *need)
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

#[cfg(test)]
mod tests {
    use conclave_api::operation::OPERATIONS;

    use super::*;

    #[test]
    fn every_operation_has_one_row_and_every_row_is_of_one() {
        for operation in OPERATIONS {
            let method: Method = operation.method.as_str().parse().unwrap();
            let rows = REQUESTS
                .iter()
                .filter(|(methods, path, _)| *path == operation.path && methods.contains(&method));
            assert_eq!(rows.count(), 1, "{}", operation.id);
        }
        for (_, path, _) in REQUESTS {
            assert!(OPERATIONS.iter().any(|operation| operation.path == *path), "{path}");
        }
    }

    #[test]
    fn what_has_no_row_is_for_nobody() {
        assert_eq!(need(&Method::GET, "/v1/nowhere"), None);
        assert_eq!(need(&Method::DELETE, path::STATUS), None);
        assert_eq!(need(&Method::HEAD, path::STATUS), need(&Method::GET, path::STATUS));
    }
}
