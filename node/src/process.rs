//! What the process as a whole may and must not do.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// No core dumps: a core holds every private key in the clear. Failing is logged, not fatal,
/// because a sandbox may already have taken the right away.
pub(crate) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(event = "process.core_dumps", %error, "core dumps are not off");
    }
}

/// Takes as many descriptors as this process may have, and says how many those are.
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
