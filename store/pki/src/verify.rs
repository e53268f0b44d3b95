//! Path validation (RFC 5280 §6): from a certificate, with others beside it, to one of the
//! trusted certificates; with the answer, or the exact rule and certificate at fault.
//!
//! All checks are ours, on `x509-cert` and `ring`: `rustls-webpki` refuses what RFC 5280 allows
//! (e-mail constraints, critical policies, long paths) and accepts what it forbids.

mod build;
mod path;
mod policy;
mod profile;
mod revocation;
mod subtrees;
mod syntax;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use crate::rule::Reason;
use crate::{certificate::Certificate, crl::Crl, rule::Broken};

/// What the certificate is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// TLS server (id-kp-serverAuth).
    Server,
    /// TLS client (id-kp-clientAuth).
    Client,
    /// S/MIME (id-kp-emailProtection).
    Email,
    /// Anything; also a certificate that issues others.
    Any,
}

/// Whom the certificate is to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A DNS name, in lower case.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
}

impl Subject {
    /// Reads what people write: an address, else an e-mail address, else a DNS name.
    pub fn parse(text: &str) -> Subject {
        if let Ok(address) = text.parse::<IpAddr>() {
            Subject::Ip(address)
        } else if text.contains('@') {
            Subject::Email(text.to_owned())
        } else {
            Subject::Dns(text.trim_end_matches('.').to_ascii_lowercase())
        }
    }
}

/// How much of RFC 5280 is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// What §6 says of paths.
    Path,
    /// That, and what §4 says that certificates must look like.
    Profile,
}

/// What is asked.
pub struct Request<'a> {
    /// The certificate in question.
    pub certificate: &'a Certificate,
    /// Certificates that may lead to an anchor.
    pub intermediates: &'a [Certificate],
    /// Trusted certificates.
    pub anchors: &'a [Certificate],
    /// Revocation lists; none: revocation is not checked.
    pub crls: &'a [Crl],
    /// One of the lists must speak about the certificate itself, as when somebody gives them for
    /// it. Lists that stand in a set speak about whom they do, and not about others.
    pub is_list_required: bool,
    /// What for.
    pub purpose: Purpose,
    /// For whom, if that matters.
    pub name: Option<&'a Subject>,
    /// Point of time, seconds since 1970.
    pub at: u64,
    /// Which rules.
    pub rules: Rules,
}

/// A path that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Places of the intermediates used, from the certificate upwards.
    pub intermediates: Vec<usize>,
    /// Place of the anchor.
    pub anchor: usize,
}

/// Why a certificate is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// Kind of rule.
    pub reason: Reason,
    /// What is wrong, in words.
    pub detail: String,
    /// Where the rule stands, as `RFC 5280 §4.2.1.9`.
    pub rule: &'static str,
    /// Subject of the certificate at fault.
    pub at_fault: String,
}

impl Refused {
    fn of(broken: Broken, certificate: &Certificate) -> Refused {
        let mut at_fault = certificate.subject();
        if at_fault.is_empty() {
            at_fault = format!("serial {}", certificate.serial());
        }
        Refused { reason: broken.reason, detail: broken.detail, rule: broken.source, at_fault }
    }
}

/// Finds a valid path, or says why there is none: of all paths tried, what is wrong with the
/// one that came furthest.
pub fn verify(request: &Request<'_>) -> Result<Path, Refused> {
    build::Search::new(request).run()
}
