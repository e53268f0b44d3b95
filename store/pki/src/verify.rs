//! Path validation (RFC 5280 §6): from a certificate, by way of others, to a trusted certificate.
//! The result is a valid path, or the exact rule and certificate at fault.
//!
//! All checks are ours, on `x509-cert` and `ring`: `rustls-webpki` refuses what RFC 5280 allows
//! (e-mail constraints, critical policies, long paths) and accepts what it forbids.

mod build;
mod imposed;
mod path;
mod policy;
mod profile;
mod revocation;
mod subtrees;
mod syntax;
#[cfg(test)]
mod tests;
mod webpki;

use std::net::IpAddr;

pub use crate::rule::Reason;
use crate::{certificate::Certificate, crl::Crl, rule::Broken};

/// Intended use of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// TLS server (id-kp-serverAuth).
    Server,
    /// TLS client (id-kp-clientAuth).
    Client,
    /// S/MIME (id-kp-emailProtection).
    Email,
    /// A signature of S/MIME (RFC 8550 §4.4.2).
    EmailSignature,
    /// Any use; also for a certificate that issues others.
    Any,
}

/// Expected name in a certificate.
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
    /// Parses a name as people write it: an address, otherwise an e-mail address, otherwise a DNS
    /// name.
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

/// Extent of the rules to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// The rules of §6 for paths.
    Path,
    /// The rules of §6, and those of §4 for the form of certificates.
    Profile,
    /// The rules of [`Rules::Profile`], and what browsers demand of public certificates: the
    /// Baseline Requirements of the CA/Browser Forum.
    WebPki,
}

/// Input of a validation.
pub struct Request<'a> {
    /// The certificate to validate.
    pub certificate: &'a Certificate,
    /// Candidates for the path between certificate and anchor.
    pub intermediates: &'a [Certificate],
    /// Trusted certificates.
    pub anchors: &'a [Certificate],
    /// Revocation lists; if empty, revocation is not checked.
    pub crls: &'a [Crl],
    /// Require a list that covers the certificate itself (set when lists are passed explicitly).
    /// The lists of a stored set need not cover it.
    pub is_list_required: bool,
    /// Intended use.
    pub purpose: Purpose,
    /// Expected name in the certificate, if any.
    pub name: Option<&'a Subject>,
    /// Time of validation, in seconds since 1970.
    pub at: u64,
    /// Rules to check.
    pub rules: Rules,
    /// Most intermediates between certificate and anchor, without self-issued ones (RFC 5280
    /// §4.2.1.9 counts so); none: the bound of every path.
    pub depth: Option<usize>,
}

/// A valid path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Positions of the intermediates used, from the certificate upwards.
    pub intermediates: Vec<usize>,
    /// Position of the anchor.
    pub anchor: usize,
}

/// Reason why a certificate is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// Kind of rule.
    pub reason: Reason,
    /// The fault, in words.
    pub detail: String,
    /// Source of the rule, as `RFC 5280 §4.2.1.9`.
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

/// Finds a valid path. If there is none, returns the fault of the path that came furthest.
pub fn verify(request: &Request<'_>) -> Result<Path, Refused> {
    build::Search::new(request).run()
}
