//! What this process uses of its machine, from /proc/self (proc(5)).

use std::time::Duration;

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Most descriptors that are counted one by one, where the kernel does not say their number.
const DESCRIPTORS_COUNTED_MAX: usize = 20_000;

/// Usage of this process at one moment.
#[derive(Debug, Default)]
pub struct Usage {
    /// Time on all processors.
    pub cpu: Duration,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Memory that is reserved.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub descriptors: u64,
    /// Most of them that the system allows.
    pub descriptors_max: u64,
}

/// Reads the usage of this process. What the system does not tell is 0.
pub fn usage() -> Usage {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(0)
    };
    Usage {
        cpu: Duration::try_from(time).unwrap_or_default(),
        resident_bytes: field("VmRSS:").saturating_mul(1024),
        virtual_bytes: field("VmSize:").saturating_mul(1024),
        threads: field("Threads:"),
        descriptors: descriptors(),
        descriptors_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
    }
}

/// Returns the number of open descriptors. Linux says it since 6.2 as the size of the directory.
fn descriptors() -> u64 {
    let directory = "/proc/self/fd";
    match std::fs::metadata(directory).map(|meta| meta.len()) {
        Ok(count @ 1..) => count,
        _ => {
            let entries = std::fs::read_dir(directory).into_iter().flatten();
            let count = entries.take(DESCRIPTORS_COUNTED_MAX).count();
            u64::try_from(count).unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_something_of_everything() {
        let used = usage();
        assert!(used.cpu > Duration::ZERO, "{used:?}");
        let all = [used.resident_bytes, used.virtual_bytes, used.threads, used.descriptors];
        assert!(all.iter().all(|one| *one > 0), "{used:?}");
        assert!(used.descriptors < used.descriptors_max, "{used:?}");
    }
}
