//! Every bound of the store, by name.

/// Longest encoded command. Members of version 0.1.0 keep their log in sled, which moves values of
/// 128 KiB or more into files that it never syncs.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Longest encoded row; a row is at most a command plus its bookkeeping.
pub const ROW_BYTES_MAX: usize = 72 * 1024;
/// Longest international name as text, in bytes, before it is converted (RFC 7622 §3.2 needs 1023).
pub const NAME_TEXT_BYTES_MAX: usize = 1024;
/// Aliases of one domain.
pub const ALIASES_MAX: usize = 100;
/// Network addresses assigned to one domain.
pub const ADDRESSES_MAX: usize = 64;
/// Certificates of one CA chain.
pub const CHAIN_CERTIFICATES_MAX: usize = 16;
/// DER bytes of one CA chain together.
pub const CHAIN_BYTES_MAX: usize = 48 * 1024;
/// Earlier versions kept of one domain.
pub const VERSIONS_KEPT: usize = 16;
/// Members of a cluster, voters and learners together.
pub const MEMBERS_MAX: usize = 256;
/// Members that have left and are remembered.
pub const DEPARTED_MAX: usize = 256;
/// Bytes of the address of a member, `HOST:PORT`: a host name has at most 253.
pub const MEMBER_ADDRESS_BYTES_MAX: usize = 261;
/// Bytes of the name of a zone.
pub const ZONE_BYTES_MAX: usize = 63;
/// Listeners of a cluster.
pub const LISTENERS_MAX: usize = 256;
/// Upstreams of a listener, or of one domain on it.
pub const UPSTREAMS_MAX: usize = 16;
/// Domains with upstreams of their own on one listener.
pub const DOMAIN_UPSTREAMS_MAX: usize = 256;
/// Networks with a PROXY header on one listener.
pub const PROXY_NETWORKS_MAX: usize = 64;
/// Application protocols of one listener.
pub const ALPN_MAX: usize = 16;
/// Revocation lists of one set.
pub const CRLS_MAX: usize = 100;
/// DER bytes of a revocation list that fits into one command and one row; also of a part of a
/// longer one.
pub const CRL_BYTES_MAX: usize = 60 * 1024;
/// Parts of a longer revocation list: 4 MiB, some 150,000 revoked certificates.
pub const CRL_PARTS_MAX: u32 = 70;
/// Session keys of one use in State.
pub const SESSION_KEYS_MAX: usize = 2_048;
/// Trusted certificates of one set.
pub const TRUSTED_MAX: usize = 1_000;
/// Canaries of a cluster: each holds a domain with its keys.
pub const CANARIES_MAX: usize = 64;
/// Join tokens and access tokens, each.
pub const TOKENS_MAX: usize = 1_000;
/// Users of the admin API.
pub const USERS_MAX: usize = 1_000;
/// Logins of one user at a time. The oldest ends for a new one.
pub const SESSIONS_MAX: usize = 16;
/// Domains, networks and rights in one grant, each.
pub const GRANT_LIMITS_MAX: usize = 64;
/// Certificates of one user.
pub const USER_CERTIFICATES_MAX: usize = 16;
/// Accounts of a scope.
pub const ACCOUNTS_MAX: u64 = 1_000_000;
/// Earlier keys of one account, so that all of them fit into one command.
pub const EARLIER_KEYS_MAX: u32 = 16;
/// Certificates of one key of an account; a renewal after them needs a new key. None leaves before
/// the account does.
pub const KEY_CERTIFICATES_MAX: usize = 32;
/// Bytes of the name of the person of an account.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 64;
/// Bytes of the URL of a revocation list.
pub const CRL_URL_BYTES_MAX: usize = 1024;
/// Bytes of a copy for recovery: an RSA key of 4096 bits and what is around it.
pub const RECOVERY_COPY_BYTES_MAX: usize = 4096;
/// Revoked certificates of one domain. At this bound those leave that have expired.
pub const REVOCATIONS_MAX: u32 = 250_000;
/// Entries of the audit trail kept if nothing else is set: an estimated 50 MiB.
pub const AUDIT_KEPT: u32 = 100_000;
/// Largest number of entries to keep that can be set.
pub const AUDIT_KEPT_MAX: u32 = 1_000_000;
/// Entries of the audit trail in State. At this bound a change is refused. The leader cuts the trail
/// long before.
pub const AUDIT_MAX: u64 = 1_200_000;
/// Entries that one command removes from the audit trail.
pub const AUDIT_CUT_MAX: u64 = 1_000;
/// Entries that one command adds.
pub const AUDIT_NOTES_MAX: usize = 64;
/// Bytes of one value in an entry of the audit trail; the rest is left out.
pub const AUDIT_VALUE_BYTES_MAX: usize = 256;
/// Values in one entry of the audit trail.
pub const AUDIT_DIFFERENCES_MAX: usize = 32;
/// Keyring generations in State. Earlier ones leave once nothing is sealed under them; at this bound
/// rotation is refused until then.
pub const GENERATIONS_MAX: usize = 64;
/// Level 0: log entries until a finished operation is forgotten.
pub const OPERATIONS_KEPT: u64 = 10_000;
/// Level 0: time until a finished operation is forgotten, in milliseconds.
pub const OPERATION_AGE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// From level 1 on: time until a finished operation is forgotten, in milliseconds: the longest
/// timeout of a change (ten minutes) plus a margin.
pub const OPERATION_MS_KEPT: u64 = 15 * 60 * 1000;
/// Finished operations remembered regardless of their age, from level 1 on. With few changes
/// nothing is forgotten for days, and a wrong clock cannot clear the memory.
pub const OPERATIONS_KEPT_MIN: usize = 10_000;
/// Most finished operations remembered, from level 1 on: some 50 MiB. Under load they are
/// remembered for less than [`OPERATION_MS_KEPT`]; a retry of a forgotten one is still refused.
pub const OPERATIONS_KEPT_MAX: usize = 100_000;
/// Largest lead of the time in an operation's id over its command's time at which the id is still
/// believed.
pub const CLOCK_APART_MS_MAX: u64 = OPERATION_MS_KEPT;
/// Difference of two times from which on at least one of them comes from a wrong clock.
pub const CLOCK_WRONG_MS: u64 = 24 * 60 * 60 * 1000;
/// The time of the last forgotten operation is rounded up to a multiple of this, so that most
/// commands do not rewrite its row.
pub const FORGOTTEN_STEP_MS: u64 = 1_000;
/// Finished operations forgotten by one command. Two for each one added, so that a backlog shrinks.
pub const OPERATIONS_EVICTED_PER_COMMAND: usize = 2;
/// Bytes of the reason for a change.
pub const REASON_BYTES_MAX: usize = 500;
/// Attempts of admission to derive a command again after a rejected expectation.
pub const ADMIT_ATTEMPTS_MAX: usize = 8;
/// Rows of level 0 removed by one command of level 1: some 30 ms of work.
pub const LEFT_OVER_ROWS_PER_COMMAND: usize = 10_000;
/// Longest encoded log entry of several commands, and longest encoded list of their outcomes.
pub const ENTRY_BYTES_MAX: usize = 70 * 1024;
/// Commands in one log entry.
pub const COMMANDS_PER_ENTRY_MAX: usize = 64;
/// Bytes of the commands in one log entry, unless a single command is longer.
pub const COMMANDS_BYTES_MAX: usize = 64 * 1024;
