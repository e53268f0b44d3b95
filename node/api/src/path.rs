//! Paths, headers and query parameters of the admin API.

/// `GET`: this contract as an OpenAPI 3.1 document.
pub const OPENAPI: &str = "/v1/openapi.json";
/// `GET`: [`crate::status::Status`].
pub const STATUS: &str = "/v1/status";
/// `GET`: [`crate::event::Event`]s, as `text/event-stream`.
pub const EVENTS: &str = "/v1/events";
/// `POST` [`crate::cluster::Init`]: founds a cluster with this node as its first member.
pub const CLUSTER: &str = "/v1/cluster";
/// `POST` [`crate::cluster::Join`]: makes this node a member of another node's cluster.
pub const CLUSTER_JOIN: &str = "/v1/cluster/join";
/// `POST` [`crate::cluster::TransferLeader`]: [`crate::cluster::LeaderTransfer`].
pub const CLUSTER_TRANSFER_LEADER: &str = "/v1/cluster/transfer-leader";
/// `GET`: [`crate::cluster::Upgrade`].
pub const CLUSTER_UPGRADE: &str = "/v1/cluster/upgrade";
/// `POST`: finalizes the upgrade.
pub const CLUSTER_FINALIZE: &str = "/v1/cluster/upgrade/finalize";
/// `POST`: replaces the authority of the cluster; the one before stays trusted.
pub const CLUSTER_ROTATE_AUTHORITY: &str = "/v1/cluster/rotate-authority";
/// `POST`: ends the trust in the authority before the present one.
pub const CLUSTER_FORGET_AUTHORITY: &str = "/v1/cluster/rotate-authority/finish";
/// `POST` [`crate::backup::Create`]: the backup, as a stream of bytes.
pub const BACKUP: &str = "/v1/backup";
/// `PUT` [`crate::backup::LastBackup`]: notes that a backup is complete and kept.
pub const BACKUP_LAST: &str = "/v1/backup/last";
/// `POST` [`crate::backup::Restore`]: founds a cluster for the rows of a backup.
pub const RESTORE: &str = "/v1/restore";
/// `POST` of rows as bytes: [`crate::backup::Restored`].
pub const RESTORE_ROWS: &str = "/v1/restore/rows";
/// `POST`: ends the restore, [`crate::backup::Restored`].
pub const RESTORE_FINISH: &str = "/v1/restore/finish";
/// `GET`: list of [`crate::load::NodeLoad`].
pub const LOAD: &str = "/v1/load";
/// `GET`: list of [`crate::node::Node`].
pub const NODES: &str = "/v1/nodes";
/// `PATCH` [`crate::node::Set`]; `DELETE`.
pub const NODE: &str = "/v1/nodes/{name}";
/// `GET`: list of [`crate::node::Exposed`].
pub const NODE_EXPOSED: &str = "/v1/nodes/{name}/exposed";
/// `GET`, `POST` [`crate::node::Drain`]: [`crate::node::Drained`]; `DELETE`: ends the drain.
pub const NODE_DRAIN: &str = "/v1/nodes/{name}/drain";
/// `POST` [`crate::node::TakeOver`], with an upgrade to [`TAKE_OVER_PROTOCOL`]: the next process of
/// the answering node takes its listening sockets. At the admin socket only.
pub const NODE_TAKE_OVER: &str = "/v1/node/take-over";
/// Protocol of a take-over after the HTTP upgrade.
pub const TAKE_OVER_PROTOCOL: &str = "conclave-take-over/1";
/// `GET`: list of [`crate::join_token::Known`]; `POST` [`crate::join_token::Create`].
pub const JOIN_TOKENS: &str = "/v1/join-tokens";
/// `DELETE`.
pub const JOIN_TOKEN: &str = "/v1/join-tokens/{id}";
/// `GET`: list of [`crate::token::Token`]; `POST` [`crate::token::Create`].
pub const TOKENS: &str = "/v1/tokens";
/// `DELETE`: [`crate::token::Revoked`].
pub const TOKEN: &str = "/v1/tokens/{id}";
/// `GET`: [`crate::grant::WhoAmI`].
pub const WHO_AM_I: &str = "/v1/whoami";
/// `GET`: list of [`crate::grant::RoleRights`].
pub const ROLES: &str = "/v1/roles";
/// `POST` [`crate::user::Login`]: [`crate::user::Session`], without a token; `DELETE`: ends the
/// session of the caller.
pub const LOGIN: &str = "/v1/login";
/// `GET`: list of [`crate::user::User`]; `POST` [`crate::user::Create`].
pub const USERS: &str = "/v1/users";
/// `GET`: [`crate::user::User`]; `PATCH` [`crate::user::Set`]; `DELETE`.
pub const USER: &str = "/v1/users/{name}";
/// `POST`: makes a secret for one-time codes, [`crate::user::NewCode`]; `DELETE`: no code is asked
/// for any longer.
pub const USER_CODE: &str = "/v1/users/{name}/code";
/// `GET`: list of [`crate::audit::Entry`], the last one first.
pub const AUDIT: &str = "/v1/audit";
/// `GET`: [`crate::audit::Verified`].
pub const AUDIT_VERIFY: &str = "/v1/audit/verify";
/// `PUT` [`crate::audit::Keep`].
pub const AUDIT_KEEP: &str = "/v1/audit/keep";
/// `GET`: [`crate::keyring::Keyring`].
pub const KEYRING: &str = "/v1/keyring";
/// `POST`: makes a new generation.
pub const KEYRING_ROTATE: &str = "/v1/keyring/rotate";
/// `GET`: [`crate::keyring::Unlocking`] of the answering node. Needs no cluster, and works while the
/// node is sealed.
pub const KEYRING_UNLOCKING: &str = "/v1/keyring/unlocking";
/// `POST`: the answering node forgets all private keys, [`crate::keyring::Unlocking`].
pub const KEYRING_SEAL: &str = "/v1/keyring/seal";
/// `POST` [`crate::keyring::Unseal`]: the answering node opens the keyring again,
/// [`crate::keyring::Unlocking`].
pub const KEYRING_UNSEAL: &str = "/v1/keyring/unseal";
/// `POST` [`crate::keyring::Rekey`]: the secrets of the answering node open with something else,
/// [`crate::keyring::Rekeyed`]. At the admin socket only.
pub const KEYRING_REKEY: &str = "/v1/keyring/rekey";
/// `GET`: list of [`crate::domain::Domain`]; `POST` [`crate::domain::Create`].
pub const DOMAINS: &str = "/v1/domains";
/// `GET`, `PATCH` [`crate::domain::Set`], `DELETE`.
pub const DOMAIN: &str = "/v1/domains/{name}";
/// `GET`: [`crate::key::Key`]; `PUT` [`crate::key::Import`]; `DELETE`.
pub const KEY: &str = "/v1/domains/{name}/key";
/// `POST` [`crate::key::Generate`].
pub const KEY_GENERATE: &str = "/v1/domains/{name}/key/generate";
/// `POST` [`crate::key::Generate`]: a key that waits for its certificate; `DELETE`.
pub const KEY_PENDING: &str = "/v1/domains/{name}/key/pending";
/// `GET`: [`crate::certificate::Certificate`]; `PUT` [`crate::certificate::Import`]; `DELETE`.
pub const CERTIFICATE: &str = "/v1/domains/{name}/certificate";
/// `POST` [`crate::certificate::SelfSign`].
pub const CERTIFICATE_SELF_SIGN: &str = "/v1/domains/{name}/certificate/self-sign";
/// `POST` [`crate::certificate::Refresh`].
pub const CERTIFICATE_REFRESH: &str = "/v1/domains/{name}/certificate/refresh";
/// `POST` [`crate::canary::End`]: ends the canary of the domain.
pub const CANARY: &str = "/v1/domains/{name}/canary";
/// `GET`: list of [`crate::key::Test`], one for each node.
pub const KEY_TEST: &str = "/v1/domains/{name}/key/test";
/// `GET`: [`crate::csr::Choices`]; `POST` [`crate::certificate::SelfSign`]: [`crate::csr::Csr`].
pub const CSR: &str = "/v1/domains/{name}/csr";
/// `POST` [`crate::domain::Rename`].
pub const DOMAIN_RENAME: &str = "/v1/domains/{name}/rename";
/// `GET`: list of [`crate::domain::DomainVersion`]; `POST` [`crate::domain::Rollback`].
pub const DOMAIN_HISTORY: &str = "/v1/domains/{name}/history";
/// `GET`: [`crate::chain::Chain`]; `PUT` [`crate::chain::Set`]; `DELETE`.
pub const CHAIN: &str = "/v1/domains/{name}/chain";
/// `GET`: [`crate::client_auth::Shown`]; `PUT` [`crate::client_auth::Set`]; `DELETE`.
pub const CLIENT_AUTH: &str = "/v1/domains/{name}/client-auth";
/// `GET`: [`crate::tls::Settings`]; `PATCH` [`crate::tls::Set`].
pub const TLS: &str = "/v1/tls";
/// `GET`: [`crate::tls::Served`] for a server name and an address. `-` means none.
pub const TLS_SERVED: &str = "/v1/tls/served/{name}/{ip}";
/// `GET`: [`crate::tls::Sessions`].
pub const TLS_SESSIONS: &str = "/v1/tls/sessions";
/// `POST`: ends resumption of all existing sessions.
pub const TLS_FLUSH: &str = "/v1/tls/flush";
/// `GET`: list of [`crate::listener::Listener`]; `POST` [`crate::listener::Add`].
pub const LISTENERS: &str = "/v1/listeners";
/// `GET`: [`crate::listener::Listener`]; `PATCH` [`crate::listener::Set`]; `DELETE`.
pub const LISTENER: &str = "/v1/listeners/{name}";

/// `GET`: [`crate::smime::Issuer`]; `PUT` [`crate::smime::Import`]; `PATCH` [`crate::smime::Set`];
/// `DELETE`.
pub const SMIME: &str = "/v1/domains/{name}/smime";
/// `POST` [`crate::smime::Subject`].
pub const SMIME_SELF_SIGN: &str = "/v1/domains/{name}/smime/self-sign";
/// `POST` [`crate::certificate::Refresh`].
pub const SMIME_REFRESH: &str = "/v1/domains/{name}/smime/refresh";
/// `POST` [`crate::smime::Subject`]: [`crate::csr::Csr`]. Makes the issuer's key if there is none.
pub const SMIME_CSR: &str = "/v1/domains/{name}/smime/csr";
/// `PUT` [`crate::smime::Chain`].
pub const SMIME_CHAIN: &str = "/v1/domains/{name}/smime/chain";
/// `GET`: [`crate::smime::Crl`].
pub const SMIME_CRL: &str = "/v1/domains/{name}/smime/crl";
/// `PUT` [`crate::smime::SetRecoveryKey`]; `DELETE`.
pub const SMIME_RECOVERY_KEY: &str = "/v1/domains/{name}/smime/recovery-key";
/// `GET`: list of [`crate::account::Account`].
pub const DOMAIN_ACCOUNTS: &str = "/v1/domains/{name}/accounts";
/// `POST` [`crate::account::Create`].
pub const ACCOUNTS: &str = "/v1/accounts";
/// `GET`: [`crate::account::Account`]; `DELETE`.
pub const ACCOUNT: &str = "/v1/accounts/{name}";
/// `POST` [`crate::account::Generate`]; `PUT` [`crate::account::Import`].
pub const ACCOUNT_KEY: &str = "/v1/accounts/{name}/key";
/// `POST` [`crate::account::Export`]: [`crate::account::Exported`].
pub const ACCOUNT_KEY_EXPORT: &str = "/v1/accounts/{name}/key/export";
/// `POST` [`crate::account::Recover`]: [`crate::account::SealedCopy`].
pub const ACCOUNT_KEY_RECOVERY: &str = "/v1/accounts/{name}/key/recovery";
/// `POST` [`crate::account::Invite`]: [`crate::account::Invitation`]; `DELETE`.
pub const ACCOUNT_INVITATION: &str = "/v1/accounts/{name}/invitation";
/// `POST` [`crate::account::Login`]: [`crate::user::Session`].
pub const ACCOUNT_LOGIN: &str = "/v1/accounts/{name}/login";
/// `PUT` [`crate::account::Passphrase`].
pub const ACCOUNT_PASSPHRASE: &str = "/v1/accounts/{name}/passphrase";
/// `GET`: [`crate::account::Issued`]; `POST` [`crate::account::Issue`].
pub const ACCOUNT_CERTIFICATE: &str = "/v1/accounts/{name}/certificate";
/// `POST` [`crate::account::Revoke`].
pub const ACCOUNT_CERTIFICATE_REVOKE: &str = "/v1/accounts/{name}/certificate/revoke";

/// `GET`: list of [`crate::trust::Trusted`], including inherited ones; `POST`
/// [`crate::trust::Add`]. `{name}` is `builtin`, `server`, `cluster` or `domain:NAME`.
pub const TRUST: &str = "/v1/trust/{name}";
/// `POST` [`crate::trust::Remove`].
pub const TRUST_REMOVE: &str = "/v1/trust/{name}/remove";

/// Puts `name` into a path with `{name}` or `{id}`. Valid names need no escaping; any other byte is
/// percent-encoded, so that no input adds a path segment.
pub fn with_name(path: &str, name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    path.replace("{name}", &escaped).replace("{id}", &escaped)
}

/// Path of the page where the owner of an account uses an invitation.
pub const ENTER_PAGE: &str = "/account/enter/{name}";

/// Returns the address of that page for an invitation; `url` is where owners reach their pages.
pub fn invitation_url(url: &str, address: &str, invitation: &str) -> String {
    format!("{url}{}?invitation={invitation}", with_name(ENTER_PAGE, address))
}

/// Request header: the client's id of a change, see `--operation`. Every retry sends the same id.
pub const OPERATION_HEADER: &str = "idempotency-key";
/// Request header: the expected version, as `"17"`.
pub const IF_MATCH_HEADER: &str = "if-match";
/// Query parameter of changes: `served` (default) or `committed`.
pub const WAIT_PARAMETER: &str = "wait";
/// Query parameter of changes: milliseconds until the answer at the latest, 15000 if not given.
pub const TIMEOUT_PARAMETER: &str = "timeout_ms";
/// Query parameter of changes: a reason, which the history shows.
pub const REASON_PARAMETER: &str = "reason";
/// Query parameter of changes: with `true`, only the effects are answered.
pub const DRY_RUN_PARAMETER: &str = "dry_run";
/// Query parameter of changes: with `true`, a change that is not in use on every node is a failure.
pub const REQUIRE_ALL_PARAMETER: &str = "require_all";
/// Query parameter of requests about one key: `ec` or `rsa`.
pub const FAMILY_PARAMETER: &str = "family";
/// Query parameter of changes: with `true`, adding what exists already is no error.
pub const IF_MISSING_PARAMETER: &str = "if_missing";
/// Query parameter of changes: with `true`, removing what does not exist is no error.
pub const IF_EXISTS_PARAMETER: &str = "if_exists";
/// Query parameter of signing requests: with `true`, the request is for the pending key.
pub const PENDING_PARAMETER: &str = "pending";
/// Query parameter of lists of trusted certificates: with `true`, without inherited ones.
pub const OWN_PARAMETER: &str = "own";
/// Query parameter of reads: `linearizable` (default) or `local`.
pub const CONSISTENCY_PARAMETER: &str = "consistency";
/// Query parameter of all requests about domains: `shared` or `local`. Without it the shared domain
/// is used if it exists.
pub const SCOPE_PARAMETER: &str = "scope";
/// Query parameter of long lists: page size, [`crate::limits::PAGE_MAX`] by default and at
/// most.
pub const LIMIT_PARAMETER: &str = "limit";
/// Query parameter of long lists: the page begins after this name. The previous page gives it as
/// `next`.
pub const AFTER_PARAMETER: &str = "after";
/// Query parameter of the events: the wanted kinds, with commas between them.
pub const KIND_PARAMETER: &str = "kind";
/// Request header of the events: the `id` of the last one that was read.
pub const LAST_EVENT_HEADER: &str = "last-event-id";
/// Request header: the answer must contain everything up to this index of the shared scope.
pub const MIN_INDEX_HEADER: &str = "conclave-min-index";
/// Response header: name of the answering node.
pub const NODE_HEADER: &str = "conclave-node";
/// Response header: name of the leader, if the answering node knows one.
pub const LEADER_HEADER: &str = "conclave-leader";
/// Response header: index of the shared scope up to which the answer contains everything.
pub const INDEX_HEADER: &str = "conclave-index";
/// Query parameter of reads: the wanted members of the answer, or of the items of a list, with
/// commas between them.
pub const FIELDS_PARAMETER: &str = "fields";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_adds_a_path_segment() {
        assert_eq!(with_name(KEY, "shop.example"), "/v1/domains/shop.example/key");
        assert_eq!(with_name(DOMAIN, "../x y"), "/v1/domains/..%2Fx%20y");
    }
}
