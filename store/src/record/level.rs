//! The level of the rules: what all members of a cluster understand.
//!
//! All members must make the same State of the same commands, so a rule or a kind of row that an
//! older version does not know must wait until no member has that version. The level says so in
//! State itself: it rises by a command, at one place in the order of commands, on every node.
//!
//! - Level 0: the rules and the rows of 0.1.0, exactly.
//! - Level 1: server names and ages of operations are derived and no longer rows; operations are
//!   remembered by time; a command of a forgotten operation is refused. From 0.2.0 on.

/// The highest level that this program knows.
pub const LEVEL_MAX: u32 = 1;
