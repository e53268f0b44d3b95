//! Every bound of the store, by name.

/// Longest encoded command, so that a log record stays far below what sled keeps in one page.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Longest encoded row; a row is at most a command plus its bookkeeping.
pub const ROW_BYTES_MAX: usize = 72 * 1024;
/// Aliases of one domain.
pub const ALIASES_MAX: usize = 100;
/// Network addresses assigned to one domain.
pub const ADDRESSES_MAX: usize = 64;
/// Certificates of one CA chain.
pub const CHAIN_CERTIFICATES_MAX: usize = 16;
/// DER bytes of one CA chain together.
pub const CHAIN_BYTES_MAX: usize = 48 * 1024;
/// Earlier versions of a domain that are kept.
pub const VERSIONS_KEPT: usize = 16;
/// Members of a cluster, voters and learners together.
pub const MEMBERS_MAX: usize = 256;
/// Listeners of a cluster.
pub const LISTENERS_MAX: usize = 256;
/// Upstreams of a listener, or of one domain on it.
pub const UPSTREAMS_MAX: usize = 16;
/// Domains with upstreams of their own on one listener.
pub const DOMAIN_UPSTREAMS_MAX: usize = 256;
/// Networks that may send a PROXY header to one listener.
pub const PROXY_NETWORKS_MAX: usize = 64;
/// Application protocols of one listener.
pub const ALPN_MAX: usize = 16;
/// Revocation lists of one set.
pub const CRLS_MAX: usize = 100;
/// DER bytes of one revocation list: it travels in one command.
pub const CRL_BYTES_MAX: usize = 60 * 1024;
/// Session keys of one use that nodes know at once.
pub const SESSION_KEYS_MAX: usize = 2_048;
/// Trusted certificates of one set.
pub const TRUSTED_MAX: usize = 1_000;
/// Join tokens and access tokens, each.
pub const TOKENS_MAX: usize = 1_000;
/// Keyring generations kept; older ones must be re-sealed and dropped first.
pub const GENERATIONS_MAX: usize = 64;
/// Log entries for which a finished operation is remembered at level 0.
pub const OPERATIONS_KEPT: u64 = 10_000;
/// Time for which a finished operation is remembered at level 0, in milliseconds.
pub const OPERATION_AGE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Time for which a finished operation is remembered, in milliseconds, from level 1 on: the longest
/// timeout of a change (ten minutes) and a margin.
pub const OPERATION_MS_KEPT: u64 = 15 * 60 * 1000;
/// Finished operations that are remembered whatever their age, from level 1 on. Where changes are
/// few nothing is forgotten for days, and a clock that is off forgets nothing.
pub const OPERATIONS_KEPT_MIN: usize = 10_000;
/// Finished operations that are remembered at most, from level 1 on: some 50 MiB. Under load the
/// memory is shorter than its time; what is forgotten is refused all the same.
pub const OPERATIONS_KEPT_MAX: usize = 100_000;
/// How far the time in an operation's id may be ahead of the command's and still be believed.
pub const CLOCK_APART_MS_MAX: u64 = OPERATION_MS_KEPT;
/// A time that is further than this from another was read from a wrong clock: one of the two is.
pub const CLOCK_WRONG_MS: u64 = 24 * 60 * 60 * 1000;
/// The time of the last forgotten operation is rounded up to a multiple of this, so that most
/// commands leave it as it is.
pub const FORGOTTEN_STEP_MS: u64 = 1_000;
/// Finished operations forgotten by one command: two out for one in, so the backlog shrinks.
pub const OPERATIONS_EVICTED_PER_COMMAND: usize = 2;
/// Bytes of a reason that a person gives for a change.
pub const REASON_BYTES_MAX: usize = 500;
/// Times that a rejected expectation is derived afresh before the caller hears of it.
pub const ADMIT_ATTEMPTS_MAX: usize = 8;
/// Rows of level 0 that each command of level 1 removes while there are any: some 30 ms of work.
pub const LEFT_OVER_ROWS_PER_COMMAND: usize = 10_000;
/// Longest log entry for several commands, and longest answer to it.
pub const ENTRY_BYTES_MAX: usize = 70 * 1024;
/// Commands in one log entry.
pub const COMMANDS_PER_ENTRY_MAX: usize = 64;
/// Bytes of commands in one log entry, unless a single one is longer.
pub const COMMANDS_BYTES_MAX: usize = 64 * 1024;
