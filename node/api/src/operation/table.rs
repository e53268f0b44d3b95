//! The rows of the table of operations.

use schemars::JsonSchema;

use super::{
    Answer::{self, Document, Stream, Upgrade},
    Body::{self, Bytes, Empty},
    Method::{self, Delete, Get, Patch, Post, Put},
    Operation, Shape,
};
use crate::{
    audit, backup, canary, certificate, chain,
    change::List,
    client_auth, cluster, csr, domain, grant, join_token, key, keyring, listener, load, node,
    parameter::{
        ACT, ACT_OR_TRY, ADDS, AUDIT, CHANGE, CHOSEN, EVENTS, HERE, OF_KEY, OWN, PAGE, PENDING,
        Parameter, READ, READ_AND_MAKE, REMOVES, SCOPED, VERSIONED,
    },
    path, status, tls, token, trust, user,
};

const fn json<T: JsonSchema>() -> Body {
    Body::Json(Shape::of::<T>())
}

const fn object<T: JsonSchema>() -> Answer {
    Answer::Object(Shape::of::<T>())
}

const fn list<T: JsonSchema>() -> Answer {
    Answer::List(Shape::of::<List<T>>())
}

/// Makes a row of the table.
const fn op(
    id: &'static str,
    method: Method,
    path: &'static str,
    summary: &'static str,
    body: Body,
    answer: Answer,
    parameters: &'static [&'static [Parameter]],
) -> Operation {
    Operation { id, method, path, summary, body, answer, parameters }
}

const CHANGED: Answer = Answer::Change;
/// Groups of changes of a domain that exists.
const OF_DOMAIN: &[&[Parameter]] = &[CHANGE, VERSIONED, SCOPED];
/// Groups of changes of one of a domain's keys, and of what belongs to it.
const OF_DOMAIN_KEY: &[&[Parameter]] = &[CHANGE, VERSIONED, SCOPED, OF_KEY];
/// Groups of changes that remove a part of a domain.
const OF_DOMAIN_REMOVES: &[&[Parameter]] = &[CHANGE, VERSIONED, SCOPED, OF_KEY, REMOVES];

/// Every operation, noun by noun.
#[rustfmt::skip]
pub static OPERATIONS: &[Operation] = &[
    op("openapi", Get, path::OPENAPI, "Reads this contract as an OpenAPI 3.1 document.",
        Empty, Document("application/json"), &[]),
    op("status", Get, path::STATUS, "Reads the health of the cluster.",
        Empty, object::<status::Status>(), &[HERE]),

    op("events", Get, path::EVENTS, "Follows what changes, as server-sent events.",
        Empty, Answer::Events, &[EVENTS, SCOPED, ACT]),

    op("load", Get, path::LOAD, "Lists the members with what they have counted.",
        Empty, list::<load::NodeLoad>(), &[HERE]),

    op("nodes", Get, path::NODES, "Lists the members.",
        Empty, list::<node::Node>(), &[HERE, PAGE]),
    op("set_node", Patch, path::NODE, "Changes role or zone of a member.",
        json::<node::Set>(), CHANGED, &[CHANGE]),
    op("remove_node", Delete, path::NODE, "Removes a member.",
        Empty, CHANGED, &[CHANGE, REMOVES]),
    op("exposed", Get, path::NODE_EXPOSED, "Lists the private keys that a member could open, also after it has left.",
        Empty, list::<node::Exposed>(), &[READ, PAGE]),
    op("drained", Get, path::NODE_DRAIN, "Reads the progress of a node's drain.",
        Empty, object::<node::Drained>(), &[HERE]),
    op("drain", Post, path::NODE_DRAIN, "Makes a node take no new connections.",
        json::<node::Drain>(), object::<node::Drained>(), &[ACT]),
    op("resume", Delete, path::NODE_DRAIN, "Makes a node serve again.",
        Empty, object::<node::Drained>(), &[ACT]),
    op("take_over", Post, path::NODE_TAKE_OVER, "Passes the listening sockets on to the next process of the node; at its admin socket only.",
        json::<node::TakeOver>(), Upgrade(path::TAKE_OVER_PROTOCOL), &[]),

    op("init", Post, path::CLUSTER, "Founds a cluster with the answering node as its first member.",
        json::<cluster::Init>(), object::<cluster::Membership>(), &[ACT, ADDS]),
    op("join", Post, path::CLUSTER_JOIN, "Makes the answering node a member of another node's cluster.",
        json::<cluster::Join>(), object::<cluster::Membership>(), &[ACT]),
    op("transfer_leader", Post, path::CLUSTER_TRANSFER_LEADER, "Makes the leader hand over to another voter.",
        json::<cluster::TransferLeader>(), object::<cluster::LeaderTransfer>(), &[ACT_OR_TRY]),
    op("upgrade", Get, path::CLUSTER_UPGRADE, "Reads how far a rolling upgrade is.",
        Empty, object::<cluster::Upgrade>(), &[READ]),
    op("finalize", Post, path::CLUSTER_FINALIZE, "Ends a rolling upgrade.",
        Empty, CHANGED, &[CHANGE]),
    op("rotate_authority", Post, path::CLUSTER_ROTATE_AUTHORITY, "Replaces the authority of the cluster; the one before stays trusted.",
        Empty, CHANGED, &[CHANGE]),
    op("forget_authority", Post, path::CLUSTER_FORGET_AUTHORITY, "Ends the trust in the authority before the present one.",
        Empty, CHANGED, &[CHANGE]),

    op("create_backup", Post, path::BACKUP, "Makes a backup and answers it as a stream.",
        json::<backup::Create>(), Stream("application/octet-stream"), &[READ_AND_MAKE]),
    op("note_backup", Put, path::BACKUP_LAST, "Notes that a backup is complete and kept.",
        json::<backup::LastBackup>(), CHANGED, &[CHANGE]),
    op("begin_restore", Post, path::RESTORE, "Founds a cluster for the rows of a backup, or goes on with its restore.",
        json::<backup::Restore>(), object::<cluster::Membership>(), &[ACT]),
    op("restore_rows", Post, path::RESTORE_ROWS, "Restores rows of a backup.",
        Bytes, object::<backup::Restored>(), &[ACT]),
    op("finish_restore", Post, path::RESTORE_FINISH, "Ends a restore.",
        Empty, object::<backup::Restored>(), &[ACT]),

    op("create_join_token", Post, path::JOIN_TOKENS, "Creates a join token.",
        json::<join_token::Create>(), object::<join_token::JoinToken>(), &[ACT]),
    op("join_tokens", Get, path::JOIN_TOKENS, "Lists the join tokens, without their secrets.",
        Empty, list::<join_token::Known>(), &[READ, PAGE]),
    op("revoke_join_token", Delete, path::JOIN_TOKEN, "Ends a join token.",
        Empty, CHANGED, &[CHANGE, REMOVES]),
    op("who_am_i", Get, path::WHO_AM_I, "Reads who the caller is and what it may do.",
        Empty, object::<grant::WhoAmI>(), &[HERE]),
    op("roles", Get, path::ROLES, "Lists the roles with their rights.",
        Empty, list::<grant::RoleRights>(), &[HERE]),
    op("log_in", Post, path::LOGIN, "Logs a user in. Needs no token; the answer has one.",
        json::<user::Login>(), object::<user::Session>(), &[ACT]),
    op("log_out", Delete, path::LOGIN, "Ends the session of the caller.",
        Empty, CHANGED, &[CHANGE]),
    op("users", Get, path::USERS, "Lists the users.",
        Empty, list::<user::User>(), &[READ, PAGE]),
    op("create_user", Post, path::USERS, "Creates a user.",
        json::<user::Create>(), CHANGED, &[CHANGE, ADDS]),
    op("user", Get, path::USER, "Reads a user.",
        Empty, object::<user::User>(), &[READ]),
    op("set_user", Patch, path::USER, "Changes what a user may do, or logs in with.",
        json::<user::Set>(), CHANGED, &[CHANGE]),
    op("delete_user", Delete, path::USER, "Deletes a user and ends its sessions.",
        Empty, CHANGED, &[CHANGE, REMOVES]),
    op("make_code", Post, path::USER_CODE, "Makes a secret for the one-time codes of a user. It is in this answer only.",
        Empty, object::<user::NewCode>(), &[ACT]),
    op("remove_code", Delete, path::USER_CODE, "Asks a user for no code any longer.",
        Empty, CHANGED, &[CHANGE]),
    op("audit", Get, path::AUDIT, "Lists the entries of the audit trail, the last one first, in pages.",
        Empty, list::<audit::Entry>(), &[READ, SCOPED, PAGE, AUDIT]),
    op("verify_audit", Get, path::AUDIT_VERIFY, "Checks the audit trail, and compares it with those of the other members.",
        Empty, object::<audit::Verified>(), &[READ, SCOPED]),
    op("keep_audit", Put, path::AUDIT_KEEP, "Sets how many entries of the audit trail are kept.",
        json::<audit::Keep>(), CHANGED, &[CHANGE, SCOPED]),
    op("tokens", Get, path::TOKENS, "Lists the access tokens, without their secrets.",
        Empty, list::<token::Token>(), &[READ, PAGE]),
    op("create_token", Post, path::TOKENS, "Creates an access token. Its secret is in this answer only.",
        json::<token::Create>(), object::<token::NewToken>(), &[ACT, ADDS]),
    op("revoke_token", Delete, path::TOKEN, "Revokes an access token, and the tokens that were made with it.",
        Empty, object::<token::Revoked>(), &[CHANGE, REMOVES]),

    op("keyring", Get, path::KEYRING, "Reads the state of the keyring.",
        Empty, object::<keyring::Keyring>(), &[READ]),
    op("rotate_keyring", Post, path::KEYRING_ROTATE, "Starts a new generation of the keyring.",
        Empty, CHANGED, &[CHANGE]),
    op("unlocking", Get, path::KEYRING_UNLOCKING, "Reads how the answering node unlocks; works while it is sealed.",
        Empty, object::<keyring::Unlocking>(), &[HERE]),
    op("seal", Post, path::KEYRING_SEAL, "Makes the answering node forget all private keys.",
        Empty, object::<keyring::Unlocking>(), &[ACT]),
    op("unseal", Post, path::KEYRING_UNSEAL, "Opens the keyring on the answering node.",
        json::<keyring::Unseal>(), object::<keyring::Unlocking>(), &[ACT]),
    op("rekey", Post, path::KEYRING_REKEY, "Changes how the answering node unlocks; at its admin socket only.",
        json::<keyring::Rekey>(), object::<keyring::Rekeyed>(), &[ACT]),

    op("domains", Get, path::DOMAINS, "Lists the domains by name, in pages.",
        Empty, list::<domain::Domain>(), &[READ, SCOPED, PAGE, CHOSEN]),
    op("create_domain", Post, path::DOMAINS, "Creates a domain.",
        json::<domain::Create>(), CHANGED, &[CHANGE, SCOPED, ADDS]),
    op("domain", Get, path::DOMAIN, "Reads a domain, with the findings of path validation.",
        Empty, object::<domain::Domain>(), &[READ, SCOPED]),
    op("set_domain", Patch, path::DOMAIN, "Changes mode, aliases or addresses of a domain.",
        json::<domain::Set>(), CHANGED, OF_DOMAIN),
    op("delete_domain", Delete, path::DOMAIN, "Removes a domain with all that belongs to it.",
        Empty, CHANGED, OF_DOMAIN_REMOVES),
    op("rename_domain", Post, path::DOMAIN_RENAME, "Renames a domain.",
        json::<domain::Rename>(), CHANGED, OF_DOMAIN),
    op("domain_history", Get, path::DOMAIN_HISTORY, "Lists the versions of a domain, the current one first.",
        Empty, list::<domain::DomainVersion>(), &[READ, SCOPED]),
    op("rollback_domain", Post, path::DOMAIN_HISTORY, "Restores an earlier version of a domain.",
        json::<domain::Rollback>(), CHANGED, OF_DOMAIN),

    op("key", Get, path::KEY, "Reads the public facts about a domain's key.",
        Empty, object::<key::Key>(), &[READ, SCOPED, OF_KEY]),
    op("import_key", Put, path::KEY, "Imports a key. No answer ever contains one.",
        json::<key::Import>(), CHANGED, &[CHANGE, VERSIONED, SCOPED, ADDS]),
    op("remove_key", Delete, path::KEY, "Removes a key and its certificate.",
        Empty, CHANGED, OF_DOMAIN_REMOVES),
    op("generate_key", Post, path::KEY_GENERATE, "Generates a key.",
        json::<key::Generate>(), CHANGED, &[CHANGE, VERSIONED, SCOPED, ADDS]),
    op("set_pending_key", Post, path::KEY_PENDING, "Generates a key that waits for its certificate, beside the key in use.",
        json::<key::Generate>(), CHANGED, OF_DOMAIN),
    op("remove_pending_key", Delete, path::KEY_PENDING, "Removes a key that waits for its certificate.",
        Empty, CHANGED, OF_DOMAIN_REMOVES),
    op("test_key", Get, path::KEY_TEST, "Tests a domain's keys on every node.",
        Empty, list::<key::Test>(), &[READ, SCOPED]),

    op("common_names", Get, path::CSR, "Lists the possible common names of a domain.",
        Empty, object::<csr::Choices>(), &[READ, SCOPED]),
    op("create_csr", Post, path::CSR, "Makes a certificate signing request. Nothing is stored.",
        json::<certificate::SelfSign>(), object::<csr::Csr>(), &[READ_AND_MAKE, SCOPED, OF_KEY, PENDING]),

    op("certificate", Get, path::CERTIFICATE, "Reads a domain's certificate.",
        Empty, object::<certificate::Certificate>(), &[READ, SCOPED, OF_KEY]),
    op("import_certificate", Put, path::CERTIFICATE, "Imports a certificate, with or without its chain and its key.",
        json::<certificate::Import>(), CHANGED, OF_DOMAIN),
    op("remove_certificate", Delete, path::CERTIFICATE, "Removes a certificate.",
        Empty, CHANGED, OF_DOMAIN_REMOVES),
    op("self_sign", Post, path::CERTIFICATE_SELF_SIGN, "Makes a self-signed certificate.",
        json::<certificate::SelfSign>(), CHANGED, OF_DOMAIN_KEY),
    op("refresh_certificate", Post, path::CERTIFICATE_REFRESH, "Renews a self-signed certificate.",
        json::<certificate::Refresh>(), CHANGED, OF_DOMAIN_KEY),
    op("end_canary", Post, path::CANARY, "Ends the canary of a domain: every node serves the new certificate, or none.",
        json::<canary::End>(), CHANGED, &[CHANGE, VERSIONED]),

    op("chain", Get, path::CHAIN, "Reads a domain's CA chain.",
        Empty, object::<chain::Chain>(), &[READ, SCOPED, OF_KEY]),
    op("set_chain", Put, path::CHAIN, "Sets a CA chain.",
        json::<chain::Set>(), CHANGED, OF_DOMAIN_KEY),
    op("remove_chain", Delete, path::CHAIN, "Removes a CA chain.",
        Empty, CHANGED, OF_DOMAIN_REMOVES),

    op("client_auth", Get, path::CLIENT_AUTH, "Reads the client-certificate policy of a domain.",
        Empty, object::<client_auth::Shown>(), &[READ, SCOPED]),
    op("set_client_auth", Put, path::CLIENT_AUTH, "Makes a domain ask its clients for a certificate.",
        json::<client_auth::Set>(), CHANGED, OF_DOMAIN),
    op("clear_client_auth", Delete, path::CLIENT_AUTH, "Stops asking clients of a domain for a certificate.",
        Empty, CHANGED, OF_DOMAIN_REMOVES),

    op("tls", Get, path::TLS, "Reads the TLS settings of the cluster.",
        Empty, object::<tls::Settings>(), &[READ]),
    op("set_tls", Patch, path::TLS, "Changes TLS settings.",
        json::<tls::Set>(), CHANGED, &[CHANGE, VERSIONED]),
    op("tls_served", Get, path::TLS_SERVED, "Reads which domain the answering node serves for a server name and an address. `-` means none.",
        Empty, object::<tls::Served>(), &[HERE]),
    op("tls_sessions", Get, path::TLS_SESSIONS, "Reads the state of sessions and session keys.",
        Empty, object::<tls::Sessions>(), &[READ]),
    op("flush_sessions", Post, path::TLS_FLUSH, "Ends resumption of all existing sessions.",
        Empty, CHANGED, &[CHANGE]),

    op("listeners", Get, path::LISTENERS, "Lists the listeners.",
        Empty, list::<listener::Listener>(), &[READ, PAGE]),
    op("add_listener", Post, path::LISTENERS, "Adds a listener on every node.",
        json::<listener::Add>(), CHANGED, &[CHANGE, ADDS]),
    op("listener", Get, path::LISTENER, "Reads a listener.",
        Empty, object::<listener::Listener>(), &[READ]),
    op("set_listener", Patch, path::LISTENER, "Changes a listener.",
        json::<listener::Set>(), CHANGED, &[CHANGE]),
    op("remove_listener", Delete, path::LISTENER, "Removes a listener.",
        Empty, CHANGED, &[CHANGE, REMOVES]),

    op("trusted", Get, path::TRUST, "Lists the trusted certificates and revocation lists of a set, inherited ones included.",
        Empty, list::<trust::Trusted>(), &[READ, SCOPED, OWN, PAGE]),
    op("add_trusted", Post, path::TRUST, "Adds certificates and revocation lists to a set.",
        json::<trust::Add>(), CHANGED, OF_DOMAIN),
    op("remove_trusted", Post, path::TRUST_REMOVE, "Removes certificates and revocation lists from a set.",
        json::<trust::Remove>(), CHANGED, &[CHANGE, VERSIONED, SCOPED, REMOVES]),
];
