//! What each request needs of its caller: a right, a login, the admin socket, or nothing.
//!
//! A node decides by this table before anything of a request is read; the OpenAPI document tells it.

use crate::{
    grant::Right,
    operation::{self, Method},
    path,
};

/// What a request is about, as far as its path tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The cluster, or something that all domains share.
    Cluster,
    /// The domain that the path names.
    Domain,
    /// The set of trusted certificates that the path names.
    TrustSet,
    /// The domain of the account that the path names.
    Account,
    /// The same, and the owner of the account may do it too.
    OwnAccount,
    /// Some domains: the body names one, or the answer contains only those that the caller may see.
    Some,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
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

const READ: &[Method] = &[Method::Get];
const POST: &[Method] = &[Method::Post];
const CHANGE: &[Method] = &[Method::Post, Method::Put, Method::Patch, Method::Delete];

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
pub const REQUESTS: &[Row] = &[
    (POST, path::LOGIN, Need::Nothing),
    (&[Method::Delete], path::LOGIN, Need::Login),
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
    (&[Method::Put], path::CERTIFICATE, CERTIFICATE),
    (&[Method::Delete], path::CERTIFICATE, DOMAIN),
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
    (READ, path::SMIME, DOMAIN_READ),
    (&[Method::Put, Method::Patch], path::SMIME, CERTIFICATE),
    // Its holder reads the mail of others.
    (CHANGE, path::SMIME_RECOVERY_KEY, needs(Right::Trust, About::Domain)),
    (&[Method::Delete], path::SMIME, DOMAIN),
    (POST, path::SMIME_SELF_SIGN, CERTIFICATE),
    (POST, path::SMIME_REFRESH, CERTIFICATE),
    (POST, path::SMIME_CSR, CERTIFICATE),
    (CHANGE, path::SMIME_CHAIN, CERTIFICATE),
    (READ, path::SMIME_CRL, DOMAIN_READ),
    (READ, path::DOMAIN_ACCOUNTS, DOMAIN_READ),
    (POST, path::ACCOUNTS, needs(Right::Domain, About::Some)),
    (READ, path::ACCOUNT, needs(Right::Read, About::OwnAccount)),
    (CHANGE, path::ACCOUNT, needs(Right::Domain, About::Account)),
    (CHANGE, path::ACCOUNT_KEY, needs(Right::Domain, About::OwnAccount)),
    (POST, path::ACCOUNT_KEY_EXPORT, needs(Right::Domain, About::OwnAccount)),
    (POST, path::ACCOUNT_KEY_RECOVERY, needs(Right::Trust, About::Account)),
    (CHANGE, path::ACCOUNT_INVITATION, needs(Right::Domain, About::Account)),
    (POST, path::ACCOUNT_LOGIN, Need::Nothing),
    (CHANGE, path::ACCOUNT_PASSPHRASE, needs(Right::Domain, About::OwnAccount)),
    (READ, path::ACCOUNT_CERTIFICATE, needs(Right::Read, About::OwnAccount)),
    (POST, path::ACCOUNT_CERTIFICATE, needs(Right::Certificate, About::OwnAccount)),
    (POST, path::ACCOUNT_CERTIFICATE_REVOKE, needs(Right::Certificate, About::OwnAccount)),
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

/// Returns what a request needs; `None` if it is no operation, or the table has no row for it.
pub fn need(method: &str, path: &str) -> Option<Need> {
    operation::find(method, path)?;
    let is_of =
        |(methods, of, _): &&Row| *of == path && methods.iter().any(|one| one.as_str() == method);
    REQUESTS.iter().find(is_of).map(|(_, _, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::OPERATIONS;

    #[test]
    fn every_operation_has_one_row_and_every_row_is_of_one() {
        for operation in OPERATIONS {
            let rows = REQUESTS.iter().filter(|(methods, path, _)| {
                *path == operation.path && methods.contains(&operation.method)
            });
            assert_eq!(rows.count(), 1, "{}", operation.id);
        }
        for (_, path, _) in REQUESTS {
            assert!(OPERATIONS.iter().any(|operation| operation.path == *path), "{path}");
        }
    }
}
