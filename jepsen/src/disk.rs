//! `conclave-jepsen disk`.
mod content;
mod device;
mod directory;
mod fault;
mod file;
mod limits;
mod mount;
#[cfg(test)]
mod tests;
mod volume;
