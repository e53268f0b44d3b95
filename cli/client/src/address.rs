//! Addresses of nodes, and access tokens.

use std::{path::PathBuf, str::FromStr};

use conclave_api::problem::{Code, Problem};

use crate::Failure;

/// Address of a node's admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `https://HOST:PORT`.
    Https(String),
}

impl FromStr for Address {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Address, Failure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        if text.strip_prefix("https://").is_some_and(|rest| rest.contains(':')) {
            return Ok(Address::Https(text.trim_end_matches('/').to_owned()));
        }
        let problem =
            Problem::new(Code::Malformed, format!("{text:?} is not the address of a node"))
                .hint("--address unix:PATH    or: --address https://HOST:PORT");
        Err(Box::new(problem))
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

/// An access token, `cvt_ID.SECRET.FINGERPRINT`.
#[derive(Clone)]
pub struct AccessToken {
    /// The part sent to a node.
    pub(crate) bearer: String,
    /// SHA-256 of the certificate of the cluster's authority, the only trusted one.
    pub(crate) authority: [u8; 32],
}

impl FromStr for AccessToken {
    type Err = Failure;

    fn from_str(text: &str) -> Result<AccessToken, Failure> {
        let parse = || {
            let (bearer, fingerprint) = text.trim().rsplit_once('.')?;
            let digits = fingerprint.as_bytes().as_chunks::<2>().0.iter();
            let bytes =
                digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
            let authority = bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
            let is_token = bearer.starts_with("cvt_") && bearer.contains('.');
            is_token.then(|| AccessToken { bearer: bearer.to_owned(), authority })
        };
        parse().ok_or_else(|| {
            let problem = Problem::new(Code::NotLoggedIn, "this is not an access token")
                .detail("an access token begins with cvt_ and has three parts")
                .hint("on a member: conclave token create NAME");
            Box::new(problem)
        })
    }
}
