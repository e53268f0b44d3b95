//! Upstream addresses, and the rules about which are allowed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Metadata services of clouds outside the link-local networks (AWS over IPv6, Azure). They give
/// credentials to every process of the machine.
const METADATA: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// An upstream of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    text: String,
    pub(super) place: Place,
}

/// Location of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A numeric address, used without a lookup.
    Address(SocketAddr),
    /// A host name and port, resolved when connecting.
    Name,
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Rules for upstreams: forbidden addresses and allowed unix sockets.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Ports of this node's administration and health checks.
    pub forbidden: Vec<SocketAddr>,
    /// Allowed unix sockets, or directories of them.
    pub unix: Vec<PathBuf>,
    /// The unix socket of the admin API. Never allowed, wherever it is.
    pub admin_socket: PathBuf,
}

/// Why an upstream is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Not of the right form.
    #[error("{0:?} is neither HOST:PORT nor unix:PATH")]
    Malformed(String),
    /// It would reach the node's own administration, or the metadata services of clouds.
    #[error(
        "{0} is a port of this node's administration, a link-local address or a metadata service"
    )]
    Forbidden(SocketAddr),
    /// The node's configuration does not list it.
    #[error("[upstream] unix of this node does not allow {0}")]
    NotListed(String),
}

impl Upstream {
    /// Parses `HOST:PORT`, `udp:HOST:PORT` or `unix:PATH` and refuses forbidden upstreams.
    pub(crate) fn parse(text: &str, allowed: &Allowed) -> Result<Upstream, UpstreamError> {
        // The `udp:` prefix is redundant: the listener's protocol already decides.
        let text = text.strip_prefix("udp:").unwrap_or(text);
        let malformed = || UpstreamError::Malformed(text.chars().take(80).collect());
        let upstream = |place| Ok(Upstream { text: text.to_owned(), place });
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let is_plain = path.is_absolute()
                && path.components().all(|part| part != std::path::Component::ParentDir);
            if !is_plain || text.len() > 108 || text.contains(char::is_control) {
                return Err(malformed());
            }
            allowed.check_path(&path)?;
            return upstream(Place::Unix(path));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            allowed.check_address(address)?;
            return if address.port() == 0 {
                Err(malformed())
            } else {
                upstream(Place::Address(address))
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
        let is_host = !host.is_empty()
            && host.len() <= 255
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]%".contains(&b));
        if is_port && is_host { upstream(Place::Name) } else { Err(malformed()) }
    }

    /// Returns the upstream as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Allowed {
    /// Refuses forbidden addresses. Checked again at each connect, because a name can resolve to
    /// another address.
    pub(crate) fn check_address(&self, address: SocketAddr) -> Result<(), UpstreamError> {
        let ip = address.ip().to_canonical();
        let is_link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let reaches = |admin: &SocketAddr| {
            let own = admin.ip().to_canonical();
            admin.port() == address.port()
                && (own == ip || own.is_unspecified() || ip.is_unspecified())
        };
        if is_link_local || METADATA.contains(&ip) || self.forbidden.iter().any(reaches) {
            return Err(UpstreamError::Forbidden(address));
        }
        Ok(())
    }

    /// Refuses unlisted unix sockets. Checked again at each connect with the resolved path, because
    /// a symbolic link can point anywhere.
    pub(crate) fn check_path(&self, path: &Path) -> Result<(), UpstreamError> {
        let is_same = |one: &Path, other: &Path| {
            one == other || std::fs::canonicalize(one).is_ok_and(|real| real == other)
        };
        let is_listed = self.unix.iter().any(|listed| {
            path.starts_with(listed)
                || std::fs::canonicalize(listed).is_ok_and(|real| path.starts_with(real))
        });
        if !is_listed || is_same(&self.admin_socket, path) {
            return Err(UpstreamError::NotListed(path.display().to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_never_reach_the_administration_or_link_local_addresses() {
        let allowed = Allowed {
            forbidden: vec!["127.0.0.1:7443".parse().unwrap(), "0.0.0.0:7445".parse().unwrap()],
            unix: vec!["/run/app".into()],
            admin_socket: "/run/app/admin.sock".into(),
        };
        let check = |text: &str, is_possible: bool| {
            assert_eq!(Upstream::parse(text, &allowed).is_ok(), is_possible, "{text}");
        };
        check("127.0.0.1:8080", true);
        check("backend.internal:25", true);
        check("[::1]:8080", true);
        check("127.0.0.1:7443", false);
        check("[::ffff:127.0.0.1]:7443", false);
        check("0.0.0.0:7443", false);
        check("10.0.0.1:7445", false);
        check("169.254.169.254:80", false);
        check("[::ffff:169.254.169.254]:80", false);
        check("[fe80::1]:80", false);
        check("[fd00:ec2::254]:80", false);
        check("168.63.129.16:80", false);
        check("[::ffff:168.63.129.16]:80", false);
        check("backend", false);
        check("backend:0", false);
        check("127.0.0.1:0", false);
        check("back end:80", false);
        check("unix:/run/app/web.sock", true);
        check("unix:/run/app/admin.sock", false);
        check("unix:/run/app/../other", false);
        check("unix:/run/application", false);
        check("unix:/run/other.sock", false);
        check("unix:web.sock", false);
    }

    #[test]
    fn a_link_to_the_admin_socket_is_the_admin_socket() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("app")).unwrap();
        std::fs::write(dir.join("admin.sock"), "").unwrap();
        std::os::unix::fs::symlink(dir.join("admin.sock"), dir.join("app/web.sock")).unwrap();
        let allowed = Allowed {
            forbidden: Vec::new(),
            unix: vec![dir.join("app")],
            admin_socket: dir.join("admin.sock"),
        };
        let path = dir.join("app/web.sock");
        assert!(allowed.check_path(&path).is_ok());
        assert!(allowed.check_path(&path.canonicalize().unwrap()).is_err());
    }
}
