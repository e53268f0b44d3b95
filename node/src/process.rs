//! What the process as a whole must not do.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

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
