//! The header of a backup: what anyone may know who has the file.

use conclave_pki::certificate::{Certificate, read_certificates};
use conclave_store::{
    id::{ClusterId, ClusterName, Fingerprint, LogIndex, NodeName},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// Facts about a backup, in plaintext but signed.
#[derive(Clone)]
pub struct Header {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Id of the cluster.
    pub cluster_id: ClusterId,
    /// Node that made the backup.
    pub node: NodeName,
    /// Time at which it was made, by the clock of that node.
    pub made: UnixMillis,
    /// Index of the last change in it.
    pub index: LogIndex,
    /// Level of the rules under which its rows were written.
    pub level: u32,
    /// Version of the program that made it.
    pub version: String,
    /// Rows of the cluster's State.
    pub rows: u64,
    /// Rows of the State of the node alone; none if they are not in the backup.
    pub local_rows: Option<u64>,
    /// Recipients, `age1…`.
    pub recipients: Vec<String>,
    /// Certificate of the cluster's authority, which signs the backup.
    pub authority: Certificate,
}

/// The header as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cluster: String,
    cluster_id: String,
    node: String,
    made_ms: u64,
    index: u64,
    level: u32,
    version: String,
    rows: u64,
    local_rows: Option<u64>,
    recipients: Vec<String>,
    authority: String,
}

impl Header {
    /// Returns the SHA-256 of the authority's certificate, which tokens of the cluster carry too.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.authority.der())
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let stored = Stored {
            cluster: self.cluster.to_string(),
            cluster_id: self.cluster_id.to_string(),
            node: self.node.to_string(),
            made_ms: self.made.0,
            index: self.index.0,
            level: self.level,
            version: self.version.clone(),
            rows: self.rows,
            local_rows: self.local_rows,
            recipients: self.recipients.clone(),
            authority: self.authority.pem(),
        };
        serde_json::to_vec(&stored)
    }

    /// Reads the output of [`Self::encode`]; `None` if it is anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let authority = read_certificates(stored.authority.as_bytes()).ok()?;
        let [authority] = <[Certificate; 1]>::try_from(authority).ok()?;
        Some(Header {
            cluster: ClusterName::parse(&stored.cluster).ok()?,
            cluster_id: ClusterId::parse(&stored.cluster_id)?,
            node: NodeName::parse(&stored.node).ok()?,
            made: UnixMillis(stored.made_ms),
            index: LogIndex(stored.index),
            level: stored.level,
            version: stored.version,
            rows: stored.rows,
            local_rows: stored.local_rows,
            recipients: stored.recipients,
            authority,
        })
    }
}
