//! Services of the operating system other than sockets: time, randomness and small durable files;
//! what a process uses, and histograms of what took time.
//!
//! Each has one place, so that no other code reads a clock or a source of randomness directly.

pub mod clock;
pub mod entropy;
pub mod files;
pub mod histogram;
pub mod usage;
