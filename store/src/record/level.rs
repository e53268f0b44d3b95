//! Level of the rules: the version of rules and rows that all members of a cluster know.
//!
//! All members must derive the same State from the same commands. A rule or a kind of row that an
//! older version does not know must wait until no member runs that version. The level is a row of
//! State: a command raises it, so it rises at the same position in the order on every node.
//!
//! - Level 0: the rules and the rows of 0.1.0, exactly.
//! - Level 1, from 0.2.0 on: owners of server names and ages of operations are derived and no
//!   longer rows; operations are remembered by time; commands of forgotten operations are refused.
//! - Level 2, from 0.2.1 on: rows and commands that 0.2.0 does not know. A command that changes
//!   nothing makes no version. The other rules are those of level 1.
//! - Level 3, from 0.3.0 on: members leave, move and change their role; secrets are sealed anew
//!   under the current generation, and old generations leave; what decides who may open secrets
//!   carries a proof; backups; canaries.
//! - Level 4, from 0.4.0 on: every change writes an entry of the audit trail; tokens have grants;
//!   users; commands tell from where they were asked for.
//! - Level 5, from 0.5.0 on: issuers of S/MIME certificates; accounts with their keys and
//!   certificates. A name with accounts stays with its domain.

/// Highest level known to this program.
pub const LEVEL_MAX: u32 = 5;
