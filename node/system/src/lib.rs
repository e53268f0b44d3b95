//! What a node takes from the operating system beside sockets: the time, randomness, and small
//! files that are whole or absent after a power cut.
//!
//! One place for each, so that no other code reads a clock or a source of randomness by itself.

pub mod clock;
pub mod entropy;
pub mod files;
