//! Answers about the health of the cluster.

use serde::{Deserialize, Serialize};

use crate::node::Node;

/// Status of the cluster, as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Status`.
    pub kind: String,
    /// Name of the answering node.
    pub node: String,
    /// Version of the answering node's program.
    pub version: String,
    /// The cluster; none if the node has not founded or joined one yet.
    pub cluster: Option<ClusterStatus>,
    /// The keyring.
    pub keyring: Option<KeyringStatus>,
    /// Members.
    pub nodes: Vec<Node>,
    /// Counts of domains.
    pub domains: DomainCounts,
    /// Problems of the cluster, its nodes, domains and listeners.
    pub problems: Vec<StatusProblem>,
}

/// Status of the cluster and of its Raft group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Name.
    pub name: String,
    /// Id.
    pub id: String,
    /// SHA-256 of the certificate of its authority.
    pub fingerprint: String,
    /// `healthy`, `attention` or `no-leader`.
    pub health: String,
    /// Number of voters.
    pub voters: u64,
    /// Number of learners.
    pub learners: u64,
    /// Leader, by name.
    pub leader: Option<String>,
    /// Raft term.
    pub term: u64,
    /// Quorum: number of voters that must accept a change.
    pub quorum: u64,
    /// Fault tolerance: number of voters that may still fail.
    pub can_lose: u64,
    /// Whether there is no leader. Then all values are the last ones that the answering node knew.
    pub stale: bool,
    /// Highest committed index, as the answering node knows it.
    pub commit_index: u64,
    /// Highest index applied by the answering node.
    pub applied_index: u64,
    /// Index of the answering node's last snapshot.
    pub snapshot_index: u64,
    /// Index up to which the answering node has purged its log.
    pub purged_index: u64,
    /// Number of rows in the answering node's State.
    pub rows: u64,
    /// Digest of the answering node's State, hex.
    pub digest: String,
}

/// Status of the keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringStatus {
    /// Current generation.
    pub generation: u64,
    /// Names of the sealed nodes.
    pub sealed_nodes: Vec<String>,
}

/// Numbers of domains, shared and local ones together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCounts {
    /// All domains.
    pub total: u64,
    /// Enabled, with certificates valid for at least 30 more days.
    pub valid: u64,
    /// Enabled, with a valid certificate that expires within 30 days.
    pub expiring: u64,
    /// Enabled, but without a certificate, or with one outside its validity.
    pub problem: u64,
    /// In test mode.
    pub test: u64,
    /// Disabled.
    pub disabled: u64,
}

/// A problem of a node, a domain or a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusProblem {
    /// Error code.
    #[serde(deserialize_with = "crate::problem::known_code")]
    pub code: crate::problem::Code,
    /// `error` or `warning`.
    pub severity: String,
    /// The affected object: a domain, a node, a listener.
    pub object: String,
    /// The problem in words.
    pub text: String,
    /// Next step.
    pub hint: String,
}
