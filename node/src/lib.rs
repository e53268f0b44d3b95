//! The node process: start, signals, take-over, and what its machine says about it.
//!
//! ```no_run
//! // Runs until a signal ends it; lines for the terminal go to the closure.
//! let ended = conclave_node::run("conclave.toml".as_ref(), None, &|line| eprintln!("{line}"));
//! assert!(ended.is_ok());
//! ```

mod boot;
mod examine;
mod process;
#[cfg(feature = "testing")]
pub mod testing;

use std::{path::Path, time::Duration};

use conclave_api::problem::Problem;
use conclave_cluster::{admit, config::Config, life, tls_names, view};
use conclave_pki::certificate::Certificate;
use conclave_store::id::ServerName;
use conclave_tls::{CIPHER_SUITES, GROUPS};

pub use examine::Examination;

/// Converts a certificate to its form in the API, for commands that read files.
pub fn shown_certificate(certificate: &Certificate) -> conclave_api::certificate::Certificate {
    view::parsed_certificate(certificate, conclave_system::clock::now())
}

/// Returns the chain of a certificate as nodes keep it if they are asked to sort it.
pub fn sorted_chain(leaf: &Certificate, chain: Vec<Certificate>) -> Vec<Certificate> {
    let now = conclave_system::clock::now();
    admit::in_order(Some(leaf), chain, now.0 / 1_000).0
}

/// Converts a finding about a certificate and its chain to its form in the API.
pub fn shown_finding(finding: &conclave_pki::judge::Finding) -> conclave_api::finding::Finding {
    view::of_chain(finding)
}

/// Returns a server name with A-labels and without a dot at its end. Texts that are no server name,
/// such as addresses, stay as they are. The error explains an impossible international name.
pub fn server_name(text: &str) -> Result<String, String> {
    match ServerName::parse(text) {
        Ok(name) => Ok(name.into()),
        // Letters outside ASCII are possible in e-mail addresses (RFC 6531).
        Err(error) if !text.is_ascii() && !text.contains('@') => Err(error.to_string()),
        Err(_) => Ok(text.to_owned()),
    }
}

/// Returns an address to listen on as nodes show it. What is no such address stays as it is.
pub fn listen_address(text: &str) -> String {
    admit::normal_listen_address(text).unwrap_or_else(|_| text.to_owned())
}

/// Returns an upstream as nodes show it: with A-labels. What is no upstream stays as it is.
pub fn upstream(text: &str) -> String {
    admit::normal_upstream(text).unwrap_or_else(|_| text.to_owned())
}

/// Returns a network as nodes show it: with its prefix. What is no network stays as it is.
pub fn network(text: &str) -> String {
    admit::normal_network(text).unwrap_or_else(|_| text.to_owned())
}

/// Returns cipher suites as nodes show them. They stay as they are if one of them is unknown.
pub fn cipher_suites(names: &[String]) -> Vec<String> {
    tls_names::names("cipher suite", Some(names), &CIPHER_SUITES, &[])
        .unwrap_or_else(|_| names.to_vec())
}

/// Returns groups as nodes show them. They stay as they are if one of them is unknown.
pub fn groups(names: &[String]) -> Vec<String> {
    tls_names::names("group", Some(names), &GROUPS, &[]).unwrap_or_else(|_| names.to_vec())
}

/// Returns a name for people: with the letters of its language behind it, if it is international.
pub fn shown_name(name: &str) -> String {
    match ServerName::parse(name).ok().and_then(|name| name.unicode()) {
        Some(unicode) => format!("{name} ({unicode})"),
        None => name.to_owned(),
    }
}

/// Examines a node and its machine by the node's configuration file. Changes nothing.
pub fn examine(config: &Path) -> Examination {
    examine::examine(config)
}

/// Checks a configuration file as a start does, without starting.
pub fn check_config(config: &Path) -> Result<(), Box<Problem>> {
    let config = Config::read(config)?;
    config.check_machine()?;
    Ok(config.check_addresses()?)
}

/// Returns the SHA-256 of a public key or certificate in its form in the API.
pub fn shown_fingerprint(der: &[u8]) -> String {
    conclave_store::id::Fingerprint::of(der).to_string()
}

/// A stopped node whose cluster has lost its quorum. The process cannot start while this exists.
pub struct Recovery(life::Recovery);

impl Recovery {
    /// Reads the data of the node with this configuration. Changes nothing.
    pub fn open(config: &Path) -> Result<Recovery, Box<Problem>> {
        Ok(Recovery(life::Recovery::open(config)?))
    }

    /// Returns what [`Recovery::execute`] will do.
    pub fn plan(&self) -> &conclave_api::cluster::Recovery {
        self.0.plan()
    }

    /// Makes the node the only voter of its cluster. After a failure it may be repeated.
    pub fn execute(self) -> Result<conclave_api::cluster::Recovery, Box<Problem>> {
        Ok(self.0.execute()?)
    }
}

/// Disables core dumps of this process. A command may hold private keys and passphrases.
pub fn harden() {
    process::harden();
}

/// Runs a node until a signal or a fatal error stops it. With `take_over`, takes over the running
/// node first, whose connections then have this time to end. `say` receives the lines for the
/// terminal.
pub fn run(
    config: &Path,
    take_over: Option<Duration>,
    say: &dyn Fn(&str),
) -> Result<(), Box<Problem>> {
    boot::run(config, take_over, say).map_err(Box::new)
}
