//! Settings of the pages for owners of accounts.

use std::net::SocketAddr;

use conclave_api::problem::Problem;
use serde::Deserialize;

use super::setting_problem;

/// Bytes of the address where owners reach their pages.
const URL_BYTES_MAX: usize = 256;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    bind: Option<SocketAddr>,
    url: Option<String>,
}

impl Section {
    /// Returns the address to listen on. It must be one of this machine: passphrases pass there, and
    /// TLS ends before.
    pub(super) fn bind(&self) -> Result<Option<SocketAddr>, Problem> {
        match self.bind.filter(|bind| !bind.ip().is_loopback()) {
            Some(bind) => {
                let why = format!("{} can be reached from other machines, without TLS", bind.ip());
                Err(setting_problem("[account] bind", why).hint(
                    "bind = \"127.0.0.1:7447\"    and a listener before it: conclave help listener add",
                ))
            }
            None => Ok(self.bind),
        }
    }

    /// Returns where owners reach the pages, without a slash at its end.
    pub(super) fn url(&self) -> Result<Option<String>, Problem> {
        let Some(url) = self.url.as_deref().map(|url| url.trim_end_matches('/')) else {
            return Ok(None);
        };
        let host = url.strip_prefix("https://").unwrap_or_default();
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if host.is_empty() || url.len() > URL_BYTES_MAX || !host.bytes().all(is_host) {
            let why = "it must be https:// with a name and perhaps a port";
            return Err(setting_problem("[account] url", why)
                .hint("url = \"https://accounts.shop.example\""));
        }
        Ok(Some(url.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn passphrases_pass_on_this_machine_only() {
        for right in ["127.0.0.1:7447", "[::1]:0"] {
            let bind = section(&format!("bind = \"{right}\"")).bind();
            assert_eq!(bind.unwrap(), Some(right.parse().unwrap()));
        }
        for wrong in ["0.0.0.0:7447", "192.0.2.1:7447", "[::]:7447"] {
            assert!(section(&format!("bind = \"{wrong}\"")).bind().is_err(), "{wrong}");
        }
    }

    #[test]
    fn owners_come_by_https() {
        let of = |url: &str| section(&format!("url = \"{url}\"")).url();
        for (right, expected) in [
            ("https://accounts.shop.example", "https://accounts.shop.example"),
            ("https://accounts.shop.example:8443/", "https://accounts.shop.example:8443"),
        ] {
            assert_eq!(of(right).unwrap().as_deref(), Some(expected));
        }
        for wrong in ["http://a.example", "https://", "https://a.example/x", "https://a b", "a"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert_eq!(section("").url().unwrap(), None);
    }
}
