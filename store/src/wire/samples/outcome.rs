//! An outcome of each kind.

use super::{account, value::*};
use crate::{
    id::*,
    outcome::{Done, Outcome, Rejection},
    record::{KeyFamily, RowKey},
    samples::variant,
};

/// Returns outcomes of every kind, by their names.
pub(super) fn all() -> Vec<(String, Outcome)> {
    let done = done().map(|done| (variant(&done), Outcome::Done(done)));
    let rejected = rejections().into_iter().chain(account::rejections());
    let rejected = rejected.map(|no| (variant(&no), Outcome::Rejected(no)));
    done.into_iter().chain(rejected).collect()
}

/// Returns every kind of result.
pub(super) fn done() -> [Done; 5] {
    [
        Done::Domain { name: domain_name("shop.example"), version: Version(9) },
        Done::Member { id: NodeId(3) },
        Done::Generation(Generation(2)),
        Done::TlsSettings(Version(4)),
        Done::Changed,
    ]
}

fn rejections() -> Vec<Rejection> {
    let shop = || domain_name("shop.example");
    let token = TokenId([1; 8]);
    vec![
        Rejection::Stale(RowKey::Domain(shop())),
        Rejection::OperationReused(OperationId::parse("op").unwrap()),
        Rejection::ClusterExists(ClusterName::parse("prod").unwrap()),
        Rejection::NoCluster,
        Rejection::JoinTokenUnknown(token),
        Rejection::JoinTokenUsed { token, node: NodeId(3) },
        Rejection::JoinTokenExpired { token, expired: TIME },
        Rejection::NodeNameTaken(NodeName::parse("node-1").unwrap()),
        Rejection::WrapsMismatch,
        Rejection::GenerationOld { found: Generation(1), current: Generation(2) },
        Rejection::AccessTokenUnknown(token),
        Rejection::DomainUnknown(shop()),
        Rejection::NameTaken { name: server_name("*.shop.example"), owner: shop() },
        Rejection::KeyExists { name: shop(), family: KeyFamily::Rsa },
        Rejection::KeyMissing(shop()),
        Rejection::CertificateOfOtherKey { key: fingerprint(1), certificate: fingerprint(2) },
        Rejection::CertificateMissing(shop()),
        Rejection::ChainMissing(shop()),
        Rejection::ListenerExists(listener_name("https")),
        Rejection::PortTaken(listener_name("https")),
        Rejection::ListenerUnknown(listener_name("https")),
        Rejection::TrustedUnknown(fingerprint(6)),
        Rejection::VersionUnknown { name: shop(), version: Version(2) },
        Rejection::SessionKeyUnknown(SessionKeyId([1; 8])),
        Rejection::TooMany { what: "listeners".to_owned(), max: 256 },
        Rejection::MainDomain { name: domain_name("node-1.main"), node: "node-1".to_owned() },
        Rejection::OperationForgotten {
            operation: OperationId::parse("op").unwrap(),
            forgotten: TIME,
        },
        Rejection::LevelUnknown { level: 2, max: 1 },
        Rejection::LevelReached { level: 1 },
        Rejection::MemberUnknown(NodeId(3)),
        Rejection::LastVoter(NodeName::parse("node-1").unwrap()),
        Rejection::NodeKeyTaken(NodeName::parse("node-1").unwrap()),
        Rejection::GenerationInUse(Generation(1)),
        Rejection::NotRestoring,
        Rejection::AuthorityTurning,
        Rejection::CanaryExists(domain_name("shop.example")),
        Rejection::TokenUsedUp(token),
        Rejection::UserExists(user_name("alice")),
        Rejection::UserUnknown(user_name("alice")),
        Rejection::AuditCutWrong(70_000),
        Rejection::CanaryUnknown(domain_name("shop.example")),
    ]
}
