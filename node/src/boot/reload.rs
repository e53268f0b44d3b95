//! Reading the configuration again on SIGHUP. What cannot change while the node runs is said.

use std::{path::PathBuf, sync::Arc};

use conclave_cluster::{config::Config, node::Node, observe::log::Level};
use conclave_edge::tls::NodeLimits;
use tokio::signal::unix::Signal;

use crate::process;

/// The configuration file, and what of it can change while the node runs.
pub(super) struct Reload {
    path: PathBuf,
    log_level: Arc<Level>,
    signal: Signal,
}

impl Reload {
    pub(super) fn new(path: PathBuf, log_level: Arc<Level>, signal: Signal) -> Reload {
        Reload { path, log_level, signal }
    }

    /// Reads the file again at each signal, until dropped. `config` is what the node started with.
    pub(super) async fn run(mut self, node: Node, config: Config) {
        let mut current = config;
        while self.signal.recv().await.is_some() {
            process::notify_reloading();
            match Config::read(&self.path) {
                Ok(new) => current = self.apply(&node, current, new),
                Err(problem) => tracing::error!(
                    event = "config.refused",
                    "the settings stay as they are: {}",
                    problem.title
                ),
            }
            process::notify_ready();
        }
    }

    /// Applies what can change. Returns the settings that count now.
    fn apply(&self, node: &Node, mut current: Config, new: Config) -> Config {
        if current.log.level != new.log.level {
            match self.log_level.change(&new.log.level) {
                Ok(()) => current.log.level.clone_from(&new.log.level),
                Err(error) => tracing::error!(event = "config.log_level", %error),
            }
        }
        if current.log.access != new.log.access {
            current.log.access = new.log.access.clone();
            node.edge().set_access_log(new.log.access.clone());
        }
        let has_other_limits = current.tls_version_min != new.tls_version_min
            || current.tls_cipher_suites != new.tls_cipher_suites;
        if has_other_limits {
            current.tls_version_min = new.tls_version_min;
            current.tls_cipher_suites.clone_from(&new.tls_cipher_suites);
            node.live().set_limits(limits(&new));
        }
        let restart = current.differences(&new);
        if !restart.is_empty() {
            let settings = restart.join(", ");
            tracing::warn!(event = "config.restart_needed", settings);
        }
        tracing::info!(event = "config.read", log_level = current.log.level);
        current
    }
}

/// Returns the rules by which this node is stricter than its cluster.
pub(super) fn limits(config: &Config) -> NodeLimits {
    NodeLimits {
        version_min: config.tls_version_min,
        cipher_suites: config.tls_cipher_suites.clone(),
    }
}
