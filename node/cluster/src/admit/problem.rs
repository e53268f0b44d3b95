//! Conversion of refusals and rejections to problems of the API.

use conclave_api::problem::{Code, Location, Problem};
use conclave_pki::{
    certificate::CertificateError, chain::ChainError, issue::IssueError, judge::Finding,
    key::KeyError,
};
use conclave_store::{id::DomainName, outcome::Rejection, record::KeyFamily, time::UnixMillis};
use conclave_system::clock;

use crate::replica::UPGRADE_HINT;

pub(super) fn domain_unknown(name: &DomainName) -> Problem {
    Problem::new(Code::DomainUnknown, format!("no domain {name}"))
        .hint(format!("conclave domain list    or: conclave domain create {name}"))
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap_or(Code::Internal)
}

/// Makes a location without the text of the line: any line of any file may be part of a key.
fn location(field: &str, line: usize) -> Location {
    let line = u64::try_from(line).unwrap_or(u64::MAX);
    Location { file: field.to_owned(), line, text: None }
}

/// Converts an error of a private key. `field` is the request's field that contains the key.
pub(super) fn key(field: &str, error: &KeyError) -> Problem {
    let mut problem = Problem::new(code(error.code()), error.to_string())
        .hint(error.hint().replace("INPUT", field));
    if let KeyError::Encrypted { is_old_form, .. } = error {
        let form = if *is_old_form { "old OpenSSL encryption" } else { "PKCS#8 encryption" };
        problem = problem.detail(form).why("a node must be able to use the key without a person");
    }
    let is_header = matches!(error, KeyError::Encrypted { is_old_form: true, .. });
    let header = is_header.then(|| "Proc-Type: 4,ENCRYPTED".to_owned());
    let text = header.or_else(|| error.text().map(str::to_owned));
    match error.line() {
        Some(line) => problem.at(Location { text, ..location(field, line) }),
        None => problem,
    }
}

/// Converts an error of an imported certificate.
pub(super) fn certificate(field: &str, error: &CertificateError) -> Problem {
    let problem = Problem::new(code(error.code()), error.to_string())
        .hint(error.hint().replace("INPUT", field));
    let text = error.text().map(str::to_owned);
    match error.line() {
        Some(line) => problem.at(Location { text, ..location(field, line) }),
        None => problem,
    }
}

/// Converts an error of making a certificate.
pub(super) fn issue(error: &IssueError) -> Problem {
    let code = match error {
        IssueError::Attribute { .. } | IssueError::Name { .. } | IssueError::Purpose { .. } => {
            Code::CertificateFieldInvalid
        }
        IssueError::Issuer { .. } => Code::SmimeIssuerMissing,
        IssueError::Validity { .. } => Code::CertificateOutOfDate,
        _ => Code::Internal,
    };
    Problem::new(code, error.to_string())
}

/// Converts a finding about a certificate and its chain.
pub(super) fn finding(finding: &Finding) -> Problem {
    let days_of = |seconds: u64| clock::rfc3339(UnixMillis(seconds.saturating_mul(1_000)));
    let problem = Problem::new(code(finding.code()), finding.to_string());
    let problem = match finding {
        Finding::Chain(ChainError::Order { should }) => {
            let places: Vec<String> = should.iter().map(|place| (place + 1).to_string()).collect();
            problem.detail(format!("in order they are those at places {}", places.join(", ")))
        }
        Finding::Chain(ChainError::LinkMissing { issuer, .. }) => {
            problem.detail(format!("its issuer is {issuer:?}"))
        }
        Finding::Expired { not_after, .. } => problem
            .detail(format!("it expired at {}", days_of(*not_after)))
            .why("clients refuse a certificate whose chain has expired"),
        Finding::NotYetValid { not_before, .. } => {
            problem.detail(format!("it is valid from {} on", days_of(*not_before)))
        }
        _ => problem,
    };
    match (finding, finding.hint()) {
        (Finding::Chain(ChainError::Order { .. }), _) => problem.hint("repeat with --sort"),
        (
            Finding::Chain(ChainError::LinkMissing { .. })
            | Finding::Expired { .. }
            | Finding::NotYetValid { .. },
            Some(hint),
        ) => problem.hint(format!("{hint}    or: --allow-broken-chain")),
        (_, Some(hint)) => problem.hint(hint),
        _ => problem,
    }
}

/// Returns the ways to another key of a domain.
fn another_key(name: &DomainName, family: KeyFamily) -> String {
    let family = family.to_string().to_lowercase();
    format!(
        "conclave csr create {name} --new-key    renews without a gap    or: conclave cert import \
         {name} FILE --key FILE    or: conclave key remove {name} --family {family}"
    )
}

/// Converts a rejection of apply.
pub fn rejection_problem(rejection: &Rejection) -> Problem {
    use Rejection as R;
    let (code, hint) = match rejection {
        R::Stale(_) | R::WrapsMismatch | R::GenerationOld { .. } => (
            Code::VersionConflict,
            "repeat the command: other changes of the same object came first".to_owned(),
        ),
        R::OperationReused(_) => (Code::OperationReused, "leave --operation out".to_owned()),
        R::OperationForgotten { .. } => {
            let hint = "look whether the change is made; if not, make it without --operation    if this was the first try, set the clock";
            (Code::OperationForgotten, hint.to_owned())
        }
        R::LevelUnknown { .. } | R::LevelReached { .. } => {
            (Code::VersionTooOld, UPGRADE_HINT.to_owned())
        }
        R::ClusterExists(_) => (Code::AlreadyMember, "conclave status".to_owned()),
        R::AuthorityTurning => (
            Code::AuthorityTurning,
            "end that first: conclave cluster rotate-authority --finish".to_owned(),
        ),
        R::NotRestoring => (
            Code::NotRestoring,
            "restore on a node that belongs to no cluster: conclave backup restore FILE".to_owned(),
        ),
        R::NoCluster => (Code::NoCluster, "conclave cluster init --name NAME".to_owned()),
        R::JoinTokenUnknown(_) | R::JoinTokenUsed { .. } | R::JoinTokenExpired { .. } => {
            (Code::JoinTokenSpent, "on any member: conclave join-token create".to_owned())
        }
        R::VersionUnknown { name, .. } => {
            (Code::VersionNotKept, format!("conclave domain history {name}"))
        }
        R::CanaryExists(name) => {
            (Code::VersionConflict, format!("conclave cert canary {name} --stop    or: --promote"))
        }
        R::CanaryUnknown(name) => (Code::NotFound, format!("conclave domain history {name}")),
        R::DomainUnknown(name) => return domain_unknown(name),
        R::NameTaken { owner, .. } => (Code::NameTaken, format!("conclave domain show {owner}")),
        R::MainDomain { .. } => {
            (Code::NameTaken, "choose another name    or: --scope local on that node".to_owned())
        }
        R::KeyExists { name, family } => (Code::KeyExists, another_key(name, *family)),
        R::KeyMissing(name) => (
            Code::KeyMissing,
            format!("conclave key generate {name}    or: conclave key import {name} FILE"),
        ),
        R::CertificateOfOtherKey { key, certificate } => {
            return Problem::new(Code::CertificateOfOtherKey, rejection.to_string())
                .detail(format!("domain key SHA-256 {key}, certificate key {certificate}"))
                .hint("conclave csr create NAME makes a request for the present key    or import both: conclave cert import NAME FILE --key FILE");
        }
        R::CertificateMissing(name) => {
            (Code::CertificateMissing, format!("conclave cert import {name} FILE"))
        }
        R::ChainMissing(name) => (Code::ChainMissing, format!("conclave chain set {name} FILE")),
        R::ListenerExists(name) | R::PortTaken(name) => (
            Code::ListenerExists,
            format!("conclave listener show {name}    conclave listener set {name} --help"),
        ),
        R::ListenerUnknown(_) => (Code::ListenerUnknown, "conclave listener list".to_owned()),
        other => match access_rejection(other) {
            Some(told) => told,
            None => return member_problem(other),
        },
    };
    let problem = Problem::new(code, rejection.to_string()).hint(hint);
    match rejection {
        R::MainDomain { .. } => {
            problem.why("a Main Domain belongs to one node and is never shared")
        }
        _ => problem,
    }
}

/// Returns code and hint of a rejection about trust, tokens, users or the audit trail.
fn access_rejection(rejection: &Rejection) -> Option<(Code, String)> {
    use Rejection as R;
    Some(match rejection {
        R::TrustedUnknown(_) => (Code::TrustedCertificateUnknown, "conclave trust list".to_owned()),
        R::AccessTokenUnknown(_) => (Code::NotFound, "conclave token list".to_owned()),
        R::TokenUsedUp(_) => {
            (Code::TokenUsedUp, "conclave token create NAME --role ROLE --uses N".to_owned())
        }
        R::UserUnknown(_) => (Code::UserUnknown, "conclave user list".to_owned()),
        R::UserExists(name) => (Code::UserExists, format!("conclave user set {name}")),
        R::AuditCutWrong(_) => (Code::NotFound, "conclave audit list".to_owned()),
        R::AccountUnknown(address) => {
            (Code::AccountUnknown, format!("conclave account list {}", address.domain()))
        }
        R::AccountExists(address) => {
            (Code::AccountExists, format!("conclave account show {address}"))
        }
        R::AccountKeyMissing(address) => (
            Code::KeyMissing,
            format!("conclave account key generate {address} --passphrase-file FILE"),
        ),
        R::AccountKeyExists(address) => {
            (Code::KeyExists, format!("conclave account show {address}"))
        }
        R::AccountsRemain(name) => (
            Code::AccountsRemain,
            format!("conclave account list {name}    conclave account delete EMAIL"),
        ),
        R::SerialUnknown { address, .. } => {
            (Code::CertificateMissing, format!("conclave account show {address}"))
        }
        R::CertificateRevoked(_) => (
            Code::CertificateMissing,
            "conclave smime crl NAME    shows what is revoked".to_owned(),
        ),
        R::InvitationUnknown(address) => {
            (Code::InvitationRefused, format!("conclave account invite {address}"))
        }
        R::SmimeIssuerUnknown(name) => {
            (Code::SmimeIssuerMissing, format!("conclave smime self-sign {name}"))
        }
        _ => return None,
    })
}

/// Converts a rejection about members, or of a bound.
fn member_problem(rejection: &Rejection) -> Problem {
    let problem = |code| Problem::new(code, rejection.to_string());
    match rejection {
        Rejection::NodeNameTaken(_) => problem(Code::NodeNameTaken)
            .why("nodes are told apart by name in every answer")
            .hint("give this node another [node] name in its configuration"),
        Rejection::MemberUnknown(_) => problem(Code::NodeUnknown).hint("conclave node list"),
        Rejection::NodeKeyTaken(_) => problem(Code::NodeKeyTaken)
            .hint("start the new node with an empty data_dir, so that it makes keys of its own"),
        Rejection::LastVoter(_) => problem(Code::QuorumWouldBeLost)
            .hint("conclave join-token create    makes room for another"),
        _ => problem(Code::LimitReached),
    }
}
