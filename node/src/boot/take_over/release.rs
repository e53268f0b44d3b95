//! Whether the data directory and the cluster's port are free for the next process.

use std::{fs::File, io, net::UdpSocket, time::Instant};

use conclave_cluster::config::Config;

use crate::boot::limits::{RELEASE_LOOK, RELEASE_TIMEOUT};

/// Files that a running node locks.
const LOCKED: [&str; 3] = ["raft/LOCK", "state.v2/db", "local.v2/db"];

/// Waits until everything that a node of this process held is free. Databases close on threads of
/// their own, some time after their last user. Returns false on timeout.
pub(crate) fn wait_released(config: &Config) -> bool {
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    while !is_released(config) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(RELEASE_LOOK);
    }
    true
}

fn is_released(config: &Config) -> bool {
    let is_free = |file: &str| match File::open(config.data_dir.join(file)) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    LOCKED.iter().all(|file| is_free(file)) && UdpSocket::bind(config.cluster_bind).is_ok()
}
