//! The section `[audit]` of the configuration: copies of the audit trail.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use conclave_api::problem::Problem;
use serde::Deserialize;

use super::setting_problem;

/// Default for `[audit] file_mib`.
const FILE_MIB: u32 = 64;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditSection {
    pub(super) file: Option<PathBuf>,
    file_mib: Option<u32>,
    syslog: Option<String>,
}

/// A syslog server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyslogServer {
    /// A datagram socket of this machine.
    Unix(PathBuf),
    /// `HOST:PORT` for datagrams.
    Udp(String),
    /// `HOST:PORT` for connections.
    Tcp(String),
}

impl AuditSection {
    /// Checks the section. Returns the size of a file in bytes, and the syslog server.
    pub(super) fn check(&self) -> Result<(u64, Option<SyslogServer>), Problem> {
        if let Some(path) = self.file.as_ref().filter(|path| !path.is_absolute()) {
            let why = format!("{} is not absolute", path.display());
            return Err(setting_problem("[audit] file", why));
        }
        let file_bytes = match self.file_mib.unwrap_or(FILE_MIB) {
            0 => return Err(setting_problem("[audit] file_mib", "0 leaves no room for an entry")),
            mib => u64::from(mib) << 20,
        };
        let syslog = self.syslog.as_deref().map(SyslogServer::parse).transpose();
        let syslog = syslog.map_err(|why| {
            setting_problem("[audit] syslog", why).hint("syslog = \"tcp:log.example:601\"")
        })?;
        Ok((file_bytes, syslog))
    }
}

impl SyslogServer {
    /// Parses `unix:PATH`, `udp:HOST:PORT` or `tcp:HOST:PORT`. The error says what is wrong.
    fn parse(text: &str) -> Result<SyslogServer, String> {
        match text.split_once(':') {
            Some(("unix", path)) if Path::new(path).is_absolute() => {
                Ok(SyslogServer::Unix(path.into()))
            }
            Some(("unix", path)) => Err(format!("{path} is not absolute")),
            Some(("udp", place)) if is_place(place) => Ok(SyslogServer::Udp(place.to_owned())),
            Some(("tcp", place)) if is_place(place) => Ok(SyslogServer::Tcp(place.to_owned())),
            Some(("udp" | "tcp", place)) => Err(format!("{place:?} is not HOST:PORT")),
            _ => Err(format!("{text:?} is none of unix:PATH, udp:HOST:PORT, tcp:HOST:PORT")),
        }
    }
}

impl fmt::Display for SyslogServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyslogServer::Unix(path) => write!(out, "unix:{}", path.display()),
            SyslogServer::Udp(place) => write!(out, "udp:{place}"),
            SyslogServer::Tcp(place) => write!(out, "tcp:{place}"),
        }
    }
}

/// Returns whether a text is `HOST:PORT`; an IPv6 address has brackets.
fn is_place(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_v6 = text.parse::<std::net::SocketAddrV6>().is_ok();
    let is_host = !host.is_empty() && host.bytes().all(is_name);
    (is_host || is_v6) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syslog_server_is_a_socket_or_an_address() {
        for text in ["unix:/dev/log", "udp:log.example:514", "tcp:192.0.2.1:601", "tcp:[::1]:601"] {
            assert_eq!(SyslogServer::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "unix:dev/log",
            "udp:log.example",
            "tcp::601",
            "tcp:h:0",
            "tcp:::1:601",
            "tls:h:6514",
            "log.example:514",
            "",
        ] {
            assert!(SyslogServer::parse(text).is_err(), "{text}");
        }
    }
}
