//! Judgement of a certificate with the chain that is sent with it: what clients will make of it.
//!
//! Every place that judges uses it: import, checks of files and domains, status, probes.

use crate::{
    certificate::Certificate,
    chain::{self, ChainError},
    rule::Reason,
    verify::{Purpose, Refused, Request, Rules, verify},
};

/// Weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing has to be done.
    Note,
    /// Some clients may refuse the certificate.
    Warning,
    /// Clients will refuse the certificate.
    Error,
}

/// A finding about a certificate and its chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// Order or links of the chain are wrong.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A certificate of the chain that clients need has expired.
    #[error("{subject} in the CA chain has expired")]
    Expired {
        /// Its subject.
        subject: String,
        /// End of its validity, in seconds since 1970.
        not_after: u64,
        /// URL of its present copy, as what it issued gives it.
        url: Option<String>,
    },
    /// A certificate of the chain that clients need is not valid yet.
    #[error("{subject} in the CA chain is not valid yet")]
    NotYetValid {
        /// Its subject.
        subject: String,
        /// Begin of its validity, in seconds since 1970.
        not_before: u64,
    },
    /// The self-signed certificate at the end of the chain has expired.
    #[error("{subject} in the CA chain has expired: clients that trust this copy refuse it")]
    ExpiredRoot {
        /// Its subject.
        subject: String,
    },
    /// A certificate of the chain has expired, but a valid path leads past it.
    #[error("{subject} in the CA chain has expired; clients do not need it")]
    ExpiredUnneeded {
        /// Its subject.
        subject: String,
    },
    /// The issuer of the last certificate is neither in the chain nor trusted.
    #[error("the issuer of {subject:?} is neither sent with it nor trusted here: {issuer:?}")]
    Incomplete {
        /// Subject of the last certificate.
        subject: String,
        /// Name of its issuer.
        issuer: String,
        /// URL of the issuer's certificate, as the last certificate gives it.
        url: Option<String>,
    },
    /// The chain is complete, but its root is not trusted here: a private authority.
    #[error("leads to {root}, which is not trusted here: clients must know it")]
    PrivateRoot {
        /// Subject of the root.
        root: String,
    },
    /// A certificate breaks a rule, so that no path is valid.
    #[error("{at_fault}: {detail}")]
    Rule {
        /// Kind of the rule.
        reason: Reason,
        /// The fault, in words.
        detail: String,
        /// Subject of the certificate at fault.
        at_fault: String,
    },
}

impl Finding {
    /// Returns the weight.
    pub fn severity(&self) -> Severity {
        match self {
            Finding::Chain(_)
            | Finding::Expired { .. }
            | Finding::NotYetValid { .. }
            | Finding::Rule { .. } => Severity::Error,
            // Roots do not say where their certificates are to be found, so that this one is an
            // intermediate, and clients lack it.
            Finding::Incomplete { url: Some(_), .. } | Finding::ExpiredRoot { .. } => {
                Severity::Warning
            }
            Finding::Incomplete { .. }
            | Finding::ExpiredUnneeded { .. }
            | Finding::PrivateRoot { .. } => Severity::Note,
        }
    }

    /// Returns advice for the user. The file is the one with the certificate and its chain.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Finding::Chain(ChainError::Order { .. }) => {
                "put it in order: --sort of cert import and chain set does it".to_owned()
            }
            Finding::Chain(ChainError::Stray { strays, .. }) => {
                let strays = strays.join(", ");
                format!("leave {strays} out of the file: --sort does it")
            }
            Finding::Chain(ChainError::LinkMissing { issuer, url, strays, .. }) => format!(
                "add the certificate of {issuer:?} to the file{}    or leave {} out: --sort does it",
                from(url.as_deref()),
                strays.join(", ")
            ),
            Finding::Expired { url, .. } => format!(
                "get the present certificate of this authority{}, and: conclave chain set",
                from(url.as_deref())
            ),
            Finding::NotYetValid { .. } => {
                "get the present certificate of this authority, and: conclave chain set".to_owned()
            }
            Finding::Incomplete { issuer, url, .. } => format!(
                "add the certificate of {issuer:?} to the file{}; if it is a root that clients have: conclave trust add",
                from(url.as_deref())
            ),
            Finding::PrivateRoot { .. } => "conclave trust add, if it is yours".to_owned(),
            Finding::ExpiredRoot { .. } => {
                "leave it out of the file, or send its present copy".to_owned()
            }
            _ => return None,
        })
    }

    /// Returns the stable error code.
    pub fn code(&self) -> &'static str {
        match self {
            Finding::Chain(ChainError::Order { .. } | ChainError::Stray { .. }) => "H002",
            Finding::Chain(ChainError::LinkMissing { .. }) | Finding::Incomplete { .. } => "H003",
            Finding::Chain(_) => "H009",
            Finding::Expired { .. }
            | Finding::NotYetValid { .. }
            | Finding::ExpiredRoot { .. }
            | Finding::ExpiredUnneeded { .. } => "C005",
            Finding::PrivateRoot { .. } => "H005",
            Finding::Rule { reason, .. } => reason.code(),
        }
    }
}

/// Returns where to get a certificate, as a certificate names it (RFC 5280 §4.2.2.1).
fn from(url: Option<&str>) -> String {
    url.map_or_else(String::new, |url| {
        format!(", from {url} (openssl x509 -inform DER -in DOWNLOAD makes PEM of it)")
    })
}

/// A judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Position of the trusted certificate to which a valid path leads, if one does.
    pub anchor: Option<usize>,
    /// Findings, the heaviest first.
    pub findings: Vec<Finding>,
}

/// Judges `leaf` with the `chain` that is sent with it, at `at` (seconds since 1970). The leaf's
/// own validity and its names are not judged.
pub fn judge(
    leaf: &Certificate,
    chain: &[Certificate],
    anchors: &[Certificate],
    at: u64,
) -> Judgement {
    let mut findings = Vec::new();
    if let Err(error) = chain::check(Some(leaf), chain, at) {
        findings.push(Finding::Chain(error));
    }
    // Valid at its own time, so that an expired leaf hides nothing about its chain.
    let at = at.clamp(leaf.not_before(), leaf.not_after().max(leaf.not_before()));
    let anchor = match path(leaf, chain, anchors, at) {
        Ok(anchor) => {
            let is_old = |one: &&Certificate| one.not_after() < at;
            findings.extend(chain.iter().filter(is_old).map(|one| {
                let subject = one.subject();
                Finding::ExpiredUnneeded { subject }
            }));
            Some(anchor)
        }
        Err(refused) => {
            findings.extend(without_path(leaf, chain, anchors, at, refused));
            None
        }
    };
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    Judgement { anchor, findings }
}

/// Judges a chain whose leaf is not known yet.
pub fn judge_chain(chain: &[Certificate], at: u64) -> Vec<Finding> {
    let sent: Vec<&Certificate> = chain.iter().collect();
    let linked = chain::check(None, chain, at).err().map(Finding::Chain);
    let dates = chain.iter().filter_map(|one| out_of_date(one, at, &sent));
    linked.into_iter().chain(dates).collect()
}

/// Finds out why no path leads to an anchor.
fn without_path(
    leaf: &Certificate,
    chain: &[Certificate],
    anchors: &[Certificate],
    at: u64,
    refused: Refused,
) -> Vec<Finding> {
    let sent: Vec<&Certificate> = std::iter::once(leaf).chain(chain).collect();
    let mut found: Vec<Finding> =
        chain.iter().filter_map(|one| out_of_date(one, at, &sent)).collect();
    if found.iter().any(|one| one.severity() == Severity::Error) {
        return found;
    }
    let last = last_of(leaf, chain, at);
    let is_self_signed = last.is_issued_by(last);
    let issued_by_anchor = anchors.iter().any(|anchor| last.is_issued_by(anchor));
    // A path to the last certificate shows whether the chain itself keeps the rules.
    let inside = path(leaf, chain, std::slice::from_ref(last), at);
    let broken = match (inside, issued_by_anchor) {
        (Err(broken), _) if broken.reason != Reason::NoPath => Some(broken),
        (Ok(_), true) if refused.reason != Reason::NoPath => Some(refused),
        _ => None,
    };
    if let Some(Refused { reason, detail, at_fault, .. }) = broken {
        return vec![Finding::Rule { reason, detail, at_fault }];
    }
    let subject = last.subject_or_names();
    found.push(match is_self_signed {
        true => Finding::PrivateRoot { root: subject },
        false => Finding::Incomplete { subject, issuer: last.issuer(), url: last.issuer_url() },
    });
    found
}

/// Returns the finding about the dates of a certificate of the chain. Of a self-signed one, clients
/// use the copy that they trust. `sent` are the certificates that may name its present copy.
fn out_of_date(certificate: &Certificate, at: u64, sent: &[&Certificate]) -> Option<Finding> {
    let subject = certificate.subject();
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    match subject == certificate.issuer() {
        true if not_after < at => Some(Finding::ExpiredRoot { subject }),
        true => None,
        false if not_after < at => {
            let issued = sent.iter().find(|one| one.issuer() == subject);
            let url = issued.and_then(|one| one.issuer_url());
            Some(Finding::Expired { subject, not_after, url })
        }
        false if at < not_before => Some(Finding::NotYetValid { subject, not_before }),
        false => None,
    }
}

/// Returns the last certificate of the chain in its correct order; the leaf if nothing issued it.
fn last_of<'c>(leaf: &'c Certificate, chain: &'c [Certificate], at: u64) -> &'c Certificate {
    let last = match chain::check(Some(leaf), chain, at) {
        Ok(()) => chain.last(),
        Err(
            ChainError::Order { should }
            | ChainError::LinkMissing { should, .. }
            | ChainError::Stray { should, .. },
        ) => should.last().and_then(|place| chain.get(*place)),
        Err(ChainError::TooMuch) => None,
    };
    last.unwrap_or(leaf)
}

/// Returns the position of the anchor of a valid path.
fn path(
    leaf: &Certificate,
    chain: &[Certificate],
    anchors: &[Certificate],
    at: u64,
) -> Result<usize, Refused> {
    let path = verify(&Request {
        certificate: leaf,
        intermediates: chain,
        anchors,
        crls: &[],
        is_list_required: false,
        purpose: Purpose::Any,
        name: None,
        at,
        rules: Rules::Path,
        depth: None,
    });
    path.map(|path| path.anchor)
}
