//! Answers about the health of the cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{canary::Canary, finding::Severity, node::Node};

/// Status of the cluster, as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The last complete backup; none if the cluster knows of none.
    #[serde(default)]
    pub backup: Option<BackupStatus>,
    /// Members.
    pub nodes: Vec<Node>,
    /// Counts of domains.
    pub domains: DomainCounts,
    /// New certificates that one node serves before all others do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<Canary>,
    /// Problems of the cluster, its nodes, domains and listeners.
    pub problems: Vec<StatusProblem>,
}

/// Status of the cluster and of its Raft group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStatus {
    /// Name.
    pub name: String,
    /// Id.
    pub id: String,
    /// SHA-256 of the certificate of its authority.
    pub fingerprint: String,
    /// Health in one word.
    pub health: Health,
    /// Number of voters.
    pub voters: u64,
    /// Number of learners.
    pub learners: u64,
    /// Leader, by name.
    pub leader: Option<String>,
    /// Raft term.
    pub term: u64,
    /// Level of the rules: the leader raises it when every member knows the next one.
    #[serde(default)]
    pub level: u32,
    /// Highest level that every member knows; above `level` while an upgrade is not finalized.
    #[serde(default)]
    pub level_possible: u32,
    /// Quorum: number of voters that must accept a change.
    pub quorum: u64,
    /// Number of voters that answer.
    #[serde(default)]
    pub reachable: u64,
    /// Fault tolerance: number of voters that may still fail.
    pub can_lose: u64,
    /// Whether no leader with a quorum answered the node. Then all values are the last ones that it
    /// knew.
    pub stale: bool,
    /// Time since the node last knew of one, in seconds; none if it never did since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_s: Option<u64>,
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

/// Health of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing needs attention.
    Healthy,
    /// Something needs attention, see the problems.
    Attention,
    /// No leader answers the node, though enough voters do: changes are impossible.
    NoLeader,
    /// Too few voters answer the node: changes are impossible.
    NoQuorum,
}

/// The last complete backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupStatus {
    /// Time at which it was made.
    pub time: String,
    /// Age in seconds.
    pub age_s: u64,
    /// Index of the last change in it.
    pub index: u64,
    /// Name of the node that made it.
    pub node: String,
}

/// Status of the keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyringStatus {
    /// Current generation.
    pub generation: u64,
    /// Names of the sealed nodes.
    pub sealed_nodes: Vec<String>,
}

/// Numbers of domains, shared and local ones together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainCounts {
    /// All domains.
    pub total: u64,
    /// Enabled, and nothing needs attention.
    pub valid: u64,
    /// Enabled, with a certificate that expires soon: in the last quarter of its life, at most 30
    /// days.
    pub expiring: u64,
    /// Enabled, but clients will be refused, all or some of them.
    pub problem: u64,
    /// Of these, not yet checked by the node for what needs path validation.
    #[serde(default)]
    pub unchecked: u64,
    /// In test mode.
    pub test: u64,
    /// Disabled.
    pub disabled: u64,
}

impl DomainCounts {
    /// Adds up the numbers of two sets of domains.
    pub fn sum(&self, other: &DomainCounts) -> DomainCounts {
        DomainCounts {
            total: self.total + other.total,
            valid: self.valid + other.valid,
            expiring: self.expiring + other.expiring,
            problem: self.problem + other.problem,
            unchecked: self.unchecked + other.unchecked,
            test: self.test + other.test,
            disabled: self.disabled + other.disabled,
        }
    }
}

/// A problem of a node, a domain or a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusProblem {
    /// Error code.
    #[serde(deserialize_with = "crate::problem::known_code")]
    pub code: crate::problem::Code,
    /// Weight.
    pub severity: Severity,
    /// The affected object: a domain, a node, a listener.
    pub object: String,
    /// The problem in words.
    pub text: String,
    /// Next step.
    pub hint: String,
}
