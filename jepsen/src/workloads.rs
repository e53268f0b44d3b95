//! What is written and read.

pub(crate) mod set;
