//! Process limits: no core dumps, and as many descriptors as possible.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Disables core dumps, because a core contains every private key in plaintext. A failure is logged
/// but not fatal: a sandbox may deny the calls.
pub(crate) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(event = "process.core_dumps", %error, "core dumps are not off");
    }
}

/// Raises the limit of file descriptors to its maximum and returns it.
pub(crate) fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(event = "process.descriptors", %error, "the limit cannot be raised");
            current.unwrap_or(u64::MAX)
        }
    }
}
