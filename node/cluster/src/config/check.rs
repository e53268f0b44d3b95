//! Checks of a configuration against this machine: what a start would refuse.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
};

use conclave_api::problem::{Code, Problem};
use conclave_keys::NodeKeys;
use conclave_mail::{Place, Settings};

use super::{Config, setting_problem};
use crate::fault::causes;

impl Config {
    /// Checks the settings against this machine, and changes nothing. Ports may be in use, since
    /// the node may be running.
    pub fn check_machine(&self) -> Result<(), Problem> {
        directory("[node] data_dir", &self.data_dir)?;
        if let Some(parent) = self.admin_socket.parent() {
            directory("[admin] socket", parent)?;
        }
        NodeKeys::check(&self.data_dir, &self.unlock)
            .map_err(|error| setting_problem("[keyring] unlock", causes(&error)))?;
        self.lmtp.as_ref().map_or(Ok(()), |lmtp| self.check_lmtp(lmtp))?;
        for (setting, bind) in [
            ("[cluster] bind", Some(self.cluster_bind)),
            ("[admin] bind", self.admin_bind),
            ("[public] bind", self.public_bind),
            ("[account] bind", self.account_bind),
            ("[health] bind", self.health_bind),
        ] {
            bind.map_or(Ok(()), |bind| own_address(setting, bind.ip()))?;
        }
        Ok(())
    }
}

impl Config {
    fn check_lmtp(&self, lmtp: &Settings) -> Result<(), Problem> {
        if let Place::Unix(path) = &lmtp.listen
            && let Some(parent) = path.parent()
        {
            directory("[lmtp] listen", parent)?;
        }
        let is_own = match &lmtp.upstream {
            Place::Unix(path) => {
                let socket = &self.admin_socket;
                path == socket || path.canonicalize().is_ok_and(|path| path == *socket)
            }
            Place::Tcp(address) => {
                let http = [self.admin_bind, self.public_bind, self.account_bind, self.health_bind];
                http.iter().flatten().any(|bind| bind.port() == address.port())
            }
        };
        match is_own {
            true => {
                let why = format!("{} is a door of this node", lmtp.upstream);
                Err(setting_problem("[lmtp] upstream", why))
            }
            false => Ok(()),
        }
    }

    /// Checks that the addresses of listeners belong to this machine. A start goes on without one:
    /// a standby has no floating address yet, and its listeners open when it comes.
    pub fn check_addresses(&self) -> Result<(), Problem> {
        self.addresses.iter().try_for_each(|one| own_address("[node] addresses", *one))
    }
}

/// Checks that a directory exists, or that the nearest existing one above it is a directory.
fn directory(setting: &str, path: &Path) -> Result<(), Problem> {
    for one in path.ancestors() {
        let shown = one.display();
        let why = match one.metadata() {
            Ok(meta) if meta.is_dir() => return Ok(()),
            Ok(_) => format!("{shown} is not a directory"),
            // What is above may exist.
            Err(error) if is_missing(error.kind()) => continue,
            Err(error) => format!("{shown}: {error}"),
        };
        return Err(setting_problem(setting, why));
    }
    Ok(())
}

fn is_missing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Checks that an address belongs to this machine.
fn own_address(setting: &str, address: IpAddr) -> Result<(), Problem> {
    UdpSocket::bind(SocketAddr::new(address, 0)).map(|_| ()).map_err(|error| {
        let why = format!("{address} is not an address of this machine");
        Problem { code: Code::ConfigurationInvalid, ..setting_problem(setting, why) }
            .detail(error.to_string())
            .hint("ip address    lists its addresses")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_would_refuse_is_refused_before() {
        let dir = tempfile::tempdir().unwrap();
        let shown = dir.path().display();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::fs::write(dir.path().join("bad.key"), "not a key").unwrap();
        let check = |data: &str, more: &str| {
            let path = dir.path().join("node.toml");
            let text = format!("[node]\nname = \"n1\"\ndata_dir = \"{shown}/{data}\"\n{more}");
            std::fs::write(&path, text).unwrap();
            let config = Config::read(&path).unwrap();
            let checked = config.check_machine().and_then(|()| config.check_addresses());
            checked.map_err(|problem| problem.title)
        };
        let refused = |data: &str, more: &str, expected: &str| {
            let title = check(data, more).unwrap_err();
            assert!(title.contains(expected), "{title}");
        };
        check("data", &format!("[admin]\nsocket = \"{shown}/admin.sock\"\n")).unwrap();
        refused("file", "", "[node] data_dir");
        refused("data", &format!("[admin]\nsocket = \"{shown}/file/s\"\n"), "[admin] socket");
        let unlock = |path: &str| format!("[keyring]\nunlock = \"file:{shown}/{path}\"\n");
        refused("data", &unlock("none/n1.key"), "[keyring] unlock");
        refused("data", &unlock("bad.key"), "[keyring] unlock");
        refused("data", "addresses = [\"192.0.2.1\"]\n", "not an address of this machine");
        refused("data", "[public]\nbind = \"192.0.2.1:80\"\n", "[public] bind");
        assert!(!dir.path().join("data").exists(), "nothing is made");
    }
}
