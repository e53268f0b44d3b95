//! This process and its system: no core dumps, as many descriptors as possible, and words for the
//! service manager.

pub(crate) mod descriptors;
pub(crate) mod store;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use sd_notify::NotifyState;

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

/// Tells systemd that the node serves (sd_notify(3)). Without systemd nothing happens.
pub(crate) fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that this process is the main one now. It believes a process of the unit if the
/// unit has `NotifyAccess=all`.
pub(crate) fn notify_main() {
    notify(&[NotifyState::MainPid(std::process::id())]);
}

/// Tells systemd that the configuration is read again.
pub(crate) fn notify_reloading() {
    let since = NotifyState::monotonic_usec_now();
    notify(&[Some(NotifyState::Reloading), since.ok()].into_iter().flatten().collect::<Vec<_>>());
}

/// Tells systemd that the node ends.
pub(crate) fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(event = "process.notify", %error, "systemd does not hear");
    }
}
