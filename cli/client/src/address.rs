//! Addresses of nodes, and access tokens.

use std::{path::PathBuf, str::FromStr, sync::Arc};

use conclave_api::problem::{Code, Problem};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::Failure;

/// Address of a node's admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `https://HOST:PORT`.
    Https(String),
}

/// Largest number of addresses in a list.
pub const ADDRESSES_MAX: usize = 64;

impl Address {
    /// Reads a list of addresses with commas between.
    pub fn list(text: &str) -> Result<Vec<Address>, Failure> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut addresses = words.map(str::parse).collect::<Result<Vec<Address>, _>>()?;
        let count = addresses.len();
        addresses.dedup();
        if (1..=ADDRESSES_MAX).contains(&count) {
            return Ok(addresses);
        }
        let title = match count {
            0 => format!("{text:?} holds no address of a node"),
            _ => format!(
                "{count} addresses of nodes are given, at most {ADDRESSES_MAX} are possible"
            ),
        };
        Err(Box::new(Problem::new(Code::Malformed, title).hint(HINT)))
    }

    /// Returns how a person may get access to the socket.
    pub(crate) fn way_in(&self) -> String {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let found = match self {
            Address::Unix(path) => std::fs::metadata(path).ok(),
            Address::Https(_) => None,
        };
        let group = found.filter(|found| found.permissions().mode() & 0o060 == 0o060);
        let group = group.and_then(|found| group_name(found.gid())).filter(|name| name != "root");
        match group {
            Some(group) => {
                format!("sudo conclave …    or: sudo usermod -aG {group} $USER, then log in again")
            }
            None => "sudo conclave …    (the socket is open to its owner only)".to_owned(),
        }
    }

    /// Returns whether the node at this address asks for an access token.
    pub fn needs_token(&self) -> bool {
        matches!(self, Address::Https(_))
    }
}

/// Returns the name of a group, if it is in /etc/group.
fn group_name(id: u32) -> Option<String> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let mut found = groups.lines().map(|line| line.split(':'));
    found.find_map(|mut fields| {
        let name = fields.next()?;
        let number = fields.nth(1)?.parse::<u32>().ok()?;
        (number == id).then(|| name.to_owned())
    })
}

const HINT: &str = "--address unix:PATH    or: --address https://HOST:PORT,https://HOST:PORT";

/// Returns the URL if it names a host and a port and nothing else.
fn url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://")?.trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':')?;
    let url = reqwest::Url::parse(text).ok()?;
    let has_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = !host.is_empty() && url.host_str().is_some() && url.username().is_empty();
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (has_port && is_host && is_bare && url.password().is_none())
        .then(|| format!("https://{host}:{port}"))
}

impl FromStr for Address {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Address, Failure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        if let Some(url) = url(text) {
            return Ok(Address::Https(url));
        }
        let problem =
            Problem::new(Code::Malformed, format!("{text:?} is not the address of a node"));
        Err(Box::new(problem.hint(HINT)))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
            Address::Https(url) => out.write_str(url),
        }
    }
}

/// An access token, `cvt_ID.SECRET.FINGERPRINT`, or the session of an account's owner, which begins
/// with `cva_`.
#[derive(Clone)]
pub struct AccessToken {
    /// The part sent to a node; empty: none.
    pub(crate) bearer: String,
    /// The certificate that the client shows.
    pub(crate) identity: Option<Arc<Identity>>,
    /// SHA-256 of the certificate of the cluster's authority, the only trusted one; none: those that
    /// the system trusts, as owners reach a domain and not a node.
    pub(crate) authority: Option<[u8; 32]>,
}

impl AccessToken {
    /// Returns what a client needs to log in: the fingerprint of the cluster's authority, and no
    /// token yet.
    pub fn of_authority(fingerprint: &str) -> Result<AccessToken, Failure> {
        let authority = fingerprint_bytes(fingerprint).ok_or_else(|| {
            let title = format!("{fingerprint:?} is not the SHA-256 of a certificate");
            Box::new(
                Problem::new(Code::Malformed, title)
                    .hint("on a member: conclave cluster show    names the cluster's authority"),
            )
        })?;
        Ok(AccessToken { bearer: String::new(), identity: None, authority: Some(authority) })
    }

    /// Returns what the owner of an account needs to log in: trust in the authorities of the system,
    /// and no token yet.
    pub fn of_system() -> AccessToken {
        AccessToken { bearer: String::new(), identity: None, authority: None }
    }

    /// Returns whether both are for the same cluster.
    pub fn is_of_same_cluster(&self, other: &AccessToken) -> bool {
        self.authority == other.authority
    }

    /// Returns the same with a certificate that the client shows. `pem` holds the certificate, then
    /// its chain, and its private key without a passphrase.
    pub fn with_identity(mut self, pem: &str) -> Result<AccessToken, Failure> {
        let unusable =
            |what: String| {
                let title = "the identity is not a certificate with its private key";
                Box::new(Problem::new(Code::FileUnusable, title).detail(what).hint(
                    "one PEM file: the certificate, its chain, and the key without a passphrase",
                ))
            };
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| unusable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
        let key = key.map_err(|error| unusable(error.to_string()))?;
        if chain.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        self.identity = Some(Arc::new(Identity { chain, key }));
        Ok(self)
    }
}

/// A certificate that a client shows, with its chain and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Reads 32 bytes in hex, with or without colons.
fn fingerprint_bytes(text: &str) -> Option<[u8; 32]> {
    let text = text.trim().replace(':', "");
    let digits = text.as_bytes().as_chunks::<2>().0.iter();
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

impl FromStr for AccessToken {
    type Err = Failure;

    fn from_str(text: &str) -> Result<AccessToken, Failure> {
        let owner = text.trim();
        if owner.starts_with("cva_") && owner.split('.').count() == 4 {
            return Ok(AccessToken { bearer: owner.to_owned(), ..AccessToken::of_system() });
        }
        let parse = || {
            let (bearer, fingerprint) = text.trim().rsplit_once('.')?;
            let authority = Some(fingerprint_bytes(fingerprint)?);
            let is_token = bearer.starts_with("cvt_") && bearer.contains('.');
            is_token.then(|| AccessToken { bearer: bearer.to_owned(), identity: None, authority })
        };
        parse().ok_or_else(|| {
            let problem = Problem::new(Code::NotLoggedIn, "this is not an access token")
                .detail("an access token begins with cvt_ and has three parts")
                .hint("on a member: conclave token create NAME --role ROLE");
            Box::new(problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_is_read_and_anything_else_is_refused() {
        let list = |text: &str| {
            let read = Address::list(text).map_err(|failure| failure.code);
            read.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        for (text, expected) in [
            ("unix:/run/a.sock", &["unix:/run/a.sock"][..]),
            ("https://a:1,https://b:2", &["https://a:1", "https://b:2"]),
            (" https://a:1/ , unix:/s,", &["https://a:1", "unix:/s"]),
            ("https://[::1]:7443", &["https://[::1]:7443"]),
        ] {
            let expected = expected.iter().map(|one| (*one).to_owned()).collect();
            assert_eq!(list(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            ",",
            "unix:",
            "https://a",
            "https://a:",
            "https://a:x",
            "https://a:70000",
            "https://a:0",
            "https://:1",
            "https://a b:1",
            "https://a:1/v1",
            "https://a:1?x",
            "https://user@a:1",
            "http://a:1",
            "a:1",
            "https://a:1;https://b:2",
        ] {
            assert_eq!(list(text), Err(Code::Malformed), "{text}");
        }
    }
}
