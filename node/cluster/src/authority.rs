//! The authority of the cluster: it certifies the nodes, and the admin API of each.

use conclave_api::problem::{Code, Problem};
use conclave_keys::{Keyring, Purpose};
use conclave_pki::{
    certificate::Certificate,
    issue::{self, IssueError, Validity},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_store::{id::NodeId, scope::Scope, state::State};
use conclave_system::{clock, entropy};

use crate::fault::internal;

const DAY: u64 = 24 * 60 * 60;
/// Validity of an authority. It ends by a rotation, never by its date.
const AUTHORITY_DAYS: u64 = 20 * 366;
/// Validity of a node's certificate. Members are known by their pinned keys, whatever the date: only
/// strangers look at it, such as a joining node.
pub(crate) const NODE_DAYS: u64 = 90;
/// Validity of the certificate of a node's admin API.
pub(crate) const ADMIN_DAYS: u64 = 7;

/// Returns a validity of `days` from now. It begins a day earlier, because clocks differ.
pub(crate) fn validity(days: u64) -> Validity {
    let now = clock::now().0 / 1000;
    Validity { not_before: now.saturating_sub(DAY), not_after: now + days * DAY }
}

/// Returns the host name in the certificate of a node.
pub(crate) fn node_host_name(node: NodeId) -> String {
    format!("node-{node}.conclave.internal")
}

/// Returns the number in the host name of a node's certificate.
pub(crate) fn node_number(host_name: &str) -> Option<NodeId> {
    let number = host_name.strip_prefix("node-")?.strip_suffix(".conclave.internal")?;
    let number = NodeId(number.parse().ok()?);
    (node_host_name(number) == host_name).then_some(number)
}

/// An authority with its key.
pub(crate) struct Authority {
    /// Its private key.
    pub(crate) key: PrivateKey,
    /// Its certificate.
    pub(crate) certificate: Certificate,
}

impl Authority {
    /// Makes a new one for the cluster of this name.
    pub(crate) fn make(cluster: &str) -> Result<Authority, Problem> {
        let failed = "cannot make the authority of the cluster";
        let mut fill = entropy::fill;
        let key = PrivateKey::generate(KeyAlgorithm::EcP256, &mut fill)
            .map_err(|error| internal(failed, error))?;
        let name = format!("Conclave cluster {cluster}");
        let certificate = issue::authority(&key, &name, entropy::array(), validity(AUTHORITY_DAYS))
            .map_err(|error| internal(failed, error))?;
        Ok(Authority { key, certificate })
    }

    /// Opens the present one. Fails on a sealed node.
    pub(crate) fn open(keyring: &Keyring, state: &State) -> Result<Authority, Problem> {
        let none = || Problem::new(Code::NoCluster, "this node belongs to no cluster yet");
        let cluster = state.cluster().ok_or_else(none)?;
        let opened = keyring
            .open(Scope::Shared, Purpose::Authority, &cluster.authority_key)
            .map_err(|error| Problem::new(Code::Sealed, error.to_string()))?;
        let key = PrivateKey::from_pkcs8_der(opened.expose())
            .map_err(|error| internal("the authority's key", error))?;
        let certificate = Certificate::from_der(&cluster.authority_der)
            .map_err(|error| internal("the authority's certificate", error))?;
        Ok(Authority { key, certificate })
    }

    /// Certifies the identity key of a node (SubjectPublicKeyInfo, DER).
    pub(crate) fn certify_node(
        &self,
        id: NodeId,
        identity_der: &[u8],
    ) -> Result<Certificate, IssueError> {
        let (name, validity) = (node_host_name(id), validity(NODE_DAYS));
        let (key, authority) = (&self.key, &self.certificate);
        issue::node(key, authority, identity_der, &name, entropy::array(), validity)
    }

    /// Certifies the key of an admin API, which clients reach by these names and addresses.
    pub(crate) fn certify_server(
        &self,
        public_key_der: &[u8],
        names: &[String],
    ) -> Result<Certificate, IssueError> {
        let (key, authority, days) = (&self.key, &self.certificate, validity(ADMIN_DAYS));
        issue::server(key, authority, public_key_der, names, entropy::array(), days)
    }

    /// Certifies the key of the authority that comes next, so that who trusts this one trusts it.
    pub(crate) fn certify_next(&self, next: &Authority) -> Result<Certificate, IssueError> {
        let validity = validity(AUTHORITY_DAYS);
        issue::cross(&self.key, &self.certificate, &next.certificate, entropy::array(), validity)
    }
}

/// Returns the certificates that lead from the present authority of the cluster to an earlier one
/// that is still trusted, DER.
pub(crate) fn earlier_der(state: &State) -> Vec<Vec<u8>> {
    let earlier = state.earlier_authority().into_iter();
    earlier
        .flat_map(|earlier| [&earlier.cross_der, &earlier.authority_der])
        .map(|der| der.to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_the_name_in_its_certificate() {
        assert_eq!(node_number(&node_host_name(NodeId(17))), Some(NodeId(17)));
        for other in ["node-017.conclave.internal", "node-.conclave.internal", "node-1.example"] {
            assert_eq!(node_number(other), None, "{other}");
        }
    }
}
