//! Where decrypted bytes may go.

use std::net::{IpAddr, SocketAddr};

/// `HOST:PORT` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream(String);

/// Why something is no upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UpstreamError {
    /// Not of the form.
    #[error("{0:?} is not of the form HOST:PORT")]
    Malformed(String),
    /// It would open the node itself, or the metadata services of clouds.
    #[error("{0} is a port of this node's administration or a link-local address")]
    Forbidden(SocketAddr),
}

impl Upstream {
    pub(crate) fn parse(text: &str, forbidden: &[SocketAddr]) -> Result<Upstream, UpstreamError> {
        let malformed = || UpstreamError::Malformed(text.chars().take(80).collect());
        if let Ok(address) = text.parse::<SocketAddr>() {
            Upstream::check_address(address, forbidden)?;
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
        let is_host = !host.is_empty()
            && host.len() <= 255
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]%".contains(&b));
        if is_port && is_host { Ok(Upstream(text.to_owned())) } else { Err(malformed()) }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses addresses where no upstream may be; asked again at each connect, because a name
    /// can change what it means.
    pub(crate) fn check_address(
        address: SocketAddr,
        forbidden: &[SocketAddr],
    ) -> Result<(), UpstreamError> {
        let is_link_local = match address.ip().to_canonical() {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let reaches = |admin: &SocketAddr| {
            admin.port() == address.port()
                && (admin.ip() == address.ip()
                    || admin.ip().is_unspecified()
                    || address.ip().is_unspecified())
        };
        if is_link_local || forbidden.iter().any(reaches) {
            return Err(UpstreamError::Forbidden(address));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_never_reach_the_administration_or_link_local_addresses() {
        let admin = ["127.0.0.1:7443".parse().unwrap(), "0.0.0.0:7445".parse().unwrap()];
        let check = |text: &str, is_possible: bool| {
            assert_eq!(Upstream::parse(text, &admin).is_ok(), is_possible, "{text}");
        };
        check("127.0.0.1:8080", true);
        check("backend.internal:25", true);
        check("[::1]:8080", true);
        check("127.0.0.1:7443", false);
        check("10.0.0.1:7445", false);
        check("169.254.169.254:80", false);
        check("[fe80::1]:80", false);
        check("backend", false);
        check("backend:0", false);
        check("back end:80", false);
    }
}
